"""Sizes, places and intensities of nuclei, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_image, check_labels, check_same_size

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["measure"]


def measure(labels: npt.ArrayLike, image: npt.ArrayLike | None = None) -> pd.DataFrame:
    """Measure every nucleus.

    Parameters
    ----------
    labels : array-like of int, (H, W)
        0 background. Values may have gaps.
    image : array-like, (H, W) or (H, W, C), optional
        The raw pixels, for intensities.

    Returns
    -------
    pandas.DataFrame
        One row a nucleus, sorted by label, with the columns

        ``label``
            The value in ``labels``.
        ``area``
            In pixels.
        ``centroid_row``, ``centroid_col``
            Mean position of the pixels' centres; the first pixel of the image is at (0, 0).
        ``bbox_min_row``, ``bbox_min_col``, ``bbox_max_row``, ``bbox_max_col``
            Bounding box in pixels; the maxima are one beyond the last pixel, so ``image[min:max]`` cuts it out.
        ``mean_intensity_0``, ``mean_intensity_1``, ...
            Mean of the raw pixel values, one column for each channel of the image (alpha is a channel too); none
            without an image.

        All are int64, but centroids and intensities float64. Without nuclei the table has the same columns and no row.

    Raises
    ------
    InvalidInputError
        If an argument has another shape or dtype, or the sizes differ.

    Examples
    --------
    >>> table = measure([[0, 3, 3], [0, 3, 0]], image=[[0, 10, 20], [0, 30, 0]])
    >>> table[["label", "area", "centroid_row", "mean_intensity_0"]]
       label  area  centroid_row  mean_intensity_0
    0      3     3      0.333333              20.0
    """
    values = check_labels(labels)
    pixels = None if image is None else check_image(image)
    if pixels is not None:
        check_same_size(values, pixels, ("labels", "image"))

    import pandas as pd
    from scipy import ndimage

    rows, cols = np.nonzero(values)
    # Ranks 0 to n - 1 stand in for labels, which may be few and large.
    label, rank = np.unique(values[rows, cols], return_inverse=True)
    area = np.bincount(rank, minlength=label.size)
    ranked = np.zeros(values.shape, np.int32)
    ranked[rows, cols] = rank + 1
    boxes = np.array([[r.start, c.start, r.stop, c.stop] for r, c in ndimage.find_objects(ranked)], np.int64).reshape(
        -1, 4
    )

    columns: dict[str, npt.NDArray[np.int64] | npt.NDArray[np.float64]] = {
        "label": label.astype(np.int64),
        "area": area.astype(np.int64),
        "centroid_row": _means(rows, rank, area),
        "centroid_col": _means(cols, rank, area),
        "bbox_min_row": boxes[:, 0],
        "bbox_min_col": boxes[:, 1],
        "bbox_max_row": boxes[:, 2],
        "bbox_max_col": boxes[:, 3],
    }
    if pixels is not None:
        channels = [pixels] if pixels.ndim == 2 else [pixels[..., i] for i in range(pixels.shape[2])]
        for i, channel in enumerate(channels):
            columns[f"mean_intensity_{i}"] = _means(channel[rows, cols], rank, area)
    return pd.DataFrame(columns)


def _means(values: Array, rank: npt.NDArray[np.intp], area: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    return np.bincount(rank, weights=values, minlength=area.size) / area
