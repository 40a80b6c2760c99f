"""The pixels of all nuclei in one order, so that every nucleus is measured at once and none in a loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array

__all__ = ["Regions", "find_regions", "find_totals"]

_AT_ONCE = 2**22  # pixels; what is known of each pixel on the way takes several times its own memory
_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Regions:
    """Pixels sorted by nucleus, and row by row within one.

    Parameters
    ----------
    labels : numpy.ndarray, (N,)
        The value of each nucleus, ascending.
    starts : numpy.ndarray, (N,)
        Where its pixels begin in the next three.
    rows, cols, owner : numpy.ndarray, (P,)
        Place of each pixel, and which nucleus (0 to N - 1) it belongs to.
    """

    labels: Array
    starts: _Ints
    rows: _Ints
    cols: _Ints
    owner: _Ints

    @property
    def area(self) -> npt.NDArray[np.int64]:
        """Pixels of each nucleus."""
        return np.diff(self.starts, append=self.rows.size).astype(np.int64)

    def reduce(self, how: np.ufunc, values: Array) -> Array:
        """One value for each nucleus from one for each pixel, such as the maximum."""
        # An empty image has no nucleus to begin with, which reduceat does not take.
        result: Array = how.reduceat(values, self.starts) if self.starts.size else values[:0]
        return result

    def sum(self, values: Array | None = None) -> _Floats:
        """Sum over the pixels of each nucleus, in float64."""
        return np.bincount(self.owner, weights=values, minlength=self.labels.size).astype(np.float64)

    def mean(self, values: Array) -> _Floats:
        """Mean over the pixels of each nucleus."""
        return self.sum(values) / self.area


def find_regions(labels: npt.NDArray[Any]) -> Regions:
    """The nuclei of a label image."""
    rows, cols = np.nonzero(labels > 0)  # several times faster than of integers
    values = labels[rows, cols]
    if values.size and int(values.max()) <= np.iinfo(np.uint16).max:
        values = values.astype(np.uint16)  # which NumPy sorts by counting, several times faster
    order = np.argsort(values, kind="stable")
    values = values[order]
    first = np.ones(values.size, bool)
    first[1:] = values[1:] != values[:-1]
    starts = np.flatnonzero(first)
    return Regions(values[starts], starts, rows[order], cols[order], np.cumsum(first) - 1)


def find_totals(labels: npt.NDArray[Any], values: Array) -> tuple[Array, npt.NDArray[np.int64], _Floats]:
    """Area of each nucleus, and the sum of the values of its pixels, without sorting those.

    Parameters
    ----------
    labels : numpy.ndarray of int, (H, W)
        0 background.
    values : numpy.ndarray, (H, W)
        One for each pixel.

    Returns
    -------
    numbers, areas, sums : numpy.ndarray, (N,)
        In the order of rising labels.

    Examples
    --------
    >>> numbers, areas, sums = find_totals(np.array([[7, 2, 7]]), np.array([[0.5, 0.25, 0.5]]))
    >>> numbers.tolist(), areas.tolist(), sums.tolist()
    ([2, 7], [1, 2], [0.25, 1.0])
    """
    rows = max(1, _AT_ONCE // max(labels.shape[1], 1))
    if len(labels) > rows:
        return _joined([find_totals(labels[i : i + rows], values[i : i + rows]) for i in range(0, len(labels), rows)])
    flat = labels.ravel()
    inside = np.flatnonzero(flat > 0)
    found = flat[inside]
    if int(found.max(initial=0)) <= labels.size:
        names, index = None, found.astype(np.intp)
    else:  # a table of all numbers up to the highest would be larger than the image
        names, index = np.unique(found, return_inverse=True)
    areas = np.bincount(index)
    present = np.flatnonzero(areas)
    sums = np.bincount(index, weights=values.ravel()[inside])
    return present if names is None else names, areas[present].astype(np.int64), sums[present].astype(np.float64)


def _joined(
    parts: list[tuple[Array, npt.NDArray[np.int64], _Floats]],
) -> tuple[Array, npt.NDArray[np.int64], _Floats]:
    """The totals of an image from those of its parts."""
    every, areas, sums = (np.concatenate(values) for values in zip(*parts, strict=True))
    numbers, index = np.unique(every, return_inverse=True)
    total = np.bincount(index, weights=areas, minlength=numbers.size).astype(np.int64)
    return numbers, total, np.bincount(index, weights=sums, minlength=numbers.size).astype(np.float64)
