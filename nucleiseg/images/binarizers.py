"""Named ways from what annotators and networks give (labels, masks, probabilities) to one 0/1 mask.

They take (H, W), (H, W, 1), (N, H, W) or (N, H, W, 1); the mask is uint8 {0, 1} with a trailing channel axis, as losses
and metrics expect it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_number_array, check_range, describe
from nucleiseg._registry import Registry
from nucleiseg.errors import InvalidInputError

__all__ = ["binarize", "list_binarizers", "register_binarizer", "unbinarize"]

Binarizer: TypeAlias = Callable[[Array, float], Array]
Inverse: TypeAlias = Callable[[Array], Array]


@dataclass(frozen=True)
class _Entry:
    binarizer: Binarizer
    inverse: Inverse | None


_BINARIZERS: Registry[_Entry] = Registry("binarizer")


def list_binarizers() -> list[str]:
    """Names of the binarizers, sorted.

    Examples
    --------
    >>> list_binarizers()
    ['labels', 'mask', 'mask255', 'probability']
    """
    return _BINARIZERS.names()


def register_binarizer(name: str, inverse: Inverse | None = None) -> Callable[[Binarizer], Binarizer]:
    """Decorator that adds a binarizer.

    Parameters
    ----------
    name : str
        An identifier that is not taken. The decorated function gets an array of real numbers and the threshold, and
        returns an array of the same shape, true where there is a nucleus.
    inverse : callable, optional
        From a uint8 {0, 1} array back to what the binarizer takes, if that loses nothing.

    Raises
    ------
    InvalidInputError
        If the name is taken or no identifier.

    Examples
    --------
    >>> @register_binarizer("dark_nuclei", inverse=lambda mask: 255 * (1 - mask))
    ... def dark_nuclei(array, threshold):
    ...     return array == 0
    >>> binarize(np.array([[0, 255]]), "dark_nuclei").ravel().tolist()
    [1, 0]
    >>> _BINARIZERS.unregister("dark_nuclei")
    """

    def add(binarizer: Binarizer) -> Binarizer:
        _BINARIZERS.register(name)(_Entry(binarizer, inverse))
        return binarizer

    return add


def binarize(array: npt.ArrayLike, method: str = "labels", threshold: float = 0.5) -> npt.NDArray[np.uint8]:
    """A 0/1 mask with a channel axis, from labels, a mask or a probability.

    Parameters
    ----------
    array : array-like, (H, W), (H, W, 1), (N, H, W) or (N, H, W, 1)
        A last axis of length 1 is the channel. Never modified.
    method : str
        ``"labels"``: integers, a nucleus wherever the value is not 0. ``"mask"``: 0 and 1, of any dtype.
        ``"mask255"``: 0 and 255, of any dtype. ``"probability"``: floats in [0, 1], a nucleus where the value is above
        the threshold. Others may be registered: `list_binarizers`.
    threshold : float
        In [0, 1]; used by ``"probability"`` only.

    Returns
    -------
    numpy.ndarray of uint8, (H, W, 1) or (N, H, W, 1)
        1 in nuclei, 0 elsewhere.

    Raises
    ------
    InvalidInputError
        If the method is unknown, the array's shape, dtype or values are not what the method takes, or a registered
        method gives another shape.

    Examples
    --------
    >>> binarize(np.array([[0, 7, 7, 9]])).ravel().tolist()
    [0, 1, 1, 1]
    >>> binarize(np.array([[0.2, 0.8]]), "probability").shape
    (1, 2, 1)
    """
    entry = _BINARIZERS.get(method)
    check_range(threshold, "threshold", 0, 1)
    numbers = check_number_array(array, "array")
    with_channel = numbers if numbers.ndim in (3, 4) and numbers.shape[-1] == 1 else numbers[..., np.newaxis]
    if with_channel.ndim not in (3, 4) or with_channel.size == 0:
        raise InvalidInputError(
            "array must be (H, W) or (N, H, W), with or without a channel axis of length 1, "
            f"got {describe(numbers)}; pass one channel, e.g. array[..., 0]"
        )
    mask = np.asarray(entry.binarizer(with_channel, threshold), bool)
    if mask.shape != with_channel.shape:
        raise InvalidInputError(
            f"a binarizer must keep the shape of what it is given, here {with_channel.shape}, got {mask.shape} from "
            f"{method!r}; return an array of the same shape, with the channel axis"
        )
    return mask.astype(np.uint8)


def unbinarize(mask: npt.ArrayLike, method: str = "mask255") -> Array:
    """What `binarize` was given, from the mask it returned.

    Parameters
    ----------
    mask : array-like, (H, W, 1) or (N, H, W, 1)
        Values 0 and 1.
    method : str
        ``"mask"`` or ``"mask255"``. The other methods lose what tells nuclei apart or how sure a pixel was.

    Returns
    -------
    numpy.ndarray of uint8, (H, W) or (N, H, W)
        0 and 1, or 0 and 255, without the channel axis.

    Raises
    ------
    InvalidInputError
        If the method is unknown or has no inverse, or the mask has another shape or other values.

    Examples
    --------
    >>> unbinarize(binarize([[0, 255]], "mask255"), "mask255").tolist()
    [[0, 255]]
    """
    inverse = _BINARIZERS.get(method).inverse
    if inverse is None:
        invertible = [name for name in _BINARIZERS if _BINARIZERS.get(name).inverse is not None]
        raise InvalidInputError(
            f"the binarizer {method!r} cannot be undone, it loses information; "
            f"keep the original array, or use one of {', '.join(invertible)}"
        )
    numbers = check_number_array(mask, "mask")
    if numbers.ndim not in (3, 4) or numbers.shape[-1] != 1 or not _holds_only(numbers, 0, 1):
        raise InvalidInputError(
            f"mask must be (H, W, 1) or (N, H, W, 1) with the values 0 and 1, got {_what(numbers)}; "
            "pass what binarize returns"
        )
    return inverse(numbers[..., 0].astype(np.uint8))


@register_binarizer("labels")
def _labels(array: Array, _threshold: float) -> Array:
    if array.dtype.kind not in "bui" or array.min() < 0:
        raise InvalidInputError(
            f"the binarizer 'labels' takes integers from 0, got {_what(array)}; "
            "use the binarizer 'probability' for floats in [0, 1], or labels.astype('int32') for whole numbers"
        )
    return array.astype(bool)


@register_binarizer("mask", inverse=lambda mask: mask)
def _mask(array: Array, _threshold: float) -> Array:
    if not _holds_only(array, 0, 1):
        raise InvalidInputError(
            f"the binarizer 'mask' takes the values 0 and 1, got {_what(array)}; "
            "use the binarizer 'mask255' for 0 and 255, 'labels' for integers, 'probability' for floats in [0, 1]"
        )
    return array.astype(bool)


@register_binarizer("mask255", inverse=lambda mask: mask * np.uint8(255))
def _mask255(array: Array, _threshold: float) -> Array:
    if not _holds_only(array, 0, 255):
        raise InvalidInputError(
            f"the binarizer 'mask255' takes the values 0 and 255, got {_what(array)}; use the binarizer 'mask' for "
            "0 and 1, or 'probability' on array / 255 for a mask with soft edges"
        )
    return array.astype(bool)


@register_binarizer("probability")
def _probability(array: Array, threshold: float) -> Array:
    if array.min() < 0 or array.max() > 1:
        raise InvalidInputError(
            f"the binarizer 'probability' takes values from 0 to 1, got {_what(array)}; "
            "divide an 8-bit mask by 255, pass scores through a sigmoid"
        )
    return array > threshold


def _holds_only(array: Array, low: int, high: int) -> bool:
    return bool(((array == low) | (array == high)).all())


def _what(array: Array) -> str:
    extent = f", values {float(array.min()):g} to {float(array.max()):g}" if array.size else ""
    return describe(array) + extent
