"""Bringing images of any dtype to float32 in [0, 1].

Scaling has two steps, so that a crop can be scaled by the range of the whole image: `scaling_range` finds the two
values that become 0 and 1, `apply_range` maps pixels between them. `rescale` does both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_image, describe
from nucleiseg._registry import Registry
from nucleiseg.errors import InvalidInputError
from nucleiseg.images.channels import colour_channels, has_alpha

__all__ = [
    "apply_range",
    "list_scalings",
    "register_scaling",
    "rescale",
    "scaling_range",
]

Bound: TypeAlias = "float | npt.NDArray[np.float64]"
Scaling: TypeAlias = Callable[[Array], tuple[float, float]]

LOW_PERCENTILE = 1.0
HIGH_PERCENTILE = 99.8
_COUNTED = 1 << 17

_SCALINGS: Registry[Scaling] = Registry("scaling", group="nucleiseg.scalings")


def list_scalings() -> list[str]:
    """Names of the ways to find an image's range, sorted.

    Examples
    --------
    >>> list_scalings()
    ['dtype', 'minmax', 'percentile']
    """
    return _SCALINGS.names()


def register_scaling(name: str) -> Callable[[Scaling], Scaling]:
    """Decorator that adds a way to find an image's range.

    Parameters
    ----------
    name : str
        An identifier that is not taken. The decorated function gets an array of pixel values (any shape, any real
        dtype) and returns the two floats that shall become 0 and 1.

    Raises
    ------
    InvalidInputError
        If the name is taken or no identifier.

    Examples
    --------
    >>> @register_scaling("twelve_bit")
    ... def twelve_bit(values):
    ...     return 0.0, 4095.0
    >>> rescale(np.array([[0, 4095]], np.uint16), "twelve_bit").tolist()
    [[0.0, 1.0]]
    >>> _SCALINGS.unregister("twelve_bit")
    """
    return _SCALINGS.register(name)


def scaling_range(image: npt.ArrayLike, method: str = "percentile", per_channel: bool = False) -> tuple[Bound, Bound]:
    """The two values of an image that become 0 and 1.

    Parameters
    ----------
    image : array-like, (H, W) or (H, W, C)
        Any real dtype. An alpha channel (the last of 2 or 4) takes no part.
    method : str
        ``"dtype"``: 0 and the largest value of an integer dtype, 0 and 1 for bool and float; negative values, and
        floats above 1, raise. ``"minmax"``: the smallest and largest value. ``"percentile"``: the 1st and 99.8th
        percentile, or the smallest and largest value where the two coincide (a few bright nuclei on flat ground).
    per_channel : bool
        One range for each channel instead of one for all.

    Returns
    -------
    low, high : float, or numpy.ndarray of float64, (C,)
        Arrays with ``per_channel``, one entry for each channel that is not alpha. Equal for a constant image, except
        with ``"dtype"``.

    Raises
    ------
    InvalidInputError
        If the argument is not an image, the method is unknown, or ``"dtype"`` does not fit the values.

    Examples
    --------
    >>> scaling_range(np.array([[10, 20, 30]], np.uint8), "minmax")
    (10.0, 30.0)
    """
    colour = colour_channels(check_image(image))
    find = _SCALINGS.get(method)
    if not per_channel:
        return find(colour)
    channels = [colour] if colour.ndim == 2 else [colour[..., i] for i in range(colour.shape[2])]
    lows, highs = zip(*map(find, channels), strict=True)
    return np.array(lows, np.float64), np.array(highs, np.float64)


def apply_range(image: npt.ArrayLike, low: Bound, high: Bound) -> npt.NDArray[np.float32]:
    """Map ``low`` to 0 and ``high`` to 1, linearly; values outside are clipped.

    Parameters
    ----------
    image : array-like, (H, W) or (H, W, C)
        Any real dtype. An alpha channel (the last of 2 or 4) is scaled by its dtype's range instead.
    low, high : float, or array-like, (C,)
        As `scaling_range` returns them. Where they are equal, the result is 0.

    Returns
    -------
    numpy.ndarray of float32
        The image's shape, in [0, 1].

    Raises
    ------
    InvalidInputError
        If the argument is not an image, or low and high do not fit it.

    Examples
    --------
    >>> apply_range(np.array([[0, 10, 20, 40]], np.uint8), 10.0, 30.0).tolist()
    [[0.0, 0.0, 0.5, 1.0]]
    """
    pixels = check_image(image)
    colour = colour_channels(pixels)
    lows, highs = _check_bounds(low, high, colour)
    if not has_alpha(pixels):
        return _stretch(colour, lows, highs)
    alpha_high = np.float64(np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else 1)
    alpha = _stretch(pixels[..., -1:], np.float64(0), alpha_high)
    return np.concatenate([_stretch(colour, lows, highs), alpha], axis=2)


def rescale(image: npt.ArrayLike, method: str = "percentile", per_channel: bool = False) -> npt.NDArray[np.float32]:
    """Scale an image to [0, 1] by its own range.

    Parameters
    ----------
    image : array-like, (H, W) or (H, W, C)
        Any real dtype.
    method : str
        One of `list_scalings`; see `scaling_range`.
    per_channel : bool
        Scale each channel by its own range. Changes the colours of a stained image; meant for fluorescence channels.

    Returns
    -------
    numpy.ndarray of float32
        The image's shape, in [0, 1]. A constant image becomes 0, except with ``"dtype"``.

    Raises
    ------
    InvalidInputError
        If the argument is not an image, the method is unknown, or ``"dtype"`` does not fit the values.

    Examples
    --------
    >>> rescale(np.array([[0, 51, 255]], np.uint8), "dtype").round(3).tolist()
    [[0.0, 0.2..., 1.0]]
    """
    low, high = scaling_range(image, method, per_channel)
    return apply_range(image, low, high)


@_SCALINGS.register("dtype")
def _dtype_range(values: Array) -> tuple[float, float]:
    if values.dtype.kind in "bu":
        return 0.0, 1.0 if values.dtype.kind == "b" else float(np.iinfo(values.dtype).max)
    low, high = _minmax_range(values)
    limit = float(np.iinfo(values.dtype).max) if values.dtype.kind == "i" else 1.0
    if low < 0 or high > limit:
        raise InvalidInputError(
            f"the scaling 'dtype' needs {values.dtype} values from 0 to {limit:g}, got {low:g} to {high:g}; "
            "use the scaling 'minmax' or 'percentile'"
        )
    return 0.0, limit


@_SCALINGS.register("minmax")
def _minmax_range(values: Array) -> tuple[float, float]:
    return float(values.min()), float(values.max())


@_SCALINGS.register("percentile")
def _percentile_range(values: Array) -> tuple[float, float]:
    low, high = _percentiles(values)
    return (low, high) if low < high else _minmax_range(values)


def _percentiles(values: Array) -> tuple[float, float]:
    wanted = [LOW_PERCENTILE, HIGH_PERCENTILE]
    if values.dtype.kind in "bui" and values.dtype.itemsize <= 2:
        low, high = _histogram_percentiles(values, wanted)
    else:
        # NumPy interpolates in the dtype of the values, where integers wrap around and float16 overflows; and it
        # finds the ranks in float64 for a list of percentiles only.
        exact = values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
        low, high = np.percentile(exact, wanted)
    return float(low), float(high)


def _histogram_percentiles(values: Array, wanted: list[float]) -> npt.NDArray[np.float64]:
    """What np.percentile gives for 8- and 16-bit integers, by counting instead of sorting."""
    flat = values.ravel()
    smallest = 0 if flat.dtype == np.uint8 else int(flat.min())
    counts = _count_bytes(flat) if flat.dtype == np.uint8 else _count(flat, smallest, int(flat.max()))
    position = np.asarray(wanted) / 100 * (values.size - 1)
    below = np.floor(position)
    upto = np.cumsum(counts)
    left = np.searchsorted(upto, below, side="right").astype(np.float64) + smallest
    right = np.searchsorted(upto, np.ceil(position), side="right").astype(np.float64) + smallest
    part = position - below
    # Interpolated from the nearer end, as NumPy does, so that the last bit agrees too.
    return np.where(part < 0.5, left + (right - left) * part, right - (right - left) * (1 - part))


def _count(flat: Array, smallest: int, largest: int) -> npt.NDArray[np.intp]:
    """How often each integer from the smallest to the largest occurs."""
    counts = np.zeros(largest - smallest + 1, np.intp)
    for start in range(0, flat.size, _COUNTED):
        # A part at a time, which stays in the processor's cache while it is widened.
        counts += np.bincount(flat[start : start + _COUNTED].astype(np.intp) - smallest, minlength=counts.size)
    return counts


def _count_bytes(flat: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """How often each of 0 to 255 occurs: two bytes are counted as one number of 16 bits, in half the time."""
    odd = flat.size % 2
    pairs = _count(flat[odd:].view(np.uint16), 0, 2**16 - 1).reshape(256, 256)
    counts: npt.NDArray[np.intp] = pairs.sum(axis=0) + pairs.sum(axis=1)
    counts[flat[:odd]] += 1
    return counts


def _check_bounds(low: Bound, high: Bound, colour: Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    lows, highs = np.asarray(low, np.float64), np.asarray(high, np.float64)
    channels = 1 if colour.ndim == 2 else colour.shape[2]
    for bound in (lows, highs):
        if bound.shape not in ((), (channels,)):
            raise InvalidInputError(
                f"low and high must be numbers or hold one for each of {channels} colour channels, "
                f"got {describe(bound)}; use scaling_range on an image with the same channels"
            )
    with np.errstate(over="ignore", invalid="ignore"):
        usable = np.isfinite(highs - lows).all() and (lows <= highs).all()
    if not usable:
        raise InvalidInputError(
            f"low and high must be finite with low <= high, got {low} and {high}; use scaling_range to find them"
        )
    return lows, highs


def _stretch(pixels: Array, low: Any, high: Any) -> npt.NDArray[np.float32]:
    # float32 holds 8- and 16-bit values exactly and is twice as fast; others need the precision or range of float64.
    dtype: Any = np.float32 if pixels.dtype.itemsize <= 2 else np.float64
    low, high = np.asarray(low, dtype), np.asarray(high, dtype)
    span = high - low
    result = pixels.astype(dtype)
    # Clipping first keeps the subtraction from overflowing.
    np.clip(result, low, high, out=result)
    result -= low
    result /= np.where(span > 0, span, 1)
    return np.asarray(result, np.float32)
