"""Regions that people draw around nuclei in other programs, as labels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from nucleiseg._warnings import warn_caller
from nucleiseg.errors import DatasetWarning, InvalidInputError
from nucleiseg.instances.named_labels import label_numbers, paint
from nucleiseg.instances.polygons import fill_polygons

__all__ = ["check_one_plane", "paint_regions"]

# A region that holds so many others, and is so many times as large as is usual, is where nuclei were looked for.
_HELD = 2
_LARGER = 4

_Box = tuple[int, int, npt.NDArray[np.bool_]]


def paint_regions(
    names: Sequence[object], regions: Iterable[Sequence[Sequence[npt.ArrayLike]]], shape: tuple[int, int]
) -> npt.NDArray[np.int32]:
    """Labels of regions, of which the later one wins where they overlap.

    Parameters
    ----------
    names : sequence
        Of the regions; they are the labels if they can be, see `label_numbers`.
    regions : iterable
        The polygons of each, as in `fill_polygons`.
    shape : (height, width)
        Of the image.

    Returns
    -------
    numpy.ndarray of int32, (H, W)
        Without regions that hold others, such as the one in which a program was told to look for nuclei; with a
        `DatasetWarning` if there are any.

    Examples
    --------
    >>> square = [[(1, 0), (3, 0), (3, 2), (1, 2)]]
    >>> paint_regions(["7"], [[square]], (2, 4))
    array([[0, 7, 7, 0],
           [0, 7, 7, 0]], dtype=int32)
    """
    boxes = [fill_polygons(polygons, shape) for polygons in regions]
    holders = _holders(boxes, shape)
    if holders:
        warn_caller(
            "regions that hold several others are left out: they are taken for the place where nuclei were looked for; "
            "export the nuclei alone",
            DatasetWarning,
        )
    kept = [index for index in range(len(boxes)) if index not in holders]
    labels = np.zeros(shape, np.int32)
    for label, index in zip(label_numbers(names[index] for index in kept), kept, strict=True):
        paint(labels, label, *boxes[index])
    return labels


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


def _holders(boxes: Sequence[_Box], shape: tuple[int, int]) -> set[int]:
    """The regions in which several smaller ones begin, and which are far larger than is usual."""
    areas = np.array([np.count_nonzero(inside) for _, _, inside in boxes])
    filled = np.flatnonzero(areas)
    large = filled[areas[filled] >= _LARGER * np.median(areas[filled])].tolist() if filled.size > _HELD else []
    if not large:
        return set()
    first = np.zeros((len(boxes), 2), np.int64)
    for index in filled.tolist():
        row, column, inside = boxes[index]
        first[index] = np.add(divmod(int(inside.argmax()), inside.shape[1]), (row, column))
    found = set()
    for index in large:
        small = filled[_LARGER * areas[filled] <= areas[index]]
        row, column, inside = boxes[index]
        held = np.zeros(shape, bool)
        held[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
        if np.count_nonzero(held[tuple(first[small].T)]) >= _HELD:
            found.add(index)
    return found
