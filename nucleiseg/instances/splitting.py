"""From a probability that every pixel is nucleus to one label a nucleus."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_count, check_number_array, check_range, describe
from nucleiseg.errors import InvalidInputError

__all__ = ["split_components"]


def split_components(probability: npt.ArrayLike, threshold: float = 0.5, min_area: int = 0) -> npt.NDArray[np.int32]:
    """Label the connected components of the pixels above a threshold.

    Pixels are connected through their edges, not their corners (4-connectivity), so that nuclei that touch at a corner
    only stay two. Holes are kept.

    Parameters
    ----------
    probability : array-like, (H, W)
        In [0, 1]; a 0/1 mask will do.
    threshold : float
        In [0, 1]. A pixel above it belongs to a nucleus.
    min_area : int
        Components of fewer pixels are removed.

    Returns
    -------
    numpy.ndarray of int32, (H, W)
        0 background, 1 to n the nuclei, without gaps, in the order of their first pixels (row by row).

    Raises
    ------
    InvalidInputError
        If the probability is not (H, W) or not in [0, 1], or a setting is out of bounds.

    Examples
    --------
    >>> split_components([[0.9, 0.1, 0.8], [0.7, 0.2, 0.6]]).tolist()
    [[1, 0, 2], [1, 0, 2]]
    """
    values = check_number_array(probability, "probability")
    if values.ndim != 2 or values.size == 0:
        raise InvalidInputError(
            f"probability must be (H, W) with at least one pixel, got {describe(values)}; "
            "pass one image and one channel, e.g. probability[..., 0]"
        )
    if values.min() < 0 or values.max() > 1:
        raise InvalidInputError(
            f"probability must be from 0 to 1, got {float(values.min()):g} to {float(values.max()):g}; "
            "pass scores through a sigmoid, divide an 8-bit mask by 255"
        )
    check_range(threshold, "threshold", 0, 1)
    check_count(min_area, "min_area", low=0)

    from scipy import ndimage

    labels = np.zeros(values.shape, np.int32)
    count = ndimage.label(values > threshold, output=labels)
    if min_area > 1:
        kept = np.bincount(labels.ravel(), minlength=count + 1) >= min_area
        kept[0] = False
        labels = np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]
    return labels
