"""Nuclei as polygons along the edges of their pixels, and polygons as pixels: exact in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_labels
from nucleiseg.errors import InvalidInputError

__all__ = ["Outline", "Polygon", "Ring", "fill_polygons", "trace_polygons"]

Ring: TypeAlias = npt.NDArray[np.int64]
Polygon: TypeAlias = list[Ring]

_FARTHEST = 2.0**53  # beyond it there are no halves, so no centres of pixels
_AT_ONCE = 2**18  # crossings of sides with rows, of which files may ask for any number


@dataclass(frozen=True, eq=False)
class Outline:
    """One nucleus as polygons.

    Parameters
    ----------
    label : int
        Its value in the label image.
    polygons : list of lists of numpy.ndarray
        A polygon for each of its pieces (pixels that share a side): the outer ring first, then one ring for each hole.
        A ring is (n, 2) int64, the corners as x (columns) and y (rows), the first one not repeated at the end. (0, 0)
        is the corner of the image, (1, 1) that of the first pixel away from it.

    Examples
    --------
    >>> Outline(7, [[np.array([[0, 0], [1, 0], [1, 1], [0, 1]])]]).label
    7
    """

    label: int
    polygons: list[Polygon] = field(repr=False)


def trace_polygons(labels: npt.ArrayLike) -> list[Outline]:
    """Trace the outline of every nucleus along the edges of its pixels.

    The polygons are valid in the sense of OGC's Simple Features: no ring touches itself, holes lie within, pieces that
    meet in a corner are polygons of their own. Outer rings have a positive signed area where y points up, holes a
    negative one, as GeoJSON asks for.

    Parameters
    ----------
    labels : array-like of int, (H, W)
        0 background. Values may have gaps, nuclei may have holes and several pieces.

    Returns
    -------
    list of Outline
        One for each nucleus, sorted by label.

    Raises
    ------
    InvalidInputError
        If the labels are not (H, W) integers from 0.

    Examples
    --------
    >>> (outline,) = trace_polygons([[0, 5, 5], [0, 5, 0]])
    >>> outline.label, [ring.tolist() for ring in outline.polygons[0]]
    (5, [[[1, 0], [3, 0], [3, 1], [2, 1], [2, 2], [1, 2]]])
    """
    values = check_labels(labels)

    from skimage.measure import label as number_pieces

    rows, cols = np.nonzero(values)
    names, rank = np.unique(values[rows, cols], return_inverse=True)
    ranked = np.zeros(values.shape, np.int32)
    ranked[rows, cols] = rank + 1
    pieces = number_pieces(ranked, background=0, connectivity=1)
    owner = np.zeros(int(pieces.max()) + 1, np.int64)
    owner[pieces[rows, cols]] = rank

    outlines = [Outline(int(name), []) for name in names]
    last = 0
    for piece, ring in _trace_rings(pieces):
        polygons = outlines[owner[piece]].polygons
        if piece != last:
            polygons.append([])
        polygons[-1].append(ring)
        last = piece
    return outlines


def fill_polygons(polygons: Sequence[Sequence[npt.ArrayLike]], shape: tuple[int, int]) -> tuple[int, int, Array]:
    """The pixels whose centres lie in polygons; the reverse of `trace_polygons`.

    Parameters
    ----------
    polygons : sequence of sequences of (n, 2) arrays
        Rings of x and y of each polygon, whole numbers or fractions. A point that lies in an odd number of rings of a
        polygon is inside, so that rings within the first one are holes. Rings may leave the image.
    shape : (height, width)
        Of the image.

    Returns
    -------
    row, column : int
        Where the box starts.
    inside : numpy.ndarray of bool
        The box; pixels that lie in any of the polygons are True. It is empty if none does.

    Raises
    ------
    InvalidInputError
        If a coordinate is not a number, or beyond ±2**53.

    Examples
    --------
    >>> fill_polygons([[[(1, 0), (3, 0), (3, 2), (1, 2)]]], (4, 4))
    (0, 1, array([[ True,  True],
           [ True,  True]]))
    """
    rings = [[np.asarray(ring, np.float64).reshape(-1, 2) for ring in polygon] for polygon in polygons]
    points = np.concatenate([np.empty((0, 2)), *(ring for polygon in rings for ring in polygon)])
    if not points.size:
        return 0, 0, np.zeros((0, 0), bool)
    near = np.abs(points) < _FARTHEST  # which NaN is not
    if not near.all():
        raise InvalidInputError(
            f"coordinates of polygons must be numbers within ±2**53, got {points[~near][0]}; export the polygons again"
        )
    height, width = shape
    left, top = np.clip(np.floor(points.min(axis=0)), 0, [width, height]).astype(int).tolist()
    right, bottom = np.clip(np.ceil(points.max(axis=0)), [left, top], [width, height]).astype(int).tolist()
    inside = np.zeros((bottom - top, right - left), bool)
    for polygon in rings:
        inside |= _fill(polygon, top, left, inside.shape)
    return top, left, inside


def _trace_rings(pieces: npt.NDArray[np.integer]) -> Iterator[tuple[int, Ring]]:
    """Rings with the number of their piece, sorted by it; the outer ring of a piece comes first."""
    width = pieces.shape[1] + 1  # of the lattice of corners
    piece, start, direction = _find_sides(pieces)
    span = width * (pieces.shape[0] + 1)
    key = piece * span + start
    order = np.lexsort((direction, key))
    key, direction, start, piece = key[order], direction[order], start[order], piece[order]
    step = np.array([1, width, -1, -width])
    # The next side starts where this one ends. Where a piece meets itself in a corner there are two, and the one to
    # the left is taken: the other would make a ring that touches itself there.
    end_key = piece * span + start + step[direction]
    following = np.searchsorted(key, end_key)
    other = np.minimum(following + 1, key.size - 1)
    turns_left = (key[other] == end_key) & (direction[other] == (direction - 1) % 4)
    following[turns_left] = other[turns_left]

    to, way, corner, owner = following.tolist(), direction.tolist(), start.tolist(), piece.tolist()
    seen = bytearray(len(to))
    for first in range(len(to)):
        if seen[first]:
            continue
        # Of all sides of a piece the first one lies on its outer ring. That of any ring starts at its top left corner.
        ring, side, before = [], first, -1
        while not seen[side]:
            seen[side] = 1
            if way[side] != before:
                ring.append(corner[side])
                before = way[side]
            side = to[side]
        yield owner[first], np.stack(np.divmod(np.array(ring), width)[::-1], axis=1)


def _find_sides(pieces: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], ...]:
    """Piece, first corner and direction (0 right, 1 down, 2 left, 3 up) of each pixel side on the edge of a piece.

    The piece lies to the right of a side when one looks along it, with y pointing down.
    """
    padded = np.pad(pieces, 1)
    width = pieces.shape[1] + 1
    found = []
    for direction, (down, across, corner) in enumerate([(-1, 0, 0), (0, 1, 1), (1, 0, width + 1), (0, -1, width)]):
        height, length = pieces.shape
        beside = padded[1 + down : 1 + down + height, 1 + across : 1 + across + length]
        rows, cols = np.nonzero((pieces != beside) & (pieces > 0))
        found.append((pieces[rows, cols].astype(np.int64), rows * width + cols + corner, np.full(rows.size, direction)))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _fill(rings: Sequence[npt.NDArray[np.float64]], top: int, left: int, shape: tuple[int, ...]) -> Array:
    """Pixels of a box whose centres lie in an odd number of rings: those right of an odd number of crossings."""
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(low - 0.5 - top), 0, shape[0]).astype(np.int64)
    count = np.clip(np.ceil(high - 0.5 - top), 0, shape[0]).astype(np.int64) - first
    crossings = np.zeros((shape[0], shape[1] + 1), np.int32)
    for part in np.split(np.arange(count.size), np.flatnonzero(np.diff(np.cumsum(count) // _AT_ONCE)) + 1):
        side = np.repeat(part, count[part])
        row = np.arange(side.size) - np.repeat(np.cumsum(count[part]) - count[part], count[part]) + first[side]
        slope = (end[side, 0] - start[side, 0]) / (end[side, 1] - start[side, 1])
        x = start[side, 0] + (row + top + 0.5 - start[side, 1]) * slope
        column = np.clip(np.ceil(x - 0.5 - left), 0, shape[1]).astype(np.int64)
        np.add.at(crossings, (row, column), 1)
    inside: Array = np.cumsum(crossings[:, :-1], axis=1) % 2 == 1
    return inside
