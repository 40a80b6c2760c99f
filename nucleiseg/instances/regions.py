"""Regions that people draw around nuclei in other programs, as labels."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from nucleiseg._warnings import warn_caller
from nucleiseg.errors import DatasetWarning, InvalidInputError
from nucleiseg.instances.named_labels import label_numbers, paint
from nucleiseg.instances.polygons import fill_polygons

__all__ = ["check_one_plane", "names_in", "paint_regions"]

# A region that is so many times as large as is usual, and holds two others and so much of all, is where nuclei were
# looked for. A large nucleus holds a few things at most.
_LARGER = 4
_SHARE = 0.25

_Region = Sequence[Sequence[npt.ArrayLike]]


def paint_regions(names: Sequence[object], regions: Sequence[_Region], shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Labels of regions, of which the later one wins where they overlap.

    Parameters
    ----------
    names : sequence
        Of the regions; they are the labels if they can be, see `label_numbers`.
    regions : sequence
        The polygons of each, as in `fill_polygons`.
    shape : (height, width)
        Of the image.

    Returns
    -------
    numpy.ndarray of int32, (H, W)
        Without regions that hold several far smaller ones, such as the one in which a program was told to look for
        nuclei; with a `DatasetWarning` if there are any.

    Examples
    --------
    >>> square = [[(1, 0), (3, 0), (3, 2), (1, 2)]]
    >>> paint_regions(["7"], [[square]], (2, 4))
    array([[0, 7, 7, 0],
           [0, 7, 7, 0]], dtype=int32)
    """
    holders = _holders(regions, shape)
    if holders:
        warn_caller(
            "regions that hold several others are left out: they are taken for the place where nuclei were looked for; "
            "export the nuclei alone",
            DatasetWarning,
        )
    kept = [index for index in range(len(regions)) if index not in holders]
    labels = np.zeros(shape, np.int32)
    for label, index in zip(label_numbers(names[index] for index in kept), kept, strict=True):
        paint(labels, label, *fill_polygons(regions[index], shape))
    return labels


def names_in(archive: zipfile.ZipFile) -> list[str]:
    """The files of an archive, less those that macOS adds to each.

    Examples
    --------
    >>> import io
    >>> with zipfile.ZipFile(io.BytesIO(), "w") as archive:
    ...     for name in ("a.roi", "__MACOSX/._a.roi"):
    ...         archive.writestr(name, b"")
    ...     names_in(archive)
    ['a.roi']
    """
    return [name for name in archive.namelist() if not PurePosixPath(name).name.startswith(".")]


def check_one_plane(planes: Collection[tuple[str, ...]]) -> None:
    """Regions of several planes or times would be painted onto one.

    Raises
    ------
    InvalidInputError
        If there are several.

    Examples
    --------
    >>> check_one_plane({("z 0", "t 1")})
    """
    if len(planes) > 1:
        told = "; ".join(", ".join(plane) for plane in sorted(planes)[:3])
        raise InvalidInputError(
            f"regions must be of one plane and time, got {len(planes)} ({told}); save those of each plane as a file "
            "of its own, with the image of that plane"
        )


def _holders(regions: Sequence[_Region], shape: tuple[int, int]) -> set[int]:
    """The regions that hold several others, and are far larger than is usual."""
    boxes = np.array([_box(region) for region in regions]).reshape(-1, 4)
    with np.errstate(over="ignore"):
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    least = max(2, int(np.ceil(_SHARE * (len(regions) - 1))))
    found: set[int] = set()
    if len(regions) <= least or not np.isfinite(areas).all():  # `fill_polygons` tells of such corners
        return found
    for index in np.flatnonzero(areas >= _LARGER * np.median(areas)).tolist():
        within = (boxes[:, :2] >= boxes[index, :2]).all(axis=1) & (boxes[:, 2:] <= boxes[index, 2:]).all(axis=1)
        small = np.flatnonzero(within & (_LARGER * areas <= areas[index])).tolist()
        if len(small) >= least:
            held = np.zeros(shape, np.int32)
            paint(held, 1, *fill_polygons(regions[index], shape))
            if sum(_covers(held, regions[other]) for other in small) >= least:
                found.add(index)
    return found


def _box(region: _Region) -> tuple[float, float, float, float]:
    """The lowest and the highest x and y."""
    points = np.concatenate([np.empty((0, 2)), *(np.reshape(ring, (-1, 2)) for polygon in region for ring in polygon)])
    if not points.size:
        return 0.0, 0.0, 0.0, 0.0
    return *points.min(axis=0).tolist(), *points.max(axis=0).tolist()


def _covers(held: npt.NDArray[np.int32], region: _Region) -> bool:
    """Whether all pixels of a region lie in a mask; one without pixels does not."""
    row, column, inside = fill_polygons(region, (held.shape[0], held.shape[1]))
    there = held[row : row + inside.shape[0], column : column + inside.shape[1]]
    return bool(inside.any() and there[inside].all())
