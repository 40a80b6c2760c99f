"""Cutting crops of one size out of images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_count, check_range, check_same_size
from nucleiseg.errors import InvalidInputError
from nucleiseg.images import apply_range, to_rgb
from nucleiseg.images.scaling import Bound
from nucleiseg.training.copies import copies_along


class Crop(NamedTuple):
    """A crop, and for each of its rows and columns the copy of the image that it lies in; None without mirroring."""

    image: npt.NDArray[np.float32]
    labels: npt.NDArray[Any]
    copies: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]] | None


def random_crop(
    image: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    size: tuple[int, int],
    value_range: tuple[Bound, Bound],
    rng: np.random.Generator,
    scale: tuple[float, float] = (1.0, 1.0),
    stretch: float = 0.0,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    """Cut a crop at a random place, at a random scale; images that are too small are mirrored at their borders.

    Only the window is read from a memory-mapped image. The values are scaled by the range of the whole image, as they
    are in prediction. Mirrored copies of a nucleus have its number.

    Parameters
    ----------
    image : numpy.ndarray, (H, W) or (H, W, C)
        Raw pixels.
    labels : numpy.ndarray, (H, W)
        Integer labels of the same size.
    size : (int, int)
        Height and width of the crop.
    value_range : (low, high)
        From `nucleiseg.images.scaling_range`.
    rng : numpy.random.Generator
        Where the random numbers come from.
    scale : (float, float)
        Smallest and largest magnification, 0.1 to 10, drawn log-uniformly.
    stretch : float
        Largest relative change of the ratio of height to width, 0 to 10: 0.2 allows 1/1.2 to 1.2.

    Returns
    -------
    image : numpy.ndarray, (height, width, 3)
        float32 in [0, 1].
    labels : numpy.ndarray, (height, width)
        The input's dtype; values are copied, never mixed.

    Raises
    ------
    InvalidInputError
        If image and labels differ in height or width, the size is below 1, the scale is no pair from 0.1 to 10, or the
        stretch is no number from 0 to 10.

    Examples
    --------
    >>> image, labels = np.arange(64, dtype=np.uint8).reshape(8, 8), np.ones((8, 8), int)
    >>> crop, inside = random_crop(image, labels, (16, 4), (0.0, 63.0), np.random.default_rng(0))
    >>> crop.shape, inside.shape
    ((16, 4, 3), (16, 4))
    """
    crop = cut_crop(image, labels, size, value_range, rng, scale, stretch)
    return crop.image, crop.labels


def cut_crop(
    image: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    size: tuple[int, int],
    value_range: tuple[Bound, Bound],
    rng: np.random.Generator,
    scale: tuple[float, float] = (1.0, 1.0),
    stretch: float = 0.0,
) -> Crop:
    """As `random_crop`, and where the copies of a mirrored image lie.

    Examples
    --------
    >>> image = np.zeros((8, 2), np.uint8)
    >>> rows, columns = cut_crop(image, image, (4, 4), (0.0, 1.0), np.random.default_rng(0)).copies
    >>> rows.tolist(), columns.tolist()
    ([0, 0, 0, 0], [0, 0, 1, 1])
    """
    check_same_size(image, labels, ("image", "labels"))
    size = (check_count(size[0], "size"), check_count(size[1], "size"))
    scale = check_scale(scale)
    stretch = check_range(stretch, "stretch", 0, 10)
    factor = float(np.exp(rng.uniform(*np.log(scale))))
    aspect = (1 + stretch) ** rng.uniform(-0.5, 0.5) if stretch else 1.0
    window = [
        max(1, round(length / each)) for length, each in zip(size, (factor * aspect, factor / aspect), strict=True)
    ]
    start = [int(rng.integers(max(0, have - want) + 1)) for have, want in zip(labels.shape, window, strict=True)]
    inside = tuple(slice(begin, begin + want) for begin, want in zip(start, window, strict=True))
    pixels = to_rgb(apply_range(image[inside], *value_range))
    found = np.asarray(labels[inside])

    had = found.shape
    missing = [(0, want - have) for want, have in zip(window, had, strict=True)]
    mirrored = any(after for _, after in missing)
    if mirrored:
        pixels = np.pad(pixels, [*missing, (0, 0)], mode="symmetric")
        found = np.pad(found, missing, mode="symmetric")
    rows, columns = (_nearest(want, have) for want, have in zip(size, window, strict=True))
    copies = (copies_along(rows, had[0]), copies_along(columns, had[1])) if mirrored else None
    if tuple(window) == size:
        return Crop(pixels, found, copies)
    return Crop(_resize(pixels, size), found[rows[:, np.newaxis], columns], copies)


def check_scale(scale: tuple[float, float]) -> tuple[float, float]:
    """The smallest and the largest magnification, each from 0.1 to 10.

    Examples
    --------
    >>> check_scale((0.5, 2))
    (0.5, 2.0)
    """
    if not isinstance(scale, Sequence) or len(scale) != 2:
        raise InvalidInputError(f"scale must be (smallest, largest), got {scale!r}; (1, 1) leaves the size as it is")
    low, high = check_range(scale[0], "the lower scale", 0.1, 10), check_range(scale[1], "the upper scale", 0.1, 10)
    if low > high:
        raise InvalidInputError(f"scale must be (smallest, largest), got {scale}; swap the two")
    return low, high


def _resize(image: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    # Pillow's resampling is the fastest at hand and smooths as it shrinks; it takes one float channel at a time.
    from PIL import Image

    height, width = size
    channels = [
        Image.fromarray(np.ascontiguousarray(image[..., i])).resize((width, height), Image.Resampling.BILINEAR)
        for i in range(image.shape[2])
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def _nearest(want: int, have: int) -> npt.NDArray[np.intp]:
    """Nearest neighbour with pixel centres at half, the convention of Pillow's resize, so that both stay aligned."""
    return ((np.arange(want) + 0.5) * have / want).astype(np.intp)
