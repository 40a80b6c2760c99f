"""Checks of arguments shared by all floors. Each returns its argument, ready to use, or raises `InvalidInputError`."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg.errors import InvalidInputError

Array = npt.NDArray[Any]

MAX_CHANNELS = 4

_LONGEST = 80  # of what is shown of a value in an error


def describe(array: Array) -> str:
    """Shape and dtype of an array in words, for error messages.

    Examples
    --------
    >>> describe(np.zeros((2, 3), np.uint8))
    'shape (2, 3), dtype uint8'
    """
    return f"shape {array.shape}, dtype {array.dtype}"


def check_number_array(value: object, name: str) -> Array:
    """An array of real numbers (bool, integer or float), without NaN or infinity."""
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise InvalidInputError(
            f"{name} must hold real numbers, got {describe(array)}; convert it to an integer or float array"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidInputError(
            f"{name} must be finite, got NaN or infinity; replace them, e.g. with numpy.nan_to_num, or in Fiji with "
            "Process > Noise > Remove NaNs"
        )
    return array


def check_image(value: object, name: str = "image") -> Array:
    """An image: (H, W) or (H, W, C) with 1 to 4 channels, at least one pixel, finite real numbers."""
    array = check_number_array(value, name)
    if array.ndim < 2:  # such as a number of a nested list, whose rows are taken for images
        raise InvalidInputError(
            f"{name} must be (H, W) or (H, W, C) with at least one pixel, got {describe(array)}; "
            "make an array of nested lists by numpy.asarray(image), and pass one image at a time or a list of arrays"
        )
    if array.ndim > 3 or array.size == 0:
        raise InvalidInputError(
            f"{name} must be (H, W) or (H, W, C) with at least one pixel, got {describe(array)}; "
            "pass one image at a time, a sequence of images, or select one plane"
        )
    if array.ndim == 3 and array.shape[2] > MAX_CHANNELS:
        if array.shape[0] <= MAX_CHANNELS:
            raise InvalidInputError(
                f"{name} must have its channels last, got {describe(array)}, which looks like (C, H, W); "
                "use numpy.moveaxis(image, 0, -1), or list(image) if these are several images"
            )
        raise InvalidInputError(
            f"{name} must have 1 to {MAX_CHANNELS} channels (grey, grey + alpha, RGB, RGBA), got {describe(array)}; "
            "select the channels to use, e.g. image[..., :3]"
        )
    return array


def check_labels(value: object, name: str = "labels") -> Array:
    """A label image: (H, W), integer, no negative value; 0 is background."""
    array = np.asarray(value)
    if array.ndim != 2 or array.size == 0:
        remedy = "; use labels[..., 0]" if array.ndim == 3 and array.shape[2] == 1 else ""
        raise InvalidInputError(f"{name} must be (H, W) with at least one pixel, got {describe(array)}{remedy}")
    if array.dtype.kind not in "bui":
        raise InvalidInputError(
            f"{name} must be integers, 0 for background, got {describe(array)}; "
            "if the values are whole numbers use labels.astype('int32')"
        )
    if array.dtype.kind == "i" and array.min() < 0:
        raise InvalidInputError(f"{name} must not be negative, got a minimum of {array.min()}; set background to 0")
    return array


def check_same_size(first: Array, second: Array, names: tuple[str, str]) -> None:
    """Two arrays of the same height and width."""
    if first.shape[:2] != second.shape[:2]:
        raise InvalidInputError(
            f"{names[0]} and {names[1]} must have the same height and width, "
            f"got {first.shape[:2]} and {second.shape[:2]}; pass arrays of the same field of view"
        )


def check_range(value: float, name: str, low: float, high: float) -> float:
    """A number between two bounds, both included."""
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise InvalidInputError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")
    return float(value)


def check_count(value: int, name: str, low: int = 1) -> int:
    """A whole number of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
        raise InvalidInputError(f"{name} must be a whole number of at least {low}, got {value!r}")
    return int(value)


def check_flag(value: bool, name: str) -> bool:
    """True or false, and nothing that only passes for it: the text "false" would count as true."""
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be true or false, got {value!r}; write it without quotation marks")
    return value


def check_instance(value: object, kind: type, name: str, example: str) -> None:
    """An object of one of our classes, in whose place a mapping, a name or a number may be given by mistake.

    Examples
    --------
    >>> check_instance({"tta": True}, np.ndarray, "image", "numpy.asarray(image)")
    Traceback (most recent call last):
    nucleiseg.errors.InvalidInputError: image must be a ndarray, got {'tta': True}; use numpy.asarray(image)
    """
    if not isinstance(value, kind):
        is_plural, is_vowel = kind.__name__.endswith(("Options", "Settings")), kind.__name__[0] in "AEIO"
        article = "" if is_plural else "an " if is_vowel else "a "
        got = " ".join(repr(value).split())
        got = got if len(got) <= _LONGEST else type(value).__name__
        raise InvalidInputError(f"{name} must be {article}{kind.__name__}, got {got}; use {example}")


def as_list(values: Any) -> list[Any]:
    """Several values as a list; one text or path as a list of one, since it would be read letter by letter.

    Examples
    --------
    >>> as_list("geojson"), as_list(("geojson", "coco"))
    (['geojson'], ['geojson', 'coco'])
    """
    return [values] if isinstance(values, (str, os.PathLike)) else list(values)


def refuse_samples(value: object, name: str = "image") -> None:
    """Raise `InvalidInputError` for a sample or a whole dataset in place of an image, before all of it is read.

    Examples
    --------
    >>> refuse_samples(np.zeros((4, 4)))
    """
    if hasattr(value, "image") and hasattr(value, "labels"):
        raise InvalidInputError(f"{name} must be an image, got a {type(value).__name__} with labels; give its .image")
    if hasattr(value, "records") and hasattr(value, "ids"):
        raise InvalidInputError(
            f"{name} must be an image, got a {type(value).__name__}; look at it by segmenter.evaluate(data), or at "
            "[sample.image for sample in data]"
        )


def check_size(value: tuple[int, int], name: str) -> tuple[int, int]:
    """Height and width, whole numbers of at least 1."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InvalidInputError(f"{name} must be (height, width), got {value!r}; for example (256, 256)")
    return check_count(value[0], name), check_count(value[1], name)


def check_choice(value: str, name: str, choices: Iterable[str]) -> str:
    """One of several names; the error lists them and guesses what was meant.

    Examples
    --------
    >>> check_choice("dice", "loss", ["bce", "dice"])
    'dice'
    """
    known = sorted(choices)
    if value not in known:
        close = difflib.get_close_matches(str(value), known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InvalidInputError(f"unknown {name} {value!r}; {hint}choose one of {', '.join(known) or '(none)'}")
    return value


def check_pixel_size(value: float | None) -> float | None:
    """Height and width of a pixel in µm, above 0, or None if unknown."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 < float(value) < np.inf:
        raise InvalidInputError(f"pixel_size must be a number above 0, in µm, got {value!r}; for example 0.65")
    return float(value)


def hold_plain_numbers(settings: Any) -> None:
    """Have a frozen dataclass hold Python's numbers where it was given NumPy's, which no JSON can hold.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True)
    ... class Size:
    ...     height: int
    ...     widths: tuple[int, ...] = ()
    ...
    ...     def __post_init__(self) -> None:
    ...         hold_plain_numbers(self)
    >>> Size(np.int64(3), (np.int64(4), 5))
    Size(height=3, widths=(4, 5))
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, np.generic):
            object.__setattr__(settings, field.name, value.item())
        elif isinstance(value, tuple):
            plain = tuple(part.item() if isinstance(part, np.generic) else part for part in value)
            object.__setattr__(settings, field.name, plain)
