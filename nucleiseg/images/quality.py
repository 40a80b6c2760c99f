"""Is an image fit to be measured? Blurred, flat and clipped images are told, not refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_image, check_labels, check_same_size
from nucleiseg.images.channels import colour_channels
from nucleiseg.images.sampling import patches_of, sample_pixels
from nucleiseg.images.scaling import apply_range, scaling_range

__all__ = ["judge_image", "judge_sample", "sharpness"]

BLURRED = 0.12
"""Below this `sharpness`. It parts the Data Science Bowl's images from the same blurred by 3 pixels."""

SATURATED = 0.1
"""From this share of the nuclei's pixels at the highest value, their intensities say little."""

_FINE, _COARSE = 1.0, 4.0  # pixels
_AT_ONCE = 2**18  # pixels

_ENOUGH = 1000  # pixels of nuclei in a sample; of fewer, the brightest says nothing of clipping


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
    blurred = not flat and _is_blurred(sample_pixels(colours), colours.shape)
    return _flags(flat, blurred, _is_saturated(colours, found), not found.any())


def judge_sample(sample: Array, labels: Array, shape: tuple[int, int], count: int) -> tuple[str, ...]:
    """As `judge_image`, of an image that is larger than memory, by what `sample_pixels` takes of it.

    Parameters
    ----------
    sample : numpy.ndarray, (h, w) or (h, w, C)
        Of the raw pixels.
    labels : numpy.ndarray of int, (h, w)
        The same sample of the nuclei.
    shape : tuple of int
        Height and width of the image.
    count : int
        How many nuclei there are in all of the image.

    Returns
    -------
    tuple of str
        As `judge_image`. A large image with nuclei is not called flat: they may lie between the parts of the sample.

    Examples
    --------
    >>> judge_sample(np.zeros((2048, 2048), np.uint8), np.zeros((2048, 2048), int), (9000, 9000), 0)
    ('flat', 'empty')
    """
    colours = colour_channels(sample)
    whole = len(patches_of(labels, shape)) == 1
    flat = bool(colours.min() == colours.max()) and (whole or not count)
    saturated = _is_saturated(colours, labels, 1 if whole else _ENOUGH)
    return _flags(flat, not flat and _is_blurred(colours, shape), saturated, not count)


def _flags(flat: bool, blurred: bool, saturated: bool, empty: bool) -> tuple[str, ...]:
    tests = {"flat": flat, "blurred": blurred, "saturated": saturated, "empty": empty}
    return tuple(name for name, applies in tests.items() if applies)


def _is_blurred(sample: Array, shape: tuple[int, ...]) -> bool:
    """One value all over a sample is no blur, which is seen at edges: there are some elsewhere."""
    return bool(sample.min() < sample.max()) and _sharpness(sample, shape) < BLURRED


def sharpness(image: npt.ArrayLike) -> float:
    """How much of the detail below 4 pixels is below 1 pixel: about .25 for a sharp image, below .12 for a blurred one.

    The standard deviation of what a Gaussian of 1 pixel takes away, divided by that of one of 4 pixels. It does not
    depend on brightness or contrast. Of images of more than 2,048² pixels, 16 × 16 patches of 128 × 128 are looked at.

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
    return _sharpness(sample_pixels(colours), colours.shape)


def _sharpness(colours: Array, shape: tuple[int, ...]) -> float:
    """Of a sample of an image of this height and width."""
    bounds = scaling_range(colours, "minmax")
    patches = (_mean_of_channels(apply_range(patch, *bounds)) for patch in patches_of(colours, shape))
    fine, coarse = _taken_away(patches, (_FINE, _COARSE))
    return fine / coarse if coarse > 0 else 0.0


def _taken_away(patches: Iterable[npt.NDArray[np.float32]], sigmas: Sequence[float]) -> list[float]:
    """The standard deviations of what Gaussians take away from patches, each of which is mirrored at its borders."""
    pixels, energies = 0, [0.0] * len(sigmas)
    for patch in patches:
        pixels += patch.size
        energies = [sum(pair) for pair in zip(energies, _energies(patch, sigmas), strict=True)]
    return [float(np.sqrt(energy / pixels)) for energy in energies]


def _energies(grey: npt.NDArray[np.float32], sigmas: Sequence[float]) -> list[float]:
    """The sums of the squares of what Gaussians take away from an image that is mirrored at its borders.

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
        found.append(energy)
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


def _is_saturated(colours: Array, labels: Array, least: int = 1) -> bool:
    """Whether too many pixels of nuclei are clipped, of which there must be so many."""
    if colours.dtype.kind not in "iu":
        return False
    highest = max(int(colours.max()), 1)
    count, clipped = 0, np.zeros(len(_layers(colours)), np.int64)
    step = max(1, _AT_ONCE // labels.shape[1])  # rows, for the same reason
    for top in range(0, len(labels), step):
        nuclei = labels[top : top + step] > 0
        count += int(np.count_nonzero(nuclei))
        # Cameras of 10, 12 or 14 bits clip below the highest value of 16 bits: many pixels at one bright value tell.
        clipped += [np.count_nonzero((layer == highest) & nuclei) for layer in _layers(colours[top : top + step])]
    return count >= least and bool((clipped / count >= SATURATED).any())


def _layers(image: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    return [image] if image.ndim == 2 else [image[..., i] for i in range(image.shape[2])]
