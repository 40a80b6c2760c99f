"""Sizes, shapes, places and intensities of nuclei, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_labels, check_number_array, check_pixel_size, check_same_size, describe
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances._regions import Regions, find_regions
from nucleiseg.instances._shapes import convex_areas, perimeters

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["distinct_names", "measure", "measure_columns"]

_Column: TypeAlias = "npt.NDArray[np.int64] | npt.NDArray[np.float64] | npt.NDArray[np.bool_]"

_HIGHEST = np.iinfo(np.int64).max
# How the name of a length or an area changes when it is given in µm.
_LENGTHS = (
    "centroid-0",
    "centroid-1",
    "perimeter",
    "axis_major_length",
    "axis_minor_length",
    "equivalent_diameter_area",
)


def measure(
    labels: npt.ArrayLike,
    image: npt.ArrayLike | None = None,
    *,
    pixel_size: float | None = None,
    channels: Sequence[str] = (),
) -> pd.DataFrame:
    """Measure every nucleus.

    The columns have the names and values of `skimage.measure.regionprops_table` where it has them; all nuclei are
    measured at once, which is many times faster.

    Parameters
    ----------
    labels : array-like of int, (H, W)
        0 background. Values may have gaps.
    image : array-like, (H, W) or (H, W, C), optional
        The raw pixels, for intensities; any number of channels.
    pixel_size : float, optional
        Height and width of a pixel in µm; adds columns in µm and µm².
    channels : sequence of str
        Names of the channels, which then take the place of their numbers in the columns.

    Returns
    -------
    pandas.DataFrame
        One row a nucleus, sorted by label, with the columns

        ``label``
            The value in ``labels``.
        ``area``
            In pixels.
        ``centroid-0``, ``centroid-1``
            Row and column of the centre; the centre of the image's first pixel is at (0, 0).
        ``bbox-0``, ``bbox-1``, ``bbox-2``, ``bbox-3``
            First row and column, and one beyond the last row and column.
        ``touches_edge``
            Whether a pixel lies at the edge of the image, so that part of the nucleus may be missing.
        ``perimeter``
            In pixels, along the centres of the border pixels.
        ``eccentricity``, ``axis_major_length``, ``axis_minor_length``, ``orientation``
            Of the ellipse with the same second moments: 0 for a circle to 1 for a line; in pixels; the angle between
            the rows' axis (down) and the major axis, from -π/2 to π/2, counter-clockwise.
        ``solidity``
            Area over the area of the convex hull, in (0, 1].
        ``equivalent_diameter_area``
            Of the circle of the same area, in pixels.
        ``intensity_mean-0``, ``intensity_min-0``, ``intensity_max-0``, ``intensity_total-0``, and so on
            Of the raw pixel values of channel 0 and of each other channel; none without an image. Of a picture
            with alpha pass the colours only.
        ``area_um2``, ``centroid_um-0``, ``centroid_um-1``, ``perimeter_um``, ``axis_major_length_um``,
        ``axis_minor_length_um``, ``equivalent_diameter_area_um``
            The same in µm² and µm; only with ``pixel_size``.

        Label, area and bounding box are int64, ``touches_edge`` is bool, all others are float64. Without nuclei the
        table has the same columns and no row.

    Raises
    ------
    InvalidInputError
        If an argument has another shape or dtype, the sizes differ, there is not one name for each channel, a label is
        2**63 or more, or ``pixel_size`` is no number above 0.

    Examples
    --------
    >>> table = measure([[0, 3, 3], [0, 3, 0]], image=[[0, 10, 20], [0, 30, 0]], pixel_size=0.5)
    >>> table[["label", "area", "area_um2", "centroid-0", "intensity_mean-0"]]
       label  area  area_um2  centroid-0  intensity_mean-0
    0      3     3      0.75    0.333333              20.0
    """
    import pandas as pd

    return pd.DataFrame(measure_columns(labels, image, pixel_size, channels))


def measure_columns(
    labels: npt.ArrayLike, image: npt.ArrayLike | None, pixel_size: float | None, channels: Sequence[str]
) -> dict[str, _Column]:
    """As `measure`, by column.

    Examples
    --------
    >>> measure_columns([[0, 3, 3], [0, 3, 0]], None, None, ())["area"].tolist()
    [3]
    """
    values = check_labels(labels)
    if values.dtype == np.uint64 and values.max() > _HIGHEST:
        raise InvalidInputError(
            f"labels must be below 2**63 to be measured, got {values.max()}; number them anew, e.g. with "
            "nucleiseg.instances.filter_labels"
        )
    layers = [] if image is None else _check_layers(image, values)
    names = _check_names(channels, layers)
    pixel_size = check_pixel_size(pixel_size)

    regions = find_regions(values)
    columns = dict(_shape_columns(values, regions))
    for name, layer in zip(names, layers, strict=True):
        columns.update(_intensity_columns(name, layer, regions))
    if pixel_size is not None:
        columns["area_um2"] = np.asarray(columns["area"] * pixel_size**2, np.float64)
        for name in _LENGTHS:
            base, *axis = name.split("-")
            columns["-".join([f"{base}_um", *axis])] = np.asarray(columns[name] * pixel_size, np.float64)
    return columns


def distinct_names(names: Sequence[str]) -> list[str]:
    """Names of channels as a file has them, made different: later ones of the same name get the first free number.

    Examples
    --------
    >>> distinct_names(["Cy5", "Cy5", "DAPI", "Cy5-2"])
    ['Cy5', 'Cy5-3', 'DAPI', 'Cy5-2']
    """
    taken = set(names)  # from the start, so that a name that is there once stays as it is
    found: list[str] = []
    for name in names:
        free = name
        if name in found:
            free = next(longer for i in count(2) if (longer := f"{name}-{i}") not in taken)
            taken.add(free)
        found.append(free)
    return found


def _shape_columns(labels: Array, regions: Regions) -> Iterator[tuple[str, _Column]]:
    area, height, width = regions.area, *labels.shape
    row, col = regions.mean(regions.rows), regions.mean(regions.cols)
    box = [
        regions.reduce(np.minimum, regions.rows),
        regions.reduce(np.minimum, regions.cols),
        regions.reduce(np.maximum, regions.rows) + 1,
        regions.reduce(np.maximum, regions.cols) + 1,
    ]
    yield "label", regions.labels.astype(np.int64)
    yield "area", area
    yield "centroid-0", row
    yield "centroid-1", col
    for i, side in enumerate(box):
        yield f"bbox-{i}", side.astype(np.int64)
    yield "touches_edge", (box[0] == 0) | (box[1] == 0) | (box[2] == height) | (box[3] == width)
    yield "perimeter", perimeters(labels, regions)
    yield from _ellipse_columns(regions, row, col)
    yield "solidity", area / convex_areas(regions)
    yield "equivalent_diameter_area", np.sqrt(4 * area / np.pi)


def _ellipse_columns(
    regions: Regions, row: npt.NDArray[np.float64], col: npt.NDArray[np.float64]
) -> Iterator[tuple[str, _Column]]:
    """From the covariance of the pixels' places: its eigenvalues are the squares of a quarter of the axes."""
    down, right = regions.rows - row[regions.owner], regions.cols - col[regions.owner]
    rr, cc, rc = regions.mean(down * down), regions.mean(right * right), regions.mean(down * right)
    middle, half = (rr + cc) / 2, np.hypot((rr - cc) / 2, rc)
    major, minor = middle + half, np.maximum(middle - half, 0)
    # A single pixel has neither; dividing by 1 makes it round.
    yield "eccentricity", np.sqrt(np.clip(1 - minor / np.where(major > 0, major, 1), 0, 1) * (major > 0))
    yield "axis_major_length", 4 * np.sqrt(major)
    yield "axis_minor_length", 4 * np.sqrt(minor)
    # scikit-image says -π/4 where every direction is as good.
    yield "orientation", np.where((rr == cc) & (rc == 0), -np.pi / 4, 0.5 * np.arctan2(2 * rc, rr - cc))


def _intensity_columns(name: str, layer: Array, regions: Regions) -> Iterator[tuple[str, _Column]]:
    values = layer[regions.rows, regions.cols]
    total = regions.sum(values)
    yield f"intensity_mean-{name}", total / regions.area
    yield f"intensity_min-{name}", regions.reduce(np.minimum, values).astype(np.float64)
    yield f"intensity_max-{name}", regions.reduce(np.maximum, values).astype(np.float64)
    yield f"intensity_total-{name}", total


def _check_layers(image: npt.ArrayLike, labels: Array) -> list[Array]:
    pixels = check_number_array(image, "image")
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise InvalidInputError(f"image must be (H, W) or (H, W, C), got {describe(pixels)}; put the channels last")
    check_same_size(labels, pixels, ("labels", "image"))
    return [pixels] if pixels.ndim == 2 else [pixels[..., i] for i in range(pixels.shape[2])]


def _check_names(channels: Sequence[str], layers: Sequence[Array]) -> list[str]:
    if not channels:
        return [str(i) for i in range(len(layers))]
    names = list(channels)
    if len(names) != len(layers) or len(set(names)) < len(names):
        raise InvalidInputError(
            f"channels must have one name of its own for each of {len(layers)} channels, got {names}; "
            "leave them out to use numbers"
        )
    return names
