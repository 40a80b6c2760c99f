"""The range of an image that is too large to be looked at as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from nucleiseg._checks import Array
from nucleiseg.images.scaling import Bound, scaling_range

__all__ = ["patches_of", "sample_pixels", "sampled_range"]

PATCHES = 16
PATCH = 128
LARGEST = (PATCHES * PATCH) ** 2


def sampled_range(image: Any, method: str) -> tuple[Bound, Bound]:
    """`scaling_range` of an image, by `sample_pixels` if it is large.

    Parameters
    ----------
    image : array-like, (H, W) or (H, W, C)
        Anything with a ``shape`` that gives an array for ``image[rows, columns]``.
    method : str
        One of `list_scalings`.

    Returns
    -------
    low, high : float
        As from `scaling_range`. They depend on nothing but the pixels, hence are the same however the image is cut.

    Examples
    --------
    >>> sampled_range(np.arange(12.0).reshape(3, 4), "minmax")
    (0.0, 11.0)
    """
    return scaling_range(sample_pixels(image), method)


def sample_pixels(image: Any) -> Any:
    """The whole image, or of one of more than 2,048² pixels 16 × 16 patches of 128 × 128, spread evenly.

    Examples
    --------
    >>> sample_pixels(np.zeros((5000, 4000))).shape
    (2048, 2048)
    """
    height, width = image.shape[:2]
    if height * width <= LARGEST:
        return np.asarray(image[:height, :width])
    return np.concatenate(
        [
            np.concatenate([np.asarray(image[rows, columns]) for columns in _spread(width)], axis=1)
            for rows in _spread(height)
        ]
    )


def patches_of(sample: Array, shape: tuple[int, ...]) -> list[Array]:
    """What `sample_pixels` has put together: pixels beside each other in a patch are so in the image, too.

    Parameters
    ----------
    sample : numpy.ndarray, (h, w) or (h, w, C)
        Of an image.
    shape : tuple of int
        Height and width of that image.

    Examples
    --------
    >>> image = np.zeros((5000, 4000))
    >>> patches = patches_of(sample_pixels(image), image.shape)
    >>> len(patches), patches[0].shape, len(patches_of(image[:9, :9], (9, 9)))
    (256, (128, 128), 1)
    """
    height, width = shape[:2]
    if height * width <= LARGEST:
        return [sample]
    down, right = (len(_spread(length)) for length in (height, width))
    return [part for band in np.split(sample, down) for part in np.split(band, right, axis=1)]


def _spread(length: int) -> list[slice]:
    """Patches along one axis, from the first pixel to the last; all of a short one."""
    if length <= PATCH * PATCHES:
        return [slice(0, length)]
    starts = (number * (length - PATCH) // (PATCHES - 1) for number in range(PATCHES))
    return [slice(start, start + PATCH) for start in starts]
