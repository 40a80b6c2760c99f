"""TIFF files that are read window by window, through tifffile and zarr."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nucleiseg._checks import Array
from nucleiseg._optional import import_extra
from nucleiseg.errors import ImageFileError
from nucleiseg.images._narrowing import meant_axes
from nucleiseg.images._scenes import at_level, check_level, level_scale
from nucleiseg.images._stored import StoredPixels
from nucleiseg.images.read_options import ReadOptions

__all__ = ["open_lazy_tiff"]


@dataclass(frozen=True)
class _Pixels:
    """One level of a file, which is opened for every window: held open, it could not be sent to other processes."""

    path: str
    series: int
    level: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, window: tuple[slice, ...]) -> Array:
        import tifffile

        zarr = import_extra("zarr", "zarr", "reading large TIFF files part by part")
        with tifffile.TiffFile(self.path) as file:
            series = file.series[self.series]
            level = series.levels[self.level]
            # Nothing is compressed, and what is left out need not be read. Scenes of OME may be in other files.
            if level.dataoffset is not None and level.keyframe.parent is file:
                stored = np.memmap(
                    self.path, self.dtype.newbyteorder(file.byteorder), "r", level.dataoffset, self.shape
                )
                return np.array(stored[window], self.dtype.newbyteorder("="))
            # The full size is the series itself, which without a number is a group of all levels.
            with series.aszarr(level=self.level, squeeze=False) as store:
                return np.asarray(zarr.open_array(store, mode="r")[window])


@dataclass(frozen=True)
class _Coloured:
    """The colours that a palette has for stored indices: with a last axis of red, green and blue."""

    indices: _Pixels
    axes: str  # of the indices, among which may be one of a single sample
    palette: Array = field(repr=False)

    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        return _with_colours(self.indices.shape, self.axes)

    def __getitem__(self, window: tuple[slice, ...]) -> Array:
        from nucleiseg.images._tiff import coloured

        *within, colours = window
        sample = self.axes.find("S")
        if sample >= 0:
            within.insert(sample, slice(None))
        indices = self.indices[tuple(within)]
        return coloured(indices if sample < 0 else indices.squeeze(sample), self.palette)[..., colours]


def _with_colours(shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    return (*(length for length, axis in zip(shape, axes, strict=True) if axis != "S"), 3)


def open_lazy_tiff(path: Path, options: ReadOptions) -> StoredPixels:
    """Open a TIFF file (tiled or not, OME, BigTIFF, pyramids) without reading its pixels.

    Raises
    ------
    ImageFileError
        If it is damaged, or has no such level or scene.
    MissingPackageError
        If zarr is not installed.
    """
    import tifffile

    from nucleiseg.images._tiff import check_colours, find_series, palette_of
    from nucleiseg.images._tiff_metadata import channel_names, has_no_alpha, has_stains, pixel_size

    import_extra("zarr", "zarr", "reading large TIFF files part by part")
    try:
        with tifffile.TiffFile(path) as file:
            number = find_series(file, str(path), options)
            series = file.series[number]
            sizes = [level.get_shape(False) for level in series.levels]
            stored = series.get_axes(False)
            palette = palette_of(file, series.keyframe)
            y, x = stored.index("Y"), stored.index("X")
            sides = [(size[y], size[x]) for size in sizes]
            check_level(str(path), options.level, sides)
            scale = level_scale(str(path), options, sides)
            check_colours(str(path), series.keyframe)
            shape = tuple(sizes[options.level])
            # Wherever the process that reads it was started.
            pixels: Any = _Pixels(str(path.absolute()), number, options.level, shape, np.dtype(series.dtype))
            if palette is not None:
                pixels = _Coloured(pixels, stored, palette)
                sizes = [_with_colours(size, stored) for size in sizes]
                stored = stored.replace("S", "") + "S"
            axes = meant_axes(stored, sizes[0], options) or stored
            return StoredPixels(
                pixels,
                axes,
                channel_names(file, number, stored, sizes[0]),
                at_level(pixel_size(file, number), scale),
                scale,
                has_no_alpha(series.keyframe),
                has_stains(file),
            )
    except ImageFileError:
        raise
    except Exception as error:  # tifffile raises nearly anything on damaged files
        reason = " ".join(str(error).split())
        raise ImageFileError(f"{path}: cannot be read part by part ({reason}); pass a TIFF file or a Zarr") from error
