"""Pictures of an image with its nuclei outlined."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_image, check_labels, check_same_size
from nucleiseg.images.channels import colour_channels, three_channels
from nucleiseg.images.sampling import sampled_range
from nucleiseg.images.scaling import apply_range

__all__ = ["of_neighbours", "overlay", "overlay_bands"]

# Cyan differs from brown, pink, purple and grey, and from blue by its brightness.
LINE = (0, 255, 230)
CASING = (20, 20, 60)

_AT_ONCE = 2**19  # pixels; drawing takes some 40 bytes for each


def overlay(image: npt.ArrayLike, labels: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Draw the outline of every nucleus on its image.

    A bright line with a dark casing around it, so that it is seen on dark fluorescence and on bright tissue alike.

    Parameters
    ----------
    image : array-like, (H, W) or (H, W, C)
        Any real dtype; contrast is stretched for display (1st to 99.8th percentile, of a sample where there are more
        than 2,048² pixels), alpha is dropped.
    labels : array-like of int, (H, W)
        0 background. Touching nuclei are told apart by a line between them.

    Returns
    -------
    numpy.ndarray of uint8, (H, W, 3)
        Red, green and blue. The line is 1 pixel wide, and another one for every 800 pixels of the shorter side.

    Raises
    ------
    InvalidInputError
        If an argument has another shape or dtype, or the sizes differ.

    Examples
    --------
    >>> picture = overlay(np.zeros((5, 5)), np.eye(5, dtype=int))
    >>> picture.shape, picture.dtype, picture[0, 0].tolist()
    ((5, 5, 3), dtype('uint8'), [0, 255, 230])
    """
    bands = overlay_bands(image, labels)
    picture = np.empty((*np.shape(labels), 3), np.uint8)
    top = 0
    for band in bands:
        picture[top : top + len(band)] = band
        top += len(band)
    return picture


def overlay_bands(image: npt.ArrayLike, labels: npt.ArrayLike) -> Iterator[npt.NDArray[np.uint8]]:
    """The rows of `overlay` from the first to the last, some at a time: drawing takes several times their memory.

    Raises
    ------
    InvalidInputError
        As `overlay`, at once.

    Examples
    --------
    >>> np.concatenate(list(overlay_bands(np.zeros((5, 5)), np.eye(5, dtype=int)))).shape
    (5, 5, 3)
    """
    pixels = check_image(image)
    values = check_labels(labels)
    check_same_size(pixels, values, ("image", "labels"))
    return _bands(colour_channels(pixels), values)


def _bands(colours: Array, values: Array) -> Iterator[npt.NDArray[np.uint8]]:
    height, width = values.shape
    low, high = sampled_range(colours, "percentile")
    margin = 1 + min(height, width) // 800
    step = max(1, _AT_ONCE // width, 4 * margin)  # rows
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        stretched = apply_range(colours[rows], low, high)
        stretched *= 255
        picture = three_channels(np.rint(stretched, out=stretched).astype(np.uint8)).copy()
        above = min(margin, top)  # rows that may reach into these
        _draw_lines(picture, values[top - above : rows.stop + margin], slice(above, above + len(picture)), margin)
        yield picture


def _draw_lines(picture: npt.NDArray[np.uint8], values: Array, rows: slice, width: int) -> None:
    """Around the nuclei of these rows of the labels."""
    highest = lowest = values
    for _ in range(width):
        highest, lowest = of_neighbours(np.maximum, highest), of_neighbours(np.minimum, lowest)
    highest, lowest, nuclei = highest[rows], lowest[rows], values[rows] > 0
    # The line lies inside the nuclei and the casing around them, so that neither hides much of the other's side.
    picture[nuclei & (highest != lowest)] = LINE
    picture[~nuclei & (highest > 0)] = CASING


def of_neighbours(pick: np.ufunc, values: Array) -> Array:
    """Of every pixel and its four neighbours the largest or smallest value; ndimage takes three times as long."""
    result = values.copy()
    pick(result[1:], values[:-1], out=result[1:])
    pick(result[:-1], values[1:], out=result[:-1])
    pick(result[:, 1:], values[:, :-1], out=result[:, 1:])
    pick(result[:, :-1], values[:, 1:], out=result[:, :-1])
    return result
