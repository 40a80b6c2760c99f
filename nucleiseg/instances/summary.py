"""One row an image: how many nuclei there are, how dense they lie, and what is typical of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_pixel_size, check_size

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["summarize", "summary_row"]

_PIXELS = 1_000_000
_SQUARE_MICROMETRES = 1_000_000  # in a square millimetre
_NOT_TYPICAL = ("label", "centroid", "bbox", "touches_edge", "orientation", "quality")


def summarize(table: pd.DataFrame, shape: tuple[int, int], pixel_size: float | None = None) -> pd.DataFrame:
    """Summarize the measurements of one image.

    Parameters
    ----------
    table : pandas.DataFrame
        From `measure`.
    shape : (int, int)
        Height and width of the image in pixels.
    pixel_size : float, optional
        Height and width of a pixel in µm; adds the density per mm².

    Returns
    -------
    pandas.DataFrame
        One row with the columns

        ``height``, ``width``
            Of the image, in pixels.
        ``count``
            Number of nuclei.
        ``touching_edge``
            Of these at the edge of the image.
        ``density``
            Nuclei in a million pixels.
        ``density_mm2``
            Nuclei in a square millimetre; only with ``pixel_size``.
        ``covered``
            Share of the image that is nucleus, in [0, 1].
        ``median_area``, ``median_perimeter``, and so on
            Median over the nuclei of every column that is a size, a shape or an intensity; empty without nuclei.

    Raises
    ------
    InvalidInputError
        If the shape is not (height, width), or ``pixel_size`` is no number above 0.

    Examples
    --------
    >>> from nucleiseg.instances import measure
    >>> summary = summarize(measure([[0, 3, 3], [0, 3, 0]]), shape=(2, 3))
    >>> summary[["count", "covered", "median_area"]]
       count  covered  median_area
    0      1      0.5          3.0
    """
    import pandas as pd

    return pd.DataFrame([summary_row(table, shape, pixel_size)])


def summary_row(table: pd.DataFrame, shape: tuple[int, int], pixel_size: float | None = None) -> dict[str, float]:
    """As `summarize`, by column.

    Examples
    --------
    >>> from nucleiseg.instances import measure
    >>> summary_row(measure([[0, 3, 3], [0, 3, 0]]), shape=(2, 3))["covered"]
    0.5
    """
    height, width = check_size(shape, "shape")
    pixel_size = check_pixel_size(pixel_size)
    pixels, count = height * width, len(table)
    row: dict[str, float] = {
        "height": height,
        "width": width,
        "count": count,
        "touching_edge": int(table["touches_edge"].sum()),
        "density": count / pixels * _PIXELS,
        "covered": float(table["area"].sum()) / pixels,
    }
    if pixel_size is not None:
        row["density_mm2"] = count / (pixels * pixel_size**2) * _SQUARE_MICROMETRES
    typical = [name for name in table.columns if not name.startswith(_NOT_TYPICAL)]
    # All columns at once: a table takes longer to hand one out than its median takes.
    medians = _medians(table[typical].to_numpy(np.float64))
    return row | {f"median_{name}": median for name, median in zip(typical, medians.tolist(), strict=True)}


def _medians(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of each column, less what is not known; NaN where nothing is."""
    if len(values) and not np.isnan(values).any():
        return np.asarray(np.median(values, axis=0))
    known = (column[~np.isnan(column)] for column in values.T)
    return np.array([np.median(column) if column.size else np.nan for column in known])
