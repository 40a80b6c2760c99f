"""TIFF files through tifffile, with Pillow for the compressions that tifffile leaves to an extra package."""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from nucleiseg.errors import ImageFileError
from nucleiseg.images._pillow import check_bytes, check_pixels, pillow_to_array, unstretched
from nucleiseg.images._scenes import at_level, check_level, find_scene, level_scale
from nucleiseg.images._stacks import Stack
from nucleiseg.images._tiff_metadata import channel_names, has_no_alpha, has_stains, pixel_size
from nucleiseg.images.read_options import ReadOptions

__all__ = ["check_colours", "coloured", "find_series", "palette_of", "read_tiff"]

_PILLOW_BITS = 8
_PRINTED = {tifffile.PHOTOMETRIC.SEPARATED, tifffile.PHOTOMETRIC.CIELAB, tifffile.PHOTOMETRIC.ICCLAB}
# Others, such as JPEG, give red, green and blue of YCbCr by themselves.
_UNCHANGED = ("NONE", "LZW", "ADOBE_DEFLATE", "DEFLATE", "PACKBITS", "ZSTD", "LZMA")


def read_tiff(
    source: str | os.PathLike[str] | bytes,
    name: str,
    options: ReadOptions,
    *,
    palette_to_colour: bool = True,
) -> Stack:
    """One image of a TIFF file, of a path or in memory, with all of its axes and in the file's own type.

    Palettes become colours, save those of ImageJ, which only say how grey values are shown.
    """
    with tifffile.TiffFile(BytesIO(source) if isinstance(source, bytes) else source) as file:
        number = find_series(file, name, options)
        series = file.series[number]
        sizes = [(level.get_shape(False), level.get_axes(False)) for level in series.levels]
        sides = [(shape[axes.index("Y")], shape[axes.index("X")]) for shape, axes in sizes]
        check_level(name, options.level, sides)
        check_pixels(*sides[options.level], name, options.max_pixels, levels=len(sizes))
        scale = level_scale(name, options, sides)
        shape, axes = sizes[options.level]
        check_bytes(shape, series.dtype.itemsize, name)
        page = series.keyframe
        names = channel_names(file, number, axes, shape)
        size = at_level(pixel_size(file, number), scale)
        opaque, stained = has_no_alpha(page), has_stains(file)
        palette = palette_of(file, page) if palette_to_colour else None
        is_first = len(file.pages) == 1 and options.level == 0  # Pillow sees nothing else
        try:
            check_colours(name, page, convertible=is_first)
            if _has_other_colours(page):
                return Stack(_decode_with_pillow(source, name, page), "YXS", name, (), size)
            array = _as_array(series.levels[options.level], file).reshape(shape)
        except ValueError as error:
            # What tifffile lacks itself, or would have another package do.
            if not any(words in str(error) for words in ("imagecodecs", "not supported")):
                raise
            if not is_first:
                raise _needs_imagecodecs(name, page) from None
            array = _decode_with_pillow(source, name, page)
            if palette is not None and array.ndim == 2:
                array = coloured(array, palette)
            axes = "YX" if array.ndim == 2 else "YXS"
            names = names if array.ndim == 2 else ()
            return Stack(array, axes, name, names, size, opaque=opaque and palette is None, stained=stained)
    if palette is not None:
        if "S" in axes:
            array, axes = array.squeeze(axes.index("S")), axes.replace("S", "")
        array, axes = coloured(array, palette), axes + "S"
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Stack(array, axes, name, names, size, scale, opaque=opaque, stained=stained)


def check_colours(name: str, page: Any, convertible: bool = False) -> None:
    """Refuse colours other than red, green and blue, unless they are ones that Pillow may convert."""
    known = {tifffile.PHOTOMETRIC.SEPARATED, tifffile.PHOTOMETRIC.YCBCR}
    known_to_pillow = page.photometric in known and page.bitspersample == _PILLOW_BITS
    if _has_other_colours(page) and not (convertible and known_to_pillow):
        raise ImageFileError(
            f"{name}: colours must be red, green and blue or grey values, got {page.photometric.name} of "
            f"{page.bitspersample} bits; save the image as RGB"
        )


def _has_other_colours(page: Any) -> bool:
    if page.photometric == tifffile.PHOTOMETRIC.YCBCR:
        return page.compression.name in _UNCHANGED
    return page.photometric in _PRINTED


def _as_array(level: Any, file: tifffile.TiffFile) -> NDArray[Any]:
    # tifffile looks for what is in one piece in the file that was opened, where the pixels of OME may be in another.
    if level.dataoffset is None or level.keyframe.parent is file:
        return np.asarray(level.asarray())
    with tifffile.TiffFile(level.keyframe.parent.filehandle.path) as other:
        return np.stack([other.pages[page.index].asarray() for page in level.pages])


def palette_of(file: tifffile.TiffFile, page: tifffile.TiffPage) -> NDArray[Any] | None:
    """The colours, (3, n) uint16, that the indices of a page stand for; None where the pixels are what was measured."""
    return page.colormap if _has_colours(file, page) else None


def coloured(indices: NDArray[Any], palette: NDArray[Any]) -> NDArray[np.uint8]:
    """Red, green and blue along a new last axis."""
    # By the specification 65,535 is white, but some programs write 255.
    bits = 8 if palette.max() > np.iinfo(np.uint8).max else 0
    return np.moveaxis(palette[:, indices] >> bits, 0, -1).astype(np.uint8)


def _has_colours(file: tifffile.TiffFile, page: tifffile.TiffPage) -> bool:
    # The lookup table of ImageJ is the dye's colour on the screen; what was measured are the indices.
    return bool(page.photometric == tifffile.PHOTOMETRIC.PALETTE and not file.is_imagej)


def find_series(file: tifffile.TiffFile, name: str, options: ReadOptions) -> int:
    """The series to read: the slide itself where a scanner adds its label and a thumbnail, as LSM files have, too."""
    if not file.series:
        raise ImageFileError(f"{name}: must hold an image, got none; it was cut short or damaged, copy it once more")
    if options.scene is None and file.is_lsm:
        return 0
    names = [series.name for series in file.series]
    if options.scene is None and "Baseline" in names:
        return names.index("Baseline")
    shapes = [f"{label!r} {s.shape}" if (label := s.name) else f"{s.shape}" for s in file.series]
    return find_scene(name, options.scene, names, shapes)


def _decode_with_pillow(source: Any, name: str, page: Any) -> NDArray[Any]:
    """With the indices of a palette as they are."""
    if page.samplesperpixel > 1 and page.bitspersample != _PILLOW_BITS:  # Pillow would silently drop the lower bits
        raise _needs_imagecodecs(name, page)
    with TiffImagePlugin.TiffImageFile(BytesIO(source) if isinstance(source, bytes) else source) as picture:
        array = pillow_to_array(picture, palette_to_colour=False)
    # Pillow turns these about, tifffile does not.
    inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and page.bitspersample <= _PILLOW_BITS
    array = ~array if inverted else array
    is_grey = page.photometric in (tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.MINISBLACK)
    return unstretched(array, page.bitspersample) if is_grey else array


def _needs_imagecodecs(name: str, page: Any) -> ImageFileError:
    return ImageFileError(
        f"{name}: {page.compression.name} compression of {page.bitspersample}-bit pixels needs another package; "
        "run 'pip install \"nucleiseg[microscopy]\"' or 'pip install imagecodecs', or save without compression"
    )
