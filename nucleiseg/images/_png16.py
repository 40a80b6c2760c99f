"""16-bit colour PNG, which Pillow would silently reduce to 8 bits."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import PngImagePlugin

from nucleiseg._png import SIGNATURE, chunk

__all__ = ["decode_png16", "is_png16_colour"]

_CHANNELS = {2: 3, 4: 2, 6: 4}  # PNG colour type (RGB, grey + alpha, RGBA) to number of channels


def is_png16_colour(data: bytes) -> bool:
    """Whether the bytes are a PNG of 16 bits with more than one channel."""
    return data[:8] == SIGNATURE and len(data) > 25 and data[24] == 16 and data[25] in _CHANNELS


def decode_png16(data: bytes) -> NDArray[Any]:
    """Decode a 16-bit colour PNG to (H, W, C) uint16.

    PNG filters work on each byte of a pixel by itself, so the filtered rows are taken apart into the high and the low
    bytes. Each half is a valid 8-bit PNG, which Pillow decodes fast.
    """
    width, height, _, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if interlaced:
        raise ValueError("interlaced 16-bit colour PNG is not supported; save it without interlacing, or as TIFF")
    channels = _CHANNELS[colour_type]
    row_bytes = 1 + 2 * channels * width
    raw = zlib.decompressobj().decompress(_image_data(data), height * row_bytes)
    if len(raw) < height * row_bytes:
        raise ValueError("the file is cut short")
    rows = np.frombuffer(raw, np.uint8).reshape(height, row_bytes)
    filters, pixels = rows[:, :1], rows[:, 1:].reshape(height, width * channels, 2)
    high, low = (
        _decode_8_bit(np.hstack([filters, pixels[..., half]]), width, colour_type).astype(np.uint16) for half in (0, 1)
    )
    return high << 8 | low


def _image_data(data: bytes) -> bytes:
    parts, position = [], len(SIGNATURE)
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if kind == b"IDAT":
            parts.append(data[position + 8 : position + 8 + length])
        position += 12 + length
    return b"".join(parts)


def _decode_8_bit(filtered: NDArray[np.uint8], width: int, colour_type: int) -> NDArray[np.uint8]:
    header = struct.pack(">IIBBBBB", width, len(filtered), 8, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(filtered.tobytes(), 1)), chunk(b"IEND", b"")]
    return np.asarray(PngImagePlugin.PngImageFile(BytesIO(SIGNATURE + b"".join(parts))))
