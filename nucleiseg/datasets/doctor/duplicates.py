"""Images that are there more than once: equal, or alike in their thumbnails, turned and flipped ones too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Group", "find_duplicates"]

_AT_ONCE = 2048  # rows of the table of correlations
_TURNS = ("", "turned by 90°", "turned by 180°", "turned by 270°", "flipped", *["turned and flipped"] * 3)


class Group(NamedTuple):
    """Positions of images that are one, and how alike the least alike neighbours are (2 if equal)."""

    positions: tuple[int, ...]
    correlation: float
    turn: str


def find_duplicates(digests: Sequence[bytes], thumbnails: NDArray[np.float32], threshold: float) -> list[Group]:
    """Groups of images that are the same.

    Parameters
    ----------
    digests : sequence of bytes
        Equal for equal images.
    thumbnails : (N, S, S) float array
        One for each image; constant ones are like no other.
    threshold : float
        Correlation from which two thumbnails show the same.

    Examples
    --------
    >>> noise = np.random.default_rng(0).random((3, 32, 32), np.float32)
    >>> noise[2] = 0.5 * noise[0].T
    >>> find_duplicates([b"a", b"b", b"c"], noise, 0.99)
    [Group(positions=(0, 2), correlation=1.0, turn='turned and flipped')]
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(digests)
    # The best that is known of each pair: equal images are alike too, and some look the same when turned.
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for one, other, correlation, turn in (*_equal(digests), *_alike(thumbnails, threshold)):
        found = (2.0, 0) if digests[one] == digests[other] else (correlation, -turn)
        best[one, other] = max(best.get((one, other), found), found)
    if not best:
        return []
    first, second = np.array(list(best)).T
    graph = coo_matrix((np.ones(first.size), (first, second)), (count, count))
    member = connected_components(graph, directed=False)[1]
    groups = []
    for group in np.unique(member[first]):
        least, turned = min(value for (one, _), value in best.items() if member[one] == group)
        positions = tuple(np.flatnonzero(member == group).tolist())
        groups.append(Group(positions, round(least, 4), _TURNS[-turned]))
    return sorted(groups)


def _equal(digests: Sequence[bytes]) -> list[tuple[int, int, float, int]]:
    first: dict[bytes, int] = {}
    return [
        (first[digest], index, 2.0, 0)
        for index, digest in enumerate(digests)
        if first.setdefault(digest, index) != index
    ]


def _alike(thumbnails: NDArray[np.float32], threshold: float) -> list[tuple[int, int, float, int]]:
    upright = _standardised(thumbnails)
    found = []
    for turn in range(8):
        turned = np.rot90(thumbnails, turn % 4, axes=(1, 2))
        others = _standardised(turned[:, :, ::-1] if turn >= 4 else turned)
        for start in range(0, len(upright), _AT_ONCE):
            correlations = upright[start : start + _AT_ONCE] @ others.T
            for row, column in np.argwhere(correlations >= threshold):
                if row + start < column:
                    found.append((int(row + start), int(column), float(min(correlations[row, column], 1)), turn))
    return found


def _standardised(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows without their smooth part, of length 1, so that products are correlations.

    Uneven light, a plane or parabola, is the same in all images of a microscope and says nothing about what they show.
    """
    rows = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    y, x = (axis.ravel() / axis.max() - 0.5 for axis in np.indices(thumbnails.shape[1:]).astype(np.float32))
    smooth = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1))[0]
    rest = rows - (rows @ smooth) @ smooth.T
    length = np.linalg.norm(rest, axis=1, keepdims=True)
    seen = length > 1e-4 * np.linalg.norm(rows, axis=1, keepdims=True)  # else it is rounding
    return np.asarray(np.where(seen, rest / np.where(seen, length, 1), 0), np.float32)
