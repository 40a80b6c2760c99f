"""From the labels of overlapping windows to the labels of the whole image: every nucleus whole, and once.

Every window is decoded by itself, so that neither memory nor machines need hold the whole image. A nucleus that touches
a side of its window which is not a side of the image may be cut off there: it is *torn*; all others are *whole*. Every
pixel is decided by the window that keeps it, unless that window has a torn nucleus or background there and another
window has a whole nucleus: then that one counts, of several the first. Labels of two windows are one nucleus where the
windows overlap

- if both are whole: when they share half of their union;
- if one is torn: when the whole one covers half of it;
- if both are torn, since the nucleus is larger than the overlap: when two connected parts of them share half of their
  union.

For connected components that is exact, provided that the windows see the same mask: the labels are those of the whole
image. Nuclei are numbered in the order of their first pixels, whatever the windows were.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg.images.tiling import Tile
from nucleiseg.instances.contacts import find_sides, united

Labels = npt.NDArray[np.int32]
Slices = tuple[slice, slice]


@dataclass(frozen=True)
class Piece:
    """What was found in one window.

    Parameters
    ----------
    tile : Tile
        The window (``read``) and the part of the image that it decides (``keep``).
    labels : numpy.ndarray of int32
        Of the window; 0 background, 1 … n.
    whole : numpy.ndarray of bool, (n + 1,)
        Whether each label is surely not cut off by the window; False for the background.
    areas : numpy.ndarray of int64, (n + 1,)
        Pixels of each label in the window.
    offset : int
        Labels of all earlier windows; ``offset + label`` is unique in the image.
    """

    tile: Tile
    labels: Labels = field(repr=False)
    whole: npt.NDArray[np.bool_] = field(repr=False)
    areas: npt.NDArray[np.int64] = field(repr=False)
    offset: int = 0

    @property
    def count(self) -> int:
        """How many labels there are."""
        return len(self.whole) - 1


@dataclass(frozen=True)
class Settled:
    """The part of the image that one window decides, before pieces of the same nucleus have the same label.

    Parameters
    ----------
    tile : Tile
        Whose ``keep`` it is.
    labels : numpy.ndarray of int32
        ``offset + label`` of whichever window decided each pixel.
    names, areas, first : numpy.ndarray of int64, (k,)
        The labels that occur, their pixels, and the index of the first in the flat image.
    at_edge : numpy.ndarray of int64
        Labels at the edge of the image.
    links : numpy.ndarray of int64, (m, 2)
        Pairs of labels that are one nucleus.
    sums : numpy.ndarray of float64, (k,)
        Of the probabilities of each label's pixels; zeros where they are not asked for.
    sides : numpy.ndarray of int64, (m, 3)
        Where labels meet, see `nucleiseg.instances.contacts.find_sides`; none where sums are not asked for.
    rims : four of numpy.ndarray
        The labels of the first and last row and column, which meet those of the windows beside.
    """

    tile: Tile
    labels: Labels = field(repr=False)
    names: npt.NDArray[np.int64] = field(repr=False)
    areas: npt.NDArray[np.int64] = field(repr=False)
    first: npt.NDArray[np.int64] = field(repr=False)
    at_edge: npt.NDArray[np.int64] = field(repr=False)
    links: npt.NDArray[np.int64] = field(repr=False)
    sums: npt.NDArray[np.float64] = field(repr=False)
    sides: npt.NDArray[np.int64] = field(repr=False)
    rims: tuple[Labels, Labels, Labels, Labels] = field(repr=False)

    def without_pixels(self) -> Settled:
        """What `final_numbers` needs of it; the label image can be given free."""
        return replace(self, labels=np.empty((0, 0), np.int32))


def find_whole(labels: Labels, window: Slices, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which labels touch no side of the window, apart from sides of the image: bool (n + 1,).

    Examples
    --------
    >>> labels = np.array([[1, 0, 2]], np.int32)
    >>> find_whole(labels, (slice(0, 1), slice(4, 7)), (1, 7)).tolist()
    [False, False, True]
    """
    whole = np.ones(int(labels.max(initial=0)) + 1, bool)
    whole[0] = False
    rows, columns = window
    for inside, side in (
        (rows.start > 0, labels[0]),
        (rows.stop < shape[0], labels[-1]),
        (columns.start > 0, labels[:, 0]),
        (columns.stop < shape[1], labels[:, -1]),
    ):
        if inside:
            whole[side] = False
    return whole


def make_piece(tile: Tile, labels: Labels, shape: tuple[int, int], offset: int = 0) -> Piece:
    """What was found in a window of an image of that height and width.

    Examples
    --------
    >>> from nucleiseg.images import Tiling, tiles
    >>> first, second = tiles((1, 8), Tiling(5, 2))
    >>> make_piece(first, np.array([[0, 1, 0, 2, 2]], np.int32), (1, 8)).whole.tolist()
    [False, True, False]
    """
    return Piece(tile, labels, find_whole(labels, tile.read, shape), np.bincount(labels.ravel(), minlength=1), offset)


def settle(
    piece: Piece,
    others: Iterable[Piece],
    shape: tuple[int, int],
    probability: npt.NDArray[np.float32] | None = None,
) -> Settled:
    """Decide the pixels that a window keeps, with the windows that overlap it.

    Parameters
    ----------
    piece : Piece
        Of the window.
    others : iterable of Piece
        All others whose windows share a pixel with it, in a fixed order. Links to those that begin further down, or
        as far down and further right, are looked for; those to the others are found when it is their turn.
    shape : tuple of int
        Height and width of the image.
    probability : numpy.ndarray of float32, optional
        Of what the window keeps, where it is to be summed.
    """
    keep = piece.tile.keep
    own = piece.labels[piece.tile.inner]
    labels = np.where(own > 0, own + np.int32(piece.offset), np.int32(0))
    open_pixels = ~piece.whole[own]
    links = [np.empty((0, 2), np.int64)]
    for other in others:
        shared = intersection(keep, other.tile.read)
        if shared is not None and open_pixels.any():
            here, there = _within(shared, keep), _within(shared, other.tile.read)
            candidates = other.labels[there]
            take = open_pixels[here] & other.whole[candidates]
            labels[here][take] = candidates[take] + np.int32(other.offset)
            open_pixels[here][take] = False
        if _corner(other) > _corner(piece):
            links.append(find_links(piece, other))
    names, areas, first, sums = _facts(labels, keep, shape[1], probability)
    edges = [
        side
        for at_edge, side in (
            (keep[0].start == 0, labels[0]),
            (keep[0].stop == shape[0], labels[-1]),
            (keep[1].start == 0, labels[:, 0]),
            (keep[1].stop == shape[1], labels[:, -1]),
        )
        if at_edge
    ]
    touching = np.unique(np.concatenate(edges)) if edges else np.empty(0, np.int64)
    at_edge = touching[touching > 0].astype(np.int64)
    sides = np.empty((0, 3), np.int64) if probability is None else united(find_sides(labels))
    rims = (labels[0].copy(), labels[-1].copy(), labels[:, 0].copy(), labels[:, -1].copy())
    return Settled(piece.tile, labels, names, areas, first, at_edge, np.concatenate(links), sums, sides, rims)


def find_links(one: Piece, two: Piece) -> npt.NDArray[np.int64]:
    """Pairs of labels, with offsets, of two windows that are the same nucleus: int64 (m, 2)."""
    shared = intersection(one.tile.read, two.tile.read)
    if shared is None or not one.count or not two.count:
        return np.empty((0, 2), np.int64)
    left, right = one.labels[_within(shared, one.tile.read)], two.labels[_within(shared, two.tile.read)]
    a, b, both = _pairs(left, right)
    if not a.size:
        return np.empty((0, 2), np.int64)
    areas_a, areas_b = one.areas[a], two.areas[b]
    whole_a, whole_b = one.whole[a], two.whole[b]
    same = whole_a & whole_b & (2 * both >= areas_a + areas_b - both)
    same |= whole_a & ~whole_b & (2 * both >= areas_b)
    same |= ~whole_a & whole_b & (2 * both >= areas_a)
    found = np.stack([a[same], b[same]], axis=1)
    if (~whole_a & ~whole_b).any():
        torn = _torn_pairs(np.where(one.whole[left], 0, left), np.where(two.whole[right], 0, right))
        found = np.concatenate([found, torn])
    return np.asarray(found + np.array([one.offset, two.offset]), np.int64)


def final_numbers(count: int, settled: Iterable[Settled], min_area: int = 0, remove_edge: bool = False) -> Labels:
    """Which nucleus each label of the pieces becomes.

    Parameters
    ----------
    count : int
        Labels of all windows together.
    settled : iterable of Settled
        Of every window; their pixels are not looked at.
    min_area : int
        Nuclei of fewer pixels become background.
    remove_edge : bool
        Nuclei at the edge of the image become background.

    Returns
    -------
    numpy.ndarray of int32, (count + 1,)
        0, or 1 … n in the order of first pixels.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    every = list(settled)
    links = np.concatenate([np.empty((0, 2), np.int64), *(part.links for part in every)])
    # A label that decided no pixel may be a mixture of two nuclei, cut off by its window; it must not connect them.
    owns = np.zeros(count + 1, bool)
    for part in every:
        owns[part.names] = True
    # SciPy 1.11 finds no components in an array with indices of 64 bits, and says so on standard error only.
    ends = links[owns[links].all(axis=1)].astype(np.int32)
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(count + 1, count + 1))
    groups, group = connected_components(graph, directed=False)
    areas = np.zeros(groups, np.int64)
    first = np.full(groups, np.iinfo(np.int64).max)
    edge = np.zeros(groups, bool)
    for part in every:
        owners = group[part.names]
        np.add.at(areas, owners, part.areas)
        np.minimum.at(first, owners, part.first)
        edge[group[part.at_edge]] = True
    kept = areas >= max(min_area, 1)
    if remove_edge:
        kept &= ~edge
    kept[group[0]] = False
    order = np.flatnonzero(kept)[np.argsort(first[kept], kind="stable")]
    numbers = np.zeros(groups, np.int32)
    numbers[order] = np.arange(1, len(order) + 1, dtype=np.int32)
    return numbers[group]


def intersection(one: Slices, two: Slices) -> Slices | None:
    """What two windows share, or None.

    Examples
    --------
    >>> intersection((slice(0, 4), slice(0, 4)), (slice(2, 6), slice(1, 3)))
    (slice(2, 4, None), slice(1, 3, None))
    """
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, two, strict=True))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _within(part: Slices, window: Slices) -> Slices:
    rows, columns = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, window, strict=True))
    return rows, columns


def _corner(piece: Piece) -> tuple[int, int]:
    """In the order of the windows."""
    return piece.tile.read[0].start, piece.tile.read[1].start


def _pairs(left: Labels, right: Labels) -> tuple[Any, Any, Any]:
    """Labels that share pixels, and how many."""
    both = (left > 0) & (right > 0)
    a, b = left[both].astype(np.int64), right[both].astype(np.int64)
    if not a.size:
        return a, b, a
    base = int(b.max()) + 1
    keys, counts = np.unique(a * base + b, return_counts=True)
    return keys // base, keys % base, counts


def _torn_pairs(left: Labels, right: Labels) -> npt.NDArray[np.int64]:
    """Labels of which two connected parts share half of their union."""
    from skimage.measure import label

    parts_a, parts_b = (np.asarray(label(side, connectivity=1), np.int32) for side in (left, right))
    a, b, both = _pairs(parts_a, parts_b)
    areas_a, areas_b = np.bincount(parts_a.ravel()), np.bincount(parts_b.ravel())
    same = 2 * both >= areas_a[a] + areas_b[b] - both
    owner_a, owner_b = _owners(parts_a, left), _owners(parts_b, right)
    return np.stack([owner_a[a[same]], owner_b[b[same]]], axis=1).astype(np.int64)


def _owners(parts: Labels, labels: Labels) -> Labels:
    owners = np.zeros(int(parts.max(initial=0)) + 1, np.int32)
    owners[parts] = labels
    return owners


def _facts(
    labels: Labels, keep: Slices, width: int, probability: npt.NDArray[np.float32] | None
) -> tuple[Any, Any, Any, Any]:
    """Labels that occur, their areas, where in the flat image each has its first pixel, and sums of probabilities."""
    rows, columns = np.nonzero(labels > 0)
    values = labels[rows, columns].astype(np.int64)
    if not values.size:
        return values, values, values, np.empty(0)
    low = int(values.min())
    areas = np.bincount(values - low)
    first = np.empty(len(areas), np.int64)
    # Of several values for one index NumPy keeps the last, which is the first pixel here.
    first[values[::-1] - low] = ((rows + keep[0].start) * width + columns + keep[1].start)[::-1]
    names = np.flatnonzero(areas)
    if probability is None:
        return names + low, areas[names], first[names], np.zeros(names.size)
    sums = np.bincount(values - low, weights=probability[rows, columns])
    return names + low, areas[names], first[names], sums[names]


__all__ = [
    "Piece",
    "Settled",
    "final_numbers",
    "find_links",
    "find_whole",
    "intersection",
    "make_piece",
    "settle",
]
