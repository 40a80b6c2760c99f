"""Which nuclei count: those that are large enough, whole, and without holes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_count, check_flag, check_labels

__all__ = ["at_edge", "filter_labels", "keep_only", "leave_out", "renumbering"]

_AT_ONCE = 2**20  # pixels


def filter_labels(
    labels: npt.ArrayLike, min_area: int = 0, *, remove_edge: bool = False, fill_holes: bool = False
) -> npt.NDArray[np.int32]:
    """Fill holes, then leave out nuclei that are too small or at the edge, and number the others anew.

    Parameters
    ----------
    labels : array-like of int, (H, W)
        0 background. Values may have gaps.
    min_area : int
        Nuclei of fewer pixels are left out.
    remove_edge : bool
        Leave out nuclei with a pixel at the edge of the image, since part of them may be missing.
    fill_holes : bool
        Background that a single nucleus encloses becomes part of it. It is enclosed if no way through the sides of
        background pixels leads out.

    Returns
    -------
    numpy.ndarray of int32, (H, W)
        0 background, 1 to n the nuclei in the order of their labels, without gaps.

    Raises
    ------
    InvalidInputError
        If the labels are not (H, W) integers, or the area is not a whole number from 0.

    Examples
    --------
    >>> ring = np.array([[7, 7, 7, 0, 3], [7, 0, 7, 0, 0], [7, 7, 7, 0, 0]])
    >>> filter_labels(ring, min_area=2, fill_holes=True)[:, :3].tolist()
    [[1, 1, 1], [1, 1, 1], [1, 1, 1]]
    """
    values = check_labels(labels)
    check_count(min_area, "min_area", 0)
    check_flag(remove_edge, "remove_edge")
    check_flag(fill_holes, "fill_holes")
    ranks = _ranks(values)
    if fill_holes:
        ranks = _filled(ranks)
    return leave_out(ranks, min_area, remove_edge)


def leave_out(labels: npt.NDArray[np.int32], min_area: int, remove_edge: bool = False) -> npt.NDArray[np.int32]:
    """As `filter_labels`, in place and part by part: beside a large image there is no room for a second one."""
    kept = _areas(labels)[1:] >= max(min_area, 1)
    if remove_edge:
        kept &= ~at_edge(labels, kept.size)
    return keep_only(labels, kept)


def at_edge(labels: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.bool_]:
    """Of nucleus 1 … n, whether it has a pixel at the edge of the image: (n,).

    Examples
    --------
    >>> at_edge(np.array([[0, 1, 0], [0, 2, 0], [0, 0, 0]], np.int32), 2).tolist()
    [True, False]
    """
    found = np.zeros(count + 1, bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        found[edge] = True
    return found[1:]


def keep_only(labels: npt.NDArray[np.int32], kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Leave out all nuclei of 1 … n but these, and number them anew, in place and part by part.

    Examples
    --------
    >>> keep_only(np.array([[1, 2, 0, 3]], np.int32), np.array([False, True, True])).tolist()
    [[0, 1, 0, 2]]
    """
    if kept.all():
        return labels
    numbers = renumbering(kept)
    for part in _parts(labels):
        inside = part > 0
        part[inside] = numbers[part[inside]]
    return labels


def renumbering(kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """What labels 0 … n become if only these of the nuclei 1 … n stay: 0 for the others.

    Examples
    --------
    >>> renumbering(np.array([False, True, True])).tolist()
    [0, 0, 1, 2]
    """
    return np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)


def _parts(labels: npt.NDArray[np.int32]) -> Iterator[npt.NDArray[np.int32]]:
    rows = max(1, _AT_ONCE // labels.shape[1])
    return (labels[start : start + rows] for start in range(0, labels.shape[0], rows))


def _areas(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Pixels of each label, none of the background. Counted in parts, since NumPy makes 64 bits of every pixel."""
    areas = np.zeros(int(labels.max()) + 1, np.int64)
    for part in _parts(labels):
        areas += np.bincount(part[part > 0], minlength=areas.size)
    return areas


def _ranks(labels: Array) -> npt.NDArray[np.int32]:
    """1 to n in place of the labels, 0 stays background."""
    if labels.dtype == bool:  # would be taken for a mask below
        return labels.astype(np.int32)
    if int(labels.max()) <= labels.size:  # a table is much quicker than sorting
        present = np.zeros(int(labels.max()) + 1, bool)
        present[labels] = True
        present[0] = False
        table: npt.NDArray[np.int32] = np.where(present, np.cumsum(present), 0).astype(np.int32)
        return table[labels]
    found, ranked = np.unique(labels, return_inverse=True)
    return ranked.reshape(labels.shape).astype(np.int32) + np.int32(found[0] != 0)


def _filled(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Holes that touch one nucleus only, and not the edge, get its label."""
    from scipy import ndimage

    holes, count = ndimage.label(labels == 0)
    lowest = np.full(count + 1, np.iinfo(np.int32).max, np.int32)
    highest = np.zeros(count + 1, np.int32)
    for here, beside in _sides():
        where = (holes[here] > 0) & (labels[beside] > 0)
        hole, nucleus = holes[here][where], labels[beside][where]
        np.minimum.at(lowest, hole, nucleus)
        np.maximum.at(highest, hole, nucleus)
    fill = np.where(lowest == highest, highest, 0)
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        fill[edge] = 0
    return np.where(labels > 0, labels, fill[holes]).astype(np.int32)


def _sides() -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Pixels and their neighbours in the four directions, as pairs of views of the same shape."""
    every, but_first, but_last = slice(None), slice(1, None), slice(None, -1)
    down = ((but_last, every), (but_first, every))
    right = ((every, but_last), (every, but_first))
    return [down, down[::-1], right, right[::-1]]
