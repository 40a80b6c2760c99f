"""Random changes of an image and its labels that leave a nucleus a nucleus.

Geometry moves image and labels together; intensity touches the image alone. Everything is drawn from the generator that
is passed in, so a seed decides the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_flag, check_range, check_same_size, describe, hold_plain_numbers
from nucleiseg.errors import InvalidInputError
from nucleiseg.training.crops import check_scale
from nucleiseg.training.grounds import empty_ground

# Optical densities of eosin and DAB in red, green and blue: A. C. Ruifrok and D. A. Johnston, "Quantification of
# histochemical staining by color deconvolution", Anal. Quant. Cytol. Histol. 23, 2001.
_EOSIN = np.array([0.07, 0.99, 0.11])
_DAB = np.array([0.27, 0.57, 0.78])

_DARKEST = 1 / 255  # below, a logarithm would make noise of black

# Stained tissue is coloured (channels differ by this much, on average; the chroma noise of a grey JPEG is weaker) and
# lies on a light ground.
_COLOURED = 0.02
_LIGHT = 0.4


@dataclass(frozen=True)
class Augmentation:
    """How much images are changed while training. Zero, False or (1, 1) switches a change off.

    Parameters
    ----------
    flip, turn : bool
        Mirror; turn by multiples of 90° (180° where the crop is not square).
    scale : (float, float)
        Smallest and largest factor by which nuclei grow or shrink; drawn log-uniformly, used when a crop is taken.
    stretch : float
        Largest relative change of the ratio of height to width: 0.2 allows 1/1.2 to 1.2; used when a crop is taken.
    brightness : float
        Largest shift of all values, as a part of the range [0, 1].
    contrast, gamma : float
        Largest relative change of contrast about the mean, and of the exponent: 0.3 allows 1/1.3 to 1.3.
    colour : float
        Largest relative change of each channel's brightness, so that a model knows other stains and cameras.
    recolour : float
        Probability of giving up the colours: the channels change places, or all become their mean.
    counterstain : float
        Probability that stained tissue gets a second stain outside of its nuclei, pink to brown, and that the stain of
        the nuclei becomes paler or changes its hue, so that a model knows nuclei that are lighter than what surrounds
        them. Only colour images on a light ground are changed.
    invert : float
        Probability of turning dark into bright, so that a model knows nuclei on dark and on light ground.
    blur : float
        Largest standard deviation of a Gaussian blur, in pixels; half of the images are blurred.
    noise : float
        Largest standard deviation of Gaussian noise; half of the images get noise.
    empty : float
        Probability that a crop is replaced by a ground without any nucleus: noise, an uneven light, a flat colour.

    Examples
    --------
    >>> Augmentation(invert=0.0).gamma
    0.3
    """

    flip: bool = True
    turn: bool = True
    scale: tuple[float, float] = (0.5, 1.6)
    stretch: float = 0.0
    brightness: float = 0.1
    contrast: float = 0.3
    gamma: float = 0.3
    colour: float = 0.2
    recolour: float = 0.2
    counterstain: float = 0.4
    invert: float = 0.1
    blur: float = 1.5
    noise: float = 0.05
    empty: float = 0.0

    def __post_init__(self) -> None:
        hold_plain_numbers(self)
        for name in ("flip", "turn"):
            check_flag(getattr(self, name), name)
        for name in ("brightness", "recolour", "counterstain", "invert", "noise", "empty"):
            check_range(getattr(self, name), name, 0, 1)
        for name in ("stretch", "contrast", "gamma", "colour", "blur"):
            check_range(getattr(self, name), name, 0, 10)
        object.__setattr__(self, "scale", check_scale(self.scale))  # a list, as JSON gives it, would not be hashable


def augment(
    image: npt.NDArray[np.float32], labels: npt.NDArray[Any], settings: Augmentation, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    """Change an image and its labels at random.

    `Augmentation.scale` is not applied here but when the crop is taken (`nucleiseg.training.random_crop`), where pixels
    around the crop are still at hand.

    Parameters
    ----------
    image : numpy.ndarray, (H, W, C)
        float32 in [0, 1].
    labels : numpy.ndarray, (H, W)
        Any dtype; moved, never interpolated.
    settings : Augmentation
        How much.
    rng : numpy.random.Generator
        Where the random numbers come from.

    Returns
    -------
    image : numpy.ndarray, (H, W, C)
        float32 in [0, 1]; a new array.
    labels : numpy.ndarray, (H, W)
        The input's dtype.

    Raises
    ------
    InvalidInputError
        If image and labels differ in height or width, or the image is not (H, W, C).

    Examples
    --------
    >>> image = np.zeros((4, 4, 3), np.float32)
    >>> changed, labels = augment(image, np.eye(4, dtype=int), Augmentation(), np.random.default_rng(0))
    >>> changed.shape, int(labels.sum())
    ((4, 4, 3), 4)
    """
    if image.ndim != 3:
        raise InvalidInputError(f"image must be (H, W, C), got {describe(image)}; add a channel with image[..., None]")
    check_same_size(image, labels, ("image", "labels"))
    image, labels = _move(image, labels, settings, rng)
    image = _recolour(image, labels, settings, rng)
    empty, ground_seed = rng.random() < settings.empty, rng.integers(2**63)
    if empty:
        return empty_ground(image.shape, np.random.default_rng(ground_seed)), np.zeros_like(labels)
    return image, labels


def _move(
    image: npt.NDArray[np.float32], labels: npt.NDArray[Any], settings: Augmentation, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    flip, turns = rng.random() < 0.5, int(rng.integers(4))
    if settings.flip and flip:
        image, labels = image[:, ::-1], labels[:, ::-1]
    if settings.turn:
        if image.shape[0] != image.shape[1]:
            turns -= turns % 2
        image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    return image, labels


def _recolour(
    image: npt.NDArray[np.float32], labels: npt.NDArray[Any], settings: Augmentation, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    # All numbers are drawn whether used or not: switching one change off leaves the others as they were.
    shift = settings.brightness * rng.uniform(-1, 1)
    contrast = (1 + settings.contrast) ** rng.uniform(-1, 1)
    gamma = (1 + settings.gamma) ** rng.uniform(-1, 1)
    tint = (1 + settings.colour) ** rng.uniform(-1, 1, image.shape[2])
    recolour, channels, grey = rng.random() < settings.recolour, rng.permutation(image.shape[2]), rng.random() < 0.5
    invert = rng.random() < settings.invert
    blur = settings.blur * max(0.0, rng.uniform(-1, 1))
    noise = settings.noise * max(0.0, rng.uniform(-1, 1))
    noise_seed = rng.integers(2**63)
    counterstain, stain_seed = rng.random() < settings.counterstain, rng.integers(2**63)

    result = np.array(image, np.float32)
    if counterstain and _is_stained_tissue(result):
        result = _counterstain(result, labels > 0, np.random.default_rng(stain_seed))
    if blur > 0.25:  # below, the kernel is a single pixel
        from scipy.ndimage import gaussian_filter

        result = gaussian_filter(result, (blur, blur, 0), truncate=3)
    if gamma != 1:
        np.power(result, np.float32(gamma), out=result)
    if recolour:
        result = (
            np.repeat(result.mean(axis=2, keepdims=True), image.shape[2], axis=2) if grey else result[..., channels]
        )
    if settings.colour:
        result *= tint.astype(np.float32)
    if contrast != 1 or shift != 0:
        mean = result.mean()
        result -= mean
        result *= np.float32(contrast)
        result += np.float32(mean + shift)
    if noise > 0:
        result += np.float32(noise) * np.random.default_rng(noise_seed).standard_normal(result.shape, np.float32)
    np.clip(result, 0, 1, out=result)
    if invert:
        np.subtract(1, result, out=result)
    return result


def _is_stained_tissue(image: npt.NDArray[np.float32]) -> bool:
    return bool(image.shape[2] == 3 and image.mean() > _LIGHT and np.ptp(image, axis=2).mean() > _COLOURED)


def _counterstain(
    image: npt.NDArray[np.float32], nuclei: npt.NDArray[np.bool_], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Light passes two stains one after the other, so their optical densities add up."""
    from scipy.ndimage import gaussian_filter

    def clouds(sigmas: tuple[float, float]) -> npt.NDArray[np.float32]:
        noise = gaussian_filter(rng.standard_normal(nuclei.shape, np.float32), sigmas, mode="wrap", truncate=3)
        return np.asarray(0.5 + 0.5 * np.tanh(noise / (noise.std() + 1e-6)), np.float32)  # no overflow if all are equal

    hue = np.exp(rng.uniform(-0.4, 0.4, 3)) * np.exp(rng.uniform(-1.2, 0.2))
    browning, leaking = rng.random(), rng.uniform(0, 0.4)
    stain = ((1 - browning) * _EOSIN + browning * _DAB) * np.exp(rng.uniform(-1.5, 1.0))
    fibres = 1 - rng.uniform(0.2, 1) * clouds((rng.uniform(0.7, 4), rng.uniform(0.7, 4)))
    regions = clouds((24.0, 24.0))
    outside = 1 - (1 - leaking) * gaussian_filter(nuclei.astype(np.float32), 1)
    density = -np.log(np.maximum(image, np.float32(_DARKEST)))
    density = density * hue.astype(np.float32)
    density += (fibres * regions * outside)[..., np.newaxis] * (2 * stain).astype(np.float32)
    return np.asarray(np.exp(-density), np.float32)
