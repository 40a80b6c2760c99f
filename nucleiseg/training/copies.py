"""Nuclei in crops that are larger than their image: each mirrored copy is a nucleus of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["copies_along", "part_copies"]


def copies_along(places: npt.NDArray[np.integer[Any]], length: int) -> npt.NDArray[np.intp]:
    """Which copy of the image places along an axis lie in: 0 for the image itself, which is so long.

    Examples
    --------
    >>> copies_along(np.arange(5), 2).tolist()
    [0, 0, 1, 1, 2]
    """
    return np.asarray(places // length, np.intp)


def part_copies(
    labels: npt.NDArray[Any], rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
) -> npt.NDArray[np.int32]:
    """Number the nuclei anew, so that no two copies of one have the same number.

    What touches across the seam of two copies stays one nucleus, as the image shows. A label in pieces keeps them: its
    copies, too, are one each.

    Parameters
    ----------
    labels : numpy.ndarray, (H, W)
        Mirrored as the image is; above 0 in nuclei.
    rows, columns : numpy.ndarray, (H,) and (W,)
        From `copies_along`.

    Returns
    -------
    numpy.ndarray of int32, (H, W)
        0 outside of nuclei.

    Examples
    --------
    >>> mirrored = np.array([[7, 0, 5, 5, 0, 7]])
    >>> part_copies(mirrored, copies_along(np.arange(1), 1), copies_along(np.arange(6), 3)).tolist()
    [[2, 0, 1, 1, 0, 3]]
    """
    from scipy import sparse

    inside = labels > 0
    values, ranks = np.unique(labels, return_inverse=True)
    across = int(columns.max(initial=0)) + 1
    count = (int(rows.max(initial=0)) + 1) * across
    parts = ranks.reshape(labels.shape) * count + (rows[:, np.newaxis] * across + columns)
    pairs = []
    for axis, copies in enumerate((rows, columns)):
        seams = np.flatnonzero(np.diff(copies))
        before, after = np.take(parts, seams, axis), np.take(parts, seams + 1, axis)
        joined = (before // count == after // count) & np.take(inside, seams, axis)
        pairs.append(np.stack([before[joined], after[joined]]))
    one, other = np.concatenate(pairs, axis=1)
    size = len(values) * count
    graph = sparse.coo_array((np.ones(len(one), bool), (one, other)), shape=(size, size))
    groups = sparse.csgraph.connected_components(graph, directed=False)[1]
    numbers = np.unique(groups[parts[inside]], return_inverse=True)[1]
    found = np.zeros(labels.shape, np.int32)
    found[inside] = numbers.ravel() + 1
    return found
