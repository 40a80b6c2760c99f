"""Images that are read window by window: Zarr, OME-Zarr, tiled TIFF, Dask arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nucleiseg._checks import Array
from nucleiseg._files import check_reachable
from nucleiseg.errors import ImageFileError, InvalidInputError, NucleisegError
from nucleiseg.images._lazy_tiff import open_lazy_tiff
from nucleiseg.images._narrowing import Part, meant_axes, narrow
from nucleiseg.images._pillow import check_bytes
from nucleiseg.images._scenes import at_level
from nucleiseg.images._stacks import Stack
from nucleiseg.images._zarr import named_axes, open_zarr
from nucleiseg.images.decoding import undecodable
from nucleiseg.images.micrograph import Micrograph, flatten
from nucleiseg.images.read_options import ReadOptions

__all__ = ["LazyImage", "open_lazy"]

_MOST_COLOURS = 4


@dataclass(frozen=True)
class LazyImage:
    """An image of which only the windows that are asked for are read.

    Parameters
    ----------
    pixels : array-like
        Anything with ``shape``, ``dtype`` and slicing: a Zarr or Dask array. One axis for each letter of ``axes``.
    axes : str
        As in `ReadOptions`, whose own have been taken into account; ``?`` for an axis that they leave out.
    name : str
        For messages.
    options : ReadOptions
        Which channel and planes are looked at.
    channels : tuple of str
        Names along C; empty if unknown.
    stored_pixel_size : float or None
        In µm, as the file says it of these pixels.
    scale : float or None
        How many pixels of the full size, of which options tell the size, are one along a side; None where rows and
        columns are not shrunk alike.
    from_file : bool
        Whether errors are about a file.
    opaque : bool
        None of the samples is alpha, however many they are.
    stained : bool
        The channels are stains, not red, green and blue, unless their names say so.

    Examples
    --------
    >>> image = open_lazy(np.arange(12).reshape(3, 4))
    >>> image.shape, image[1:2, 1:3].tolist()
    ((3, 4), [[5, 6]])
    """

    pixels: Any = field(repr=False)
    axes: str
    name: str
    options: ReadOptions = field(default_factory=ReadOptions)
    channels: tuple[str, ...] = ()
    stored_pixel_size: float | None = None
    scale: float | None = 1.0
    from_file: bool = True
    opaque: bool = False
    stained: bool = False

    def __post_init__(self) -> None:
        shape = tuple(self.pixels.shape)
        if len(self.axes) != len(shape) or not {"Y", "X"} <= set(self.axes):
            wrong = ImageFileError if self.from_file else InvalidInputError
            raise wrong(
                f"{self.name}: must have rows, columns and a letter for each axis, got shape {shape} "
                f"(axes {self.axes}); say what its axes are, e.g. --axes CYX --channel 0 (axes='CYX' with "
                "channel=0 in Python)"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        shape = self.pixels.shape
        return int(shape[self.axes.index("Y")]), int(shape[self.axes.index("X")])

    @property
    def pixel_size(self) -> float | None:
        """Height and width of a pixel in µm, where it is known."""
        size = self.options.pixel_size
        return self.stored_pixel_size if size is None else at_level(float(size), self.scale)

    def read(self, rows: slice, columns: slice) -> Micrograph:
        """A window with all of its channels."""
        return self._read(rows, columns, self.part())

    def part(self, shown_only: bool = False) -> Part:
        """What of the pixels is read, for all channels or only for those that show the nuclei."""
        return narrow(self.axes, self.pixels.shape, self.channels, self.options, shown_only)

    def _read(self, rows: slice, columns: slice, part: Part) -> Micrograph:
        sides = {"Y": rows, "X": columns}
        window = tuple(sides.get(axis, positions) for axis, positions in zip(self.axes, part.where, strict=True))
        stack = Stack(
            self._pixels_of(window),
            part.axes,
            self.name,
            part.channels,
            self.stored_pixel_size,
            self.scale,
            self.from_file,
            self.shape,
            self.opaque,
            self.stained,
        )
        # A window of one row is not an image of one axis less.
        return flatten(stack, part.options)

    def _pixels_of(self, window: tuple[slice, ...]) -> Array:
        if not self.from_file:
            return np.asarray(self.pixels[window])
        lengths = [len(range(n)[part]) for n, part in zip(self.pixels.shape, window, strict=True)]
        check_bytes(lengths, np.dtype(self.pixels.dtype).itemsize, self.name)
        try:
            return np.asarray(self.pixels[window])
        except (MemoryError, NucleisegError):
            raise
        except Exception as error:  # decoders raise nearly anything on damaged files
            raise undecodable(self.name, error) from error

    def __getitem__(self, window: tuple[slice, slice]) -> Array:
        """The part of a window that shows the nuclei: (h, w) or (h, w, C). Of other channels nothing is read."""
        return self._read(*window, self.part(shown_only=True)).shown


def open_lazy(source: Any, options: ReadOptions | None = None) -> LazyImage:
    """Open an image without reading its pixels.

    Parameters
    ----------
    source : path or array
        A Zarr array (version 2 or 3), an OME-Zarr image (of which ``options.level`` is taken), a TIFF file (tiled or
        not, OME, BigTIFF, pyramids), or an array with ``shape``, ``dtype`` and slicing, such as Dask's.
    options : ReadOptions, optional
        Channel, planes, level, pixel size.

    Returns
    -------
    LazyImage
        Its windows are read when they are asked for.

    Raises
    ------
    ImageFileError
        If the file is missing or no such image, or it is left open which part of it to look at.
    InvalidInputError
        The same about an array.
    MissingPackageError
        If zarr is not installed: ``pip install "nucleiseg[zarr]"``.

    Examples
    --------
    >>> image = open_lazy(np.zeros((2, 30, 40), np.uint8), ReadOptions(channel=1, pixel_size=0.5))
    >>> image.shape, image.axes, image.pixel_size
    ((30, 40), 'CYX', 0.5)
    """
    options = options or ReadOptions()
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        check_reachable(path, ImageFileError)
        if not path.exists():
            raise ImageFileError(f"{path}: no such file; check the path")
        image = _open_file(path, options)
    else:
        shape = tuple(getattr(source, "shape", ()))
        if len(shape) < 2:
            raise InvalidInputError(f"image must be (H, W) or (H, W, C), got shape {shape}; pass one image")
        if any(length != length for length in shape):  # NaN
            raise InvalidInputError(
                f"image must have a known height and width, got shape {shape}; call its compute_chunk_sizes() first"
            )
        image = LazyImage(source, _axes_of(source, options), "image", options, from_file=False)
    image[0:1, 0:1]  # says at once if it is left open what to look at
    return image


def _open_file(path: Path, options: ReadOptions) -> LazyImage:
    found = open_lazy_tiff(path, options) if path.is_file() else open_zarr(path, options)
    axes = found.axes or _axes_of(found.pixels, options)
    known = found.channels, found.stored_pixel_size, found.scale
    return LazyImage(found.pixels, axes, str(path), options, *known, opaque=found.opaque, stained=found.stained)


def _axes_of(array: Any, options: ReadOptions) -> str:
    """Of an array, which may name its axes."""
    shape = tuple(array.shape)
    if named := named_axes(array):
        return meant_axes(named, shape, options) or named
    if options.axes is None:
        return _guess_axes(shape)
    return meant_axes("?" * len(shape), shape, options) or options.axes


def _guess_axes(shape: Sequence[int]) -> str:
    """Of an array about which nothing is known: colours are last, channels before rows and columns."""
    if len(shape) == 3 and shape[-1] <= _MOST_COLOURS:
        return "YXS"
    return "?" * (len(shape) - 2 - (len(shape) > 2)) + ("C" if len(shape) > 2 else "") + "YX"
