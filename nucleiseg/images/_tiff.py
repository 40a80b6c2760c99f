"""TIFF files through tifffile, with Pillow for the compressions that tifffile leaves to an extra package."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from nucleiseg._checks import MAX_CHANNELS
from nucleiseg.errors import ImageFileError
from nucleiseg.images._pillow import check_pixels, pillow_to_array

__all__ = ["decode_tiff"]


def decode_tiff(data: bytes, name: str, max_pixels: int, *, palette_to_colour: bool) -> NDArray[Any]:
    """Decode one 2-D image, (H, W) or (H, W, C), in the file's own type."""
    with tifffile.TiffFile(BytesIO(data)) as file:
        if len(file.series) != 1:
            raise ImageFileError(
                f"{name}: must hold one image, got {len(file.series)} of unlike shapes; save the one to use by itself"
            )
        series, page = file.series[0], file.pages.first
        axes, shape = _planes(series.axes, series.shape, name)
        check_pixels(shape[axes.index("Y")], shape[axes.index("X")], name, max_pixels)
        palette = page.colormap if page.photometric == tifffile.PHOTOMETRIC.PALETTE else None
        try:
            array = series.asarray().reshape(shape)
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return _decode_with_pillow(data, name, page, palette_to_colour=palette_to_colour)
    if palette is not None and palette_to_colour:
        return np.moveaxis(palette[:, array] >> 8, 0, -1).astype(np.uint8)
    array = np.moveaxis(array, [axes.index("Y"), axes.index("X")], [0, 1])
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))


def _planes(axes: str, shape: tuple[int, ...], name: str) -> tuple[str, tuple[int, ...]]:
    """Rows, columns and at most one axis of channels; other axes must have length 1."""
    kept = [(axis, length) for axis, length in zip(axes, shape, strict=True) if axis in "YX" or length > 1]
    others = [(axis, length) for axis, length in kept if axis not in "YX"]
    if len(others) > 1 or any(axis not in "SC" or length > MAX_CHANNELS for axis, length in others):
        raise ImageFileError(
            f"{name}: must hold one image (H, W) with up to {MAX_CHANNELS} channels, got a stack of shape {shape} "
            f"(axes {axes}); save the planes to use as single images"
        )
    return "".join(axis for axis, _ in kept), tuple(length for _, length in kept)


def _decode_with_pillow(data: bytes, name: str, page: Any, *, palette_to_colour: bool) -> NDArray[Any]:
    bits = page.bitspersample
    if page.samplesperpixel > 1 and bits != 8:  # Pillow would silently drop the lower bits
        raise ImageFileError(
            f"{name}: {page.compression.name} compression of {bits}-bit colours needs another package; "
            "run 'pip install imagecodecs', or save the TIFF without compression"
        )
    return pillow_to_array(TiffImagePlugin.TiffImageFile(BytesIO(data)), palette_to_colour=palette_to_colour)
