"""The connected regions of a label image: nuclei in pieces, holes in them, and thin fringes along their contours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Regions", "find_regions"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of equal label, background included; all arrays but the first have one element a region.

    Two pixels of a nucleus are connected through edges or corners, as people draw; two of the background through edges
    only, so that a contour closed at corners encloses.

    Parameters
    ----------
    image : (H, W) int array
        Number of the region of every pixel, from 0.
    value : (n,) int array
        The region's label; 0 is background.
    area : (n,) int array
        Pixels.
    hole_in : (n,) int array
        For a region of background within one label, that label; else 0.
    fringe : (n,) bool array
        Nucleus regions that are nowhere 3 pixels thick and touch another label.
    background_contact : (n,) int array
        Pixel edges shared with background.
    """

    image: NDArray[np.int32]
    value: Ints
    area: Ints
    hole_in: Ints
    fringe: NDArray[np.bool_]
    background_contact: Ints


def find_regions(labels: NDArray[np.int32]) -> Regions:
    """The regions of a label image.

    Parameters
    ----------
    labels : (H, W) int array
        0 is background.

    Examples
    --------
    >>> ring = np.ones((3, 3), np.int32)
    >>> ring[1, 1] = 0
    >>> regions = find_regions(ring)
    >>> regions.area.tolist(), regions.hole_in.tolist()
    ([8, 1], [0, 1])
    """
    from skimage.measure import label

    # Regions joined through edges; those of one label that meet at corners are merged after.
    image = label(labels, background=-1, connectivity=1).astype(np.int32) - 1
    image = _merge_at_corners(image, labels)
    count = int(image.max()) + 1
    area = np.bincount(image.ravel(), minlength=count)
    value = np.zeros(count, np.int64)
    value[image.ravel()] = labels.ravel()
    first, second, length = _contacts(image, count)
    return Regions(
        image=image,
        value=value,
        area=area,
        hole_in=_holes(image, value, first, second),
        fringe=_fringes(labels, image, value, first, second),
        background_contact=np.bincount(first, np.where(value[second] == 0, length, 0), count).astype(np.int64),
    )


def _merge_at_corners(image: NDArray[np.int32], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = []
    for left, right in ((np.s_[:-1, :-1], np.s_[1:, 1:]), (np.s_[:-1, 1:], np.s_[1:, :-1])):
        meet = (image[left] != image[right]) & (labels[left] == labels[right]) & (labels[left] > 0)
        pairs.append(np.stack([image[left][meet], image[right][meet]]))
    first, second = np.concatenate(pairs, axis=1)
    if first.size == 0:
        return image
    count = int(image.max()) + 1
    graph = coo_matrix((np.ones(first.size, bool), (first, second)), (count, count))
    merged: NDArray[np.int32] = connected_components(graph, directed=False)[1].astype(np.int32)
    return merged[image]


def _contacts(image: NDArray[np.int32], count: int) -> tuple[Ints, Ints, Ints]:
    """Which regions share pixel edges, both ways round, and how many."""
    keys = []
    for one, other in ((image[:, :-1], image[:, 1:]), (image[:-1], image[1:])):
        differ = one != other
        a, b = one[differ].astype(np.int64), other[differ].astype(np.int64)
        keys += [a * count + b, b * count + a]
    unique, length = np.unique(np.concatenate(keys), return_counts=True)
    return unique // count, unique % count, length


def _holes(image: NDArray[np.int32], value: Ints, first: Ints, second: Ints) -> Ints:
    """The label around a region of background that nothing else touches, the image's border included."""
    lowest, highest = np.full(value.size, np.iinfo(np.int64).max), np.zeros(value.size, np.int64)
    np.minimum.at(lowest, first, value[second])
    np.maximum.at(highest, first, value[second])
    inside = (value == 0) & (lowest == highest)
    for border in (image[0], image[-1], image[:, 0], image[:, -1]):
        inside[border] = False
    return np.where(inside, highest, 0)


def _fringes(
    labels: NDArray[np.int32], image: NDArray[np.int32], value: Ints, first: Ints, second: Ints
) -> NDArray[np.bool_]:
    thick = np.zeros(value.size, bool)
    across = (labels[:, :-2] == labels[:, 1:-1]) & (labels[:, 1:-1] == labels[:, 2:])
    middle = labels[:, 1:-1]
    square = across[:-2] & across[1:-1] & across[2:] & (middle[:-2] == middle[1:-1]) & (middle[1:-1] == middle[2:])
    thick[image[1:-1, 1:-1][square]] = True
    beside = np.zeros(value.size, bool)
    beside[first[(value[second] > 0) & (value[second] != value[first])]] = True
    return (value > 0) & ~thick & beside
