"""Writing 8-bit PNG: what is quick to write, which Pillow is not, since it tries five filters on every row."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = ["SIGNATURE", "chunk", "write_bands"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_GREY, _RGB = 0, 2  # colour types
_UP = 2  # the filter that keeps the difference to the pixel above
_AT_ONCE = 1 << 20  # bytes of an image


def chunk(kind: bytes, body: bytes) -> bytes:
    """One of the parts that a PNG consists of.

    Examples
    --------
    >>> chunk(b"IEND", b"").hex()
    '0000000049454e44ae426082'
    """
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_bands(file: BinaryIO, shape: tuple[int, ...], bands: Iterable[npt.NDArray[np.uint8]], software: str) -> None:
    """Write a picture that is never there as a whole; the file is the same however it is cut.

    Every row is kept as its difference to the one above, in which runs of equal bytes alone are looked for: in half of
    the time that Pillow needs for files of the same size.

    Parameters
    ----------
    file : file
        Open for writing bytes.
    shape : (H, W) or (H, W, 3)
        Of the picture, grey, or red, green and blue; at least one pixel.
    bands : iterable of numpy.ndarray of uint8
        Its rows from the first to the last, some at a time.
    software : str
        What the file says it was written by, before its pixels.

    Examples
    --------
    >>> from io import BytesIO
    >>> from PIL import Image
    >>> pixels = np.array([[7, 8], [9, 1], [2, 3]], np.uint8)
    >>> write_bands(file := BytesIO(), (3, 2), [pixels[:1], pixels[1:]], "nucleiseg")
    >>> np.asarray(Image.open(file)).tolist(), Image.open(file).info
    ([[7, 8], [9, 1], [2, 3]], {'Software': 'nucleiseg'})
    """
    height, width = shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, _GREY if len(shape) == 2 else _RGB, 0, 0, 0)
    file.write(SIGNATURE + chunk(b"IHDR", header) + chunk(b"tEXt", b"Software\0" + software.encode("latin-1")))
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    length = width * (1 if len(shape) == 2 else 3)
    above = np.zeros(length, np.uint8)
    for rows in _in_steps((band.reshape(-1, length) for band in bands), max(1, _AT_ONCE // length)):
        packed = packer.compress(_filtered(rows, above))
        file.write(chunk(b"IDAT", packed) if packed else b"")
        above = rows[-1]
    file.write(chunk(b"IDAT", packer.flush()) + chunk(b"IEND", b""))


def _in_steps(bands: Iterable[npt.NDArray[np.uint8]], step: int) -> Iterator[npt.NDArray[np.uint8]]:
    """The same rows, so many at a time, but for the last ones."""
    left: npt.NDArray[np.uint8] | None = None
    for band in bands:
        rows = band if left is None else np.concatenate([left, band])
        whole = len(rows) // step * step
        for top in range(0, whole, step):
            yield rows[top : top + step]
        left = rows[whole:] if whole < len(rows) else None
    if left is not None:
        yield left


def _filtered(rows: npt.NDArray[np.uint8], above: npt.NDArray[np.uint8]) -> memoryview:
    """Rows, each behind the number of its filter, and the row above them."""
    result = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    result[:, 0] = _UP
    np.subtract(rows[0], above, out=result[0, 1:])  # modulo 256, as PNG has it
    np.subtract(rows[1:], rows[:-1], out=result[1:, 1:])
    return result.data
