"""The channels of an image: grey, grey + alpha, RGB or RGBA."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_image

__all__ = ["WITH_ALPHA", "colour_channels", "has_alpha", "looks_opaque", "three_channels", "to_rgb"]


def to_rgb(image: npt.ArrayLike) -> Array:
    """An image as three channels; the dtype and the values stay.

    Parameters
    ----------
    image : array-like, (H, W) or (H, W, C)
        Grey, grey + alpha (C = 2), RGB, or RGBA (C = 4). Grey is repeated, alpha is dropped.

    Returns
    -------
    numpy.ndarray, (H, W, 3)
        A new array of the same dtype.

    Raises
    ------
    InvalidInputError
        If the argument is not an image.

    Examples
    --------
    >>> to_rgb([[1, 2]]).tolist()
    [[[1, 1, 1], [2, 2, 2]]]
    """
    return three_channels(check_image(image)).copy()


def three_channels(image: Array) -> Array:
    """As `to_rgb`, but a view, which may be read only."""
    colour = colour_channels(image)
    if colour.ndim == 2:
        colour = colour[..., np.newaxis]
    return np.broadcast_to(colour, (*colour.shape[:2], 3)) if colour.shape[2] == 1 else colour


WITH_ALPHA = (2, 4)
"""Of so many channels, the last one is alpha."""


def has_alpha(image: Array) -> bool:
    """Whether the last channel is alpha."""
    return image.ndim == 3 and image.shape[2] in WITH_ALPHA


def colour_channels(image: Array) -> Array:
    """A view of the image without its alpha channel."""
    return image[..., :-1] if has_alpha(image) else image


def looks_opaque(alpha: Array) -> bool:
    """Whether values (H, W) may be a transparency: most pixels of a picture are wholly opaque, or not at all."""
    ends = (alpha == alpha.max()) | (alpha == alpha.min())
    return bool(2 * np.count_nonzero(ends) >= alpha.size)
