"""Is an image fit to be measured? Blurred, flat and clipped images are told, not refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_image, check_labels, check_same_size
from nucleiseg.images.channels import colour_channels
from nucleiseg.images.scaling import rescale

__all__ = ["judge_image", "sharpness"]

BLURRED = 0.12
"""Below this `sharpness`. It parts the Data Science Bowl's images from the same blurred by 3 pixels."""

SATURATED = 0.1
"""From this share of the nuclei's pixels at the highest value, their intensities say little."""

_FINE, _COARSE = 1.0, 4.0  # pixels
_AT_ONCE = 2**18  # pixels


def judge_image(image: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[str, ...]:
    """What is wrong with an image in which nuclei were looked for.

    Parameters
    ----------
    image : array-like, (H, W) or (H, W, C)
        Raw pixels, any real dtype.
    labels : array-like of int, (H, W)
        The nuclei that were found; 0 is background.

    Returns
    -------
    tuple of str
        Any of, in this order: ``"flat"``, one value everywhere; ``"blurred"``, out of focus or magnified without
        gain (see `sharpness`; noise hides blur); ``"saturated"``, a tenth or more of the nuclei's pixels have, in
        a channel, the highest value of an image of integers; ``"empty"``, no nucleus was found.

    Raises
    ------
    InvalidInputError
        If the image is no image, the labels are not (H, W) integers, or their sizes differ.

    Examples
    --------
    >>> judge_image(np.zeros((32, 32), np.uint8), np.zeros((32, 32), int))
    ('flat', 'empty')
    """
    pixels, found = check_image(image), check_labels(labels)
    check_same_size(pixels, found, ("image", "labels"))
    colours = colour_channels(pixels)
    flat = bool(colours.min() == colours.max())
    tests = {
        "flat": flat,
        "blurred": not flat and sharpness(pixels) < BLURRED,
        "saturated": _is_saturated(colours, found > 0),
        "empty": not found.any(),
    }
    return tuple(name for name, applies in tests.items() if applies)


def sharpness(image: npt.ArrayLike) -> float:
    """How much of the detail below 4 pixels is below 1 pixel: about .25 for a sharp image, below .12 for a blurred one.

    The standard deviation of what a Gaussian of 1 pixel takes away, divided by that of one of 4 pixels. It does not
    depend on brightness or contrast.

    Parameters
    ----------
    image : array-like, (H, W) or (H, W, C)
        Any real dtype; colours are averaged.

    Returns
    -------
    float
        From 0; 0 for a flat image.

    Raises
    ------
    InvalidInputError
        If the argument is no image.

    Examples
    --------
    >>> noise = np.random.default_rng(0).random((64, 64))
    >>> round(sharpness(noise), 1)
    0.9
    """
    colours = colour_channels(check_image(image))
    grey = _mean_of_channels(rescale(colours, "minmax"))
    fine, coarse = _taken_away(grey, (_FINE, _COARSE))
    return fine / coarse if coarse > 0 else 0.0


def _taken_away(grey: npt.NDArray[np.float32], sigmas: Sequence[float]) -> list[float]:
    """The standard deviations of what Gaussians take away from an image that is mirrored at its borders.

    Cosines are what such an image consists of, and a Gaussian only makes each of them weaker: one transform serves all,
    which of small images takes a third of the time that smoothing takes.
    """
    from scipy.fft import dctn

    # Without the mean, whose rounding would be detail where there is none.
    power = dctn(grey - grey.mean(dtype=np.float64).astype(np.float32), norm="ortho", overwrite_x=True)
    power *= power
    step = max(1, _AT_ONCE // grey.shape[1])  # rows, since an image as large again would be needed otherwise
    found = []
    for sigma in sigmas:
        rows, columns = (np.exp(-((np.pi * sigma * np.arange(n) / n) ** 2) / 2).astype(np.float32) for n in grey.shape)
        energy = 0.0
        for top in range(0, len(rows), step):
            taken = 1 - np.outer(rows[top : top + step], columns)
            energy += float(np.vdot(np.square(taken, out=taken), power[top : top + step]))
        found.append(float(np.sqrt(energy / grey.size)))
    return found


def _mean_of_channels(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What mean(axis=2) gives, whose sums of few numbers each take ten times as long."""
    first, *others = _layers(image)
    if not others:
        return first
    total = first.copy()
    for layer in others:
        total += layer
    total /= 1 + len(others)
    return total


def _is_saturated(colours: npt.NDArray[Any], nuclei: npt.NDArray[np.bool_]) -> bool:
    count = np.count_nonzero(nuclei)
    if colours.dtype.kind not in "iu" or not count:
        return False
    highest = max(int(colours.max()), 1)
    # Cameras of 10, 12 or 14 bits clip below the highest value of 16 bits: many pixels at one bright value tell.
    return any(np.count_nonzero((layer == highest) & nuclei) / count >= SATURATED for layer in _layers(colours))


def _layers(image: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    return [image] if image.ndim == 2 else [image[..., i] for i in range(image.shape[2])]
