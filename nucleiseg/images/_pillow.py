"""What all decoders share: the size check, and Pillow's pictures as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nucleiseg._memory import memory_limit
from nucleiseg.errors import ImageFileError

__all__ = ["check_bytes", "check_pixels", "pillow_to_array", "unstretched"]

_NATIVE_MODES = ("1", "L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I", "F")


def check_pixels(height: int, width: int, name: str, max_pixels: int, levels: int = 1) -> None:
    """Refuse an image that would not fit, before its pixels are decoded."""
    if height * width > max_pixels:
        smaller = f", choose another of its levels, 0 to {levels - 1}" if levels > 1 else ""
        raise ImageFileError(
            f"{name}: {height} x {width} is more than {max_pixels} pixels; crop it{smaller}, "
            "or allow more with --max-pixels (max_pixels in Python)"
        )


def check_bytes(shape: Sequence[int], itemsize: int, name: str) -> None:
    """Refuse an array of all axes that memory could not hold, before its pixels are decoded."""
    if math.prod(shape) * itemsize > memory_limit():
        raise ImageFileError(
            f"{name}: an array of {' x '.join(map(str, shape))} takes more than the {memory_limit() // 2**20:,} MiB "
            "that may be used here; save the planes or the part that you need as a file of its own"
        )


def pillow_to_array(picture: Image.Image, *, palette_to_colour: bool) -> NDArray[Any]:
    """The pixels in the file's own type: (H, W), or (H, W, C)."""
    if picture.mode == "P" and palette_to_colour:
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    elif picture.mode != "P" and picture.mode not in _NATIVE_MODES:
        picture = picture.convert("RGB")  # CMYK, YCbCr, LAB
    array = np.asarray(picture)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def unstretched(array: NDArray[Any], bits: int) -> NDArray[Any]:
    """Grey values of 2 or 4 bits as they are stored: Pillow makes them 0 to 255.

    Examples
    --------
    >>> unstretched(np.array([0, 17, 255], np.uint8), 4).tolist()
    [0, 1, 15]
    """
    step = 255 // (2**bits - 1)
    return array // np.uint8(step) if bits in (2, 4) else array
