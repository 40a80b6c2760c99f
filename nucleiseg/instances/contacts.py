"""How much of its outline a nucleus shares with others: counted by sides of pixels, which add up over windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array

__all__ = ["find_sides", "meet", "renumbered", "touching_share", "united"]

_AT_ONCE = 2**22  # pixels, beyond which it takes too much memory
_Ints = npt.NDArray[np.int64]


def find_sides(labels: npt.NDArray[Any]) -> _Ints:
    """The sides of pixels at which labels differ, by the labels on them.

    Parameters
    ----------
    labels : numpy.ndarray of int, (H, W)
        0 background.

    Returns
    -------
    numpy.ndarray of int64, (m, 3)
        Two labels and the number of sides between them; pairs occur several times.

    Examples
    --------
    >>> united(find_sides(np.array([[1, 1, 2], [0, 0, 2]]))).tolist()
    [[0, 1, 2], [0, 2, 1], [1, 2, 1]]
    """
    rows = max(1, _AT_ONCE // max(labels.shape[1], 1))
    if len(labels) <= rows:
        return _sides_in(labels, 0, len(labels))
    return np.concatenate([united(_sides_in(labels, top, top + rows)) for top in range(0, len(labels), rows)])


def _sides_in(labels: npt.NDArray[Any], top: int, bottom: int) -> _Ints:
    """Sides within these rows, and those to the row above."""
    within, upper = labels[top:bottom], labels[max(top - 1, 0) : bottom]
    return np.concatenate([meet(upper[1:], upper[:-1]), meet(within[:, 1:], within[:, :-1])])


def meet(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> _Ints:
    """As `find_sides`, of pixels that lie beside each other in the image: two arrays of one shape.

    Examples
    --------
    >>> meet(np.array([1, 1, 0, 3]), np.array([1, 2, 2, 2])).tolist()
    [[1, 2, 1], [0, 2, 1], [3, 2, 1]]
    """
    differs = one != other
    sides = np.ones((np.count_nonzero(differs), 3), np.int64)
    sides[:, 0], sides[:, 1] = one[differs], other[differs]
    return sides


def united(sides: _Ints) -> _Ints:
    """The same sides with each pair of labels once, the smaller label first.

    Examples
    --------
    >>> united(np.array([[2, 1, 1], [1, 2, 4], [0, 2, 1]])).tolist()
    [[0, 2, 1], [1, 2, 5]]
    """
    if not len(sides):
        return sides
    low, high = sides[:, :2].min(axis=1), sides[:, :2].max(axis=1)
    order = np.lexsort((high, low))
    low, high, counts = low[order], high[order], sides[order, 2]
    starts = np.flatnonzero(np.concatenate([[True], (low[1:] != low[:-1]) | (high[1:] != high[:-1])]))
    return np.stack([low[starts], high[starts], np.add.reduceat(counts, starts)], axis=1)


def renumbered(sides: _Ints, numbers: Array) -> _Ints:
    """The same sides with other labels: ``numbers[label]`` for each.

    Examples
    --------
    >>> renumbered(np.array([[0, 7, 4]]), np.array([0, 0, 0, 0, 0, 0, 0, 2])).tolist()
    [[0, 2, 4]]
    """
    changed = sides.copy()
    changed[:, :2] = numbers[sides[:, :2]]
    return changed


def touching_share(sides: npt.NDArray[np.integer[Any]], count: int) -> npt.NDArray[np.float64]:
    """Of the outline of nucleus 1 … n, the share at which it touches another one.

    Parameters
    ----------
    sides : numpy.ndarray of int, (m, 3)
        Two labels of 0 … n, and the number of sides; pairs may occur several times. Where both are the same they count
        nothing.
    count : int
        n.

    Returns
    -------
    numpy.ndarray of float64, (n,)
        In [0, 1]; 0 for a nucleus without an outline, which fills the image.

    Examples
    --------
    >>> touching_share(np.array([[0, 1, 2], [0, 2, 1], [1, 2, 1]]), 2).round(2).tolist()
    [0.33, 0.5]
    """
    sides = sides[sides[:, 0] != sides[:, 1]]
    outline, touching = np.zeros(count + 1), np.zeros(count + 1)
    contact = sides[(sides[:, :2] > 0).all(axis=1)]
    for column in (0, 1):
        outline += np.bincount(sides[:, column], weights=sides[:, 2], minlength=count + 1)
        touching += np.bincount(contact[:, column], weights=contact[:, 2], minlength=count + 1)
    share: npt.NDArray[np.float64] = touching[1:] / np.maximum(outline[1:], 1)
    return share
