"""Cutting images that are too large for one piece into overlapping tiles, and padding images that are too small."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_count, check_image, check_instance, hold_plain_numbers
from nucleiseg.errors import InvalidInputError

__all__ = ["Tile", "Tiling", "pad_to_multiple", "tiles"]


@dataclass(frozen=True)
class Tiling:
    """How an image is cut into tiles.

    Parameters
    ----------
    tile : int
        Height and width of a tile in pixels.
    overlap : int, optional
        Least number of pixels that neighbouring tiles share; less than ``tile``. Half of it is the margin that gives
        every pixel context, so choose at least the diameter of a nucleus. By default a quarter of ``tile``.

    Raises
    ------
    InvalidInputError
        If a number is not whole or out of its bounds.

    Examples
    --------
    >>> Tiling(overlap=32), Tiling(48)
    (Tiling(tile=256, overlap=32), Tiling(tile=48, overlap=12))
    """

    tile: int = 256
    overlap: int = None  # type: ignore[assignment]  # which it never is: see below

    def __post_init__(self) -> None:
        hold_plain_numbers(self)
        if self.overlap is None:
            object.__setattr__(self, "overlap", check_count(self.tile, "tile") // 4)
        check_count(self.tile, "tile", low=1)
        check_count(self.overlap, "overlap", low=0)
        if self.overlap >= self.tile:
            raise InvalidInputError(
                f"overlap must be less than tile, got overlap {self.overlap} and tile {self.tile}; "
                f"use overlap={self.tile // 4}"
            )


@dataclass(frozen=True)
class Tile:
    """One piece of an image: what to read, and which part of the outcome to keep.

    Attributes
    ----------
    read : tuple of slice
        Rows and columns to cut from the image.
    keep : tuple of slice
        Rows and columns of the image that this tile decides. Those of all tiles cover every pixel once.
    inner : tuple of slice
        The same rows and columns as ``keep``, counted from the corner of ``read``.

    Examples
    --------
    >>> image, doubled = np.arange(10).reshape(1, 10), np.zeros((1, 10), int)
    >>> for tile in tiles(image.shape, Tiling(tile=6, overlap=2)):
    ...     doubled[tile.keep] = (2 * image[tile.read])[tile.inner]
    >>> doubled.tolist()
    [[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]]
    """

    read: tuple[slice, slice]
    keep: tuple[slice, slice]
    inner: tuple[slice, slice]


def tiles(shape: tuple[int, ...], tiling: Tiling | tuple[Tiling, Tiling], multiple: int = 1) -> list[Tile]:
    """Cut an image into tiles, in raster order.

    Neighbours share at least ``tiling.overlap`` pixels and the border between what they keep runs through the middle of
    what they share. Tiles are spread evenly; along an axis that is long enough all have the full size, except that the
    last one may lack up to ``multiple - 1`` pixels.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image; further axes are ignored.
    tiling : Tiling or pair of Tiling
        Size and overlap; of a pair, the first is for rows and the second for columns.
    multiple : int
        Tiles begin at multiples of this. A network that halves an image five times gives the same maps for an image
        and for a part of it only if the part begins at a multiple of 32.

    Returns
    -------
    list of Tile
        One tile if the image is not larger than a tile.

    Raises
    ------
    InvalidInputError
        If the shape has no height and width of at least 1, or tiles of that size and overlap can't begin at multiples
        of the number.

    Examples
    --------
    >>> for tile in tiles((1, 10), Tiling(tile=6, overlap=2)):
    ...     print(tile.read[1], tile.keep[1], tile.inner[1])
    slice(0, 6, None) slice(0, 5, None) slice(0, 5, None)
    slice(4, 10, None) slice(5, 10, None) slice(1, 6, None)
    """
    if len(shape) < 2:
        raise InvalidInputError(f"shape must be (height, width), got {shape}; pass image.shape")
    check_count(multiple, "multiple")
    both = tiling if isinstance(tiling, tuple) and len(tiling) == 2 else (tiling, tiling)
    for along in both:
        check_instance(along, Tiling, "tiling", "Tiling(tile=256)")
    rows, columns = (
        _cut(check_count(length, name), along, multiple)
        for length, name, along in zip(shape[:2], ("height", "width"), both, strict=True)
    )
    return [
        Tile(read=(read_rows, read_columns), keep=(keep_rows, keep_columns), inner=(inner_rows, inner_columns))
        for read_rows, keep_rows, inner_rows in rows
        for read_columns, keep_columns, inner_columns in columns
    ]


def pad_to_multiple(image: npt.ArrayLike, multiple: int) -> tuple[Array, tuple[slice, slice]]:
    """Enlarge an image by reflection at its lower and right border until its sides are multiples of a number.

    Parameters
    ----------
    image : array-like, (H, W) or (H, W, C)
        Any real dtype. May be smaller than the padding; it is then reflected repeatedly.
    multiple : int
        At least 1. The stride of the network that gets the image.

    Returns
    -------
    padded : numpy.ndarray
        The same dtype and channels; the image itself where nothing is missing.
    crop : tuple of slice
        ``padded[crop]`` is the image.

    Raises
    ------
    InvalidInputError
        If the image is not one or the number is not whole and positive.

    Examples
    --------
    >>> padded, crop = pad_to_multiple([[1, 2, 3]], 4)
    >>> padded[0].tolist(), padded[crop].tolist()
    ([1, 2, 3, 3], [[1, 2, 3]])
    """
    pixels = check_image(image)
    multiple = check_count(multiple, "multiple")
    height, width = pixels.shape[:2]
    extra = [(0, -height % multiple), (0, -width % multiple)] + [(0, 0)] * (pixels.ndim - 2)
    if not any(map(sum, extra)):
        return pixels, (slice(0, height), slice(0, width))
    # "symmetric" repeats the border pixel, hence works for sides of one pixel, where "reflect" has nothing to show.
    return np.pad(pixels, extra, mode="symmetric"), (slice(0, height), slice(0, width))


def _cut(length: int, tiling: Tiling, multiple: int) -> list[tuple[slice, slice, slice]]:
    """Read, keep and inner slices along one axis."""
    size = min(tiling.tile, length)
    stride = (tiling.tile - tiling.overlap) // multiple
    if size < length and not stride:
        raise InvalidInputError(
            f"tiles must begin at multiples of {multiple} pixels, got tile {tiling.tile} and overlap {tiling.overlap}; "
            f"use a tile of at least {tiling.overlap + multiple} or a smaller overlap"
        )
    # Counted in multiples from here.
    last = -(-(length - size) // multiple)
    steps = -(-last // max(stride, 1))
    starts = [0] + [multiple * -(-step * last // steps) for step in range(1, steps + 1)]
    reads = [slice(start, min(start + size, length)) for start in starts]
    middles = [(left.stop + right.start) // 2 for left, right in pairwise(reads)]
    return [
        (read, slice(low, high), slice(low - read.start, high - read.start))
        for read, low, high in zip(reads, [0, *middles], [*middles, length], strict=True)
    ]
