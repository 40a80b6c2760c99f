"""Perimeters and convex areas of all nuclei at once, equal to scikit-image's, which takes them one after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array
from nucleiseg.instances._regions import Regions

__all__ = ["convex_areas", "perimeters"]

_Ints = npt.NDArray[np.int64]


def perimeters(labels: Array, regions: Regions) -> npt.NDArray[np.float64]:
    """Length of the line through the centres of the border pixels.

    Each border pixel adds a length that depends on how many border pixels of the same nucleus are beside it and at its
    corners (Benkrid, Crookes and Benkrid, "Design and FPGA implementation of a perimeter estimator", IMVIP 2000).
    """
    own = np.pad(labels, 1)
    rows, cols = regions.rows + 1, regions.cols + 1
    value = own[rows, cols]
    sides = ((0, 1), (0, -1), (1, 0), (-1, 0))
    corners = ((1, 1), (1, -1), (-1, 1), (-1, -1))
    at_border = np.zeros(rows.size, bool)
    for down, right in sides:
        at_border |= own[rows + down, cols + right] != value
    rows, cols, value = rows[at_border], cols[at_border], value[at_border]
    border = np.zeros(own.shape, own.dtype)
    border[rows, cols] = value

    def count(neighbours: tuple[tuple[int, int], ...]) -> _Ints:
        total = np.zeros(rows.size, np.int64)
        for down, right in neighbours:
            total += border[rows + down, cols + right] == value
        return total

    length = _LENGTHS[count(sides), count(corners)]
    return np.bincount(regions.owner[at_border], weights=length, minlength=regions.labels.size).astype(np.float64)


def _lengths() -> npt.NDArray[np.float64]:
    table = np.zeros((5, 5))
    for beside, at_corners in ((2, 0), (3, 0), (2, 1), (3, 1), (2, 2), (3, 2)):
        table[beside, at_corners] = 1
    table[0, 2] = table[1, 3] = np.sqrt(2)
    table[1, 1] = table[1, 2] = (1 + np.sqrt(2)) / 2
    return table


_LENGTHS = _lengths()


def convex_areas(regions: Regions) -> _Ints:
    """Pixels whose centre is within the convex hull of the nucleus.

    The hull is that of the middles of the pixels' sides. It is found for all nuclei together: of the points on the left
    side of each, those that lie on or right of the line between their neighbours are dropped until none does; the right
    side is the same in the mirror. All places are doubled, so that halves are whole numbers and nothing is rounded.
    """
    if not regions.labels.size:
        return np.zeros(0, np.int64)
    # The outermost pixels of every row of every nucleus.
    new_row = np.ones(regions.rows.size, bool)
    new_row[1:] = (regions.rows[1:] != regions.rows[:-1]) | (regions.owner[1:] != regions.owner[:-1])
    first = np.flatnonzero(new_row)
    last = np.append(first[1:], regions.rows.size) - 1
    lowest = regions.rows[regions.starts]
    spans = regions.rows[np.append(regions.starts[1:], regions.rows.size) - 1] - lowest + 1

    # A key orders points by nucleus and then by doubled row; 0 to 2 × span is the range of one nucleus.
    begin = _before(2 * spans + 1)
    owner = regions.owner[first]
    key = begin[owner] + 2 * (regions.rows[first] - lowest[owner]) + 1
    of_row = np.repeat(np.arange(spans.size), spans)
    wanted = begin[of_row] + 2 * (np.arange(of_row.size) - _before(spans)[of_row]) + 1

    left = _left_border(key, 2 * regions.cols[first], begin, wanted)
    right = -_left_border(key, -2 * regions.cols[last], begin, wanted)
    counts = np.bincount(of_row, weights=np.maximum(right - left + 1, 0), minlength=spans.size)
    return counts.astype(np.int64)


def _before(lengths: _Ints) -> _Ints:
    """Sum of all lengths before each."""
    return np.cumsum(lengths) - lengths


def _left_border(key: _Ints, col: _Ints, begin: _Ints, wanted: _Ints) -> _Ints:
    """First column within the hull at the keys that are wanted. ``col`` is doubled, the result is not."""
    # Each pixel has points at its left side and in the middle of its upper and lower side.
    keys = np.concatenate([key - 1, key, key + 1])
    cols = np.concatenate([col, col - 1, col])
    order = np.lexsort((cols, keys))
    keys, cols = keys[order], cols[order]
    leftmost = np.append(True, keys[1:] != keys[:-1])
    keys, cols = keys[leftmost], cols[leftmost]
    while True:
        of = np.searchsorted(begin, keys, side="right")
        height, width = np.diff(keys), np.diff(cols)
        drop = np.zeros(keys.size, bool)
        drop[1:-1] = (height[:-1] * width[1:] <= height[1:] * width[:-1]) & (of[:-2] == of[2:])
        if not drop.any():
            break
        keys, cols = keys[~drop], cols[~drop]
    above = np.searchsorted(keys, wanted)
    below = above - (keys[above] != wanted)
    height = np.maximum(keys[above] - keys[below], 1)
    doubled = cols[below] * height + (cols[above] - cols[below]) * (wanted - keys[below])
    result: _Ints = -(-doubled // (2 * height))
    return result
