"""Labels as a picture in which neighbours have different colours."""

from __future__ import annotations

import colorsys
import heapq

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_image, check_labels, check_same_size
from nucleiseg.images.channels import to_rgb
from nucleiseg.images.scaling import rescale

__all__ = ["colour_labels"]

# Okabe and Ito's colours, lightened where they are too dark on black: people with any common kind of colour blindness
# can tell them apart.
PALETTE = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 178, 131),
    (240, 228, 66),
    (226, 104, 30),
    (214, 137, 181),
    (150, 110, 240),
    (225, 225, 225),
)
_NEAR = 8  # pixels
_STRENGTH = 0.55  # of the colours over an image
_DARKEST, _BRIGHTEST = 20, 200  # of the grey image below the colours


def colour_labels(labels: npt.ArrayLike, image: npt.ArrayLike | None = None) -> npt.NDArray[np.uint8]:
    """Give every nucleus a colour that no neighbour has.

    Neighbours touch or have less than about 16 pixels and no other nucleus between them. Eight colours are used; more
    only where nuclei in several pieces have neighbours all over the image.

    Parameters
    ----------
    labels : array-like of int, (H, W)
        0 background.
    image : array-like, (H, W) or (H, W, C), optional
        Colours are laid over it, half transparent. It is shown in grey, neither black nor white, so that no stain is
        taken for a colour. Without it the background is black.

    Returns
    -------
    numpy.ndarray of uint8, (H, W, 3)
        Red, green and blue. The same labels always get the same colours.

    Raises
    ------
    InvalidInputError
        If an argument has another shape or dtype, or the sizes differ.

    References
    ----------
    .. [1] Matula, Beck: Smallest-last ordering and clustering and graph coloring algorithms, Journal of the ACM 30,
       1983. In this order six colours suffice for every map.

    Examples
    --------
    >>> picture = colour_labels([[3, 3, 7, 0]])
    >>> picture[0].tolist()
    [[230, 159, 0], [230, 159, 0], [86, 180, 233], [0, 0, 0]]
    """
    values = check_labels(labels)
    pixels = None if image is None else check_image(image)
    if pixels is not None:
        check_same_size(values, pixels, ("labels", "image"))

    rows, cols = np.nonzero(values)
    names, rank = np.unique(values[rows, cols], return_inverse=True)
    ranked = np.zeros(values.shape, np.int32)
    ranked[rows, cols] = rank + 1
    numbers = _colour_graph(names.size, _find_neighbours(ranked))
    chosen = np.array(_colours(max(numbers, default=0) + 1), np.uint8)[numbers]

    if pixels is None:
        picture = np.zeros((*values.shape, 3), np.uint8)
        picture[rows, cols] = chosen[rank]
        return picture
    grey = np.rint(_DARKEST + (_BRIGHTEST - _DARKEST) * rescale(to_rgb(pixels)).mean(axis=2)).astype(np.uint8)
    picture = np.repeat(grey[..., np.newaxis], 3, axis=2)
    mixed = (1 - _STRENGTH) * picture[rows, cols] + _STRENGTH * chosen[rank]
    picture[rows, cols] = np.rint(mixed).astype(np.uint8)
    return picture


def _find_neighbours(ranked: npt.NDArray[np.int32]) -> Array:
    """Pairs of nuclei from 0 that are neighbours, each pair once: (n, 2)."""
    from skimage.segmentation import expand_labels

    grown = expand_labels(ranked, _NEAR)
    pairs = [np.empty((0, 2), np.int32)]
    for one, other in (
        (grown[:, :-1], grown[:, 1:]),
        (grown[:-1], grown[1:]),
        (grown[:-1, :-1], grown[1:, 1:]),
        (grown[:-1, 1:], grown[1:, :-1]),
    ):
        meet = (one != other) & (one > 0) & (other > 0)
        pairs.append(np.sort(np.stack([one[meet], other[meet]], axis=1), axis=1) - 1)
    return np.unique(np.concatenate(pairs), axis=0)


def _colour_graph(count: int, pairs: Array) -> list[int]:
    """A colour for each node, by number, different for the two of each pair."""
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for one, other in pairs.tolist():
        neighbours[one].append(other)
        neighbours[other].append(one)

    # Take the node with the fewest neighbours left away, again and again; colour them in the reverse order.
    left = [len(beside) for beside in neighbours]
    queue = [(degree, node) for node, degree in enumerate(left)]
    heapq.heapify(queue)
    order, taken = [], [False] * count
    while queue:
        degree, node = heapq.heappop(queue)
        if taken[node] or degree != left[node]:
            continue
        taken[node] = True
        order.append(node)
        for other in neighbours[node]:
            if not taken[other]:
                left[other] -= 1
                heapq.heappush(queue, (left[other], other))

    colours = [-1] * count
    uses = [0] * len(PALETTE)
    for node in reversed(order):
        beside = {colours[other] for other in neighbours[node]}
        # The rarest that is free, so that all are used.
        free = [(used, colour) for colour, used in enumerate(uses) if colour not in beside]
        if not free:
            uses.append(0)
            free = [(0, len(uses) - 1)]
        colours[node] = min(free)[1]
        uses[colours[node]] += 1
    return colours


def _colours(count: int) -> list[tuple[int, ...]]:
    """The palette, and as many more as are needed."""
    found: list[tuple[int, ...]] = list(PALETTE)
    step = 0
    while len(found) < count:
        # Hues in steps of the golden ratio never come back to the same; brightness goes up and down meanwhile.
        red, green, blue = colorsys.hsv_to_rgb(step * 0.618034 % 1, 0.45 + 0.4 * (step % 3) / 2, 1 - 0.15 * (step % 4))
        colour = tuple(round(255 * part) for part in (red, green, blue))
        if colour not in found:
            found.append(colour)
        step += 1
    return found
