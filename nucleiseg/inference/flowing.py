"""Windows that are cut from the maps of neighbouring tiles: no pixel goes through the network for their sake alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg.images import Tile, Tiling, tiles
from nucleiseg.inference.maps import Maps, Network
from nucleiseg.instances.decoders import Decoded

__all__ = ["Flow", "decoded_flow", "make_flow"]


@dataclass(frozen=True)
class Flow:
    """Tiles of the network, and the windows that are decoded as soon as a tile is there.

    Parameters
    ----------
    tiles : list of Tile
        In raster order; each gives the maps of its ``keep``.
    windows : list of list of Tile
        For each tile those that end within what it keeps. They begin there, or in what earlier tiles keep, by no more
        than ``strip``.
    strip : int
        Pixels at the lower and right side of what tiles keep that are kept for the windows of the next ones.
    """

    tiles: list[Tile]
    windows: list[list[Tile]]
    strip: int

    @property
    def every(self) -> list[Tile]:
        """All windows, in the order in which they are decoded."""
        return [window for some in self.windows for window in some]


def make_flow(
    shape: tuple[int, int], network: Tiling | tuple[Tiling, Tiling], windows: Tiling, multiple: int = 1
) -> Flow:
    """Tiles and windows of an image.

    Parameters
    ----------
    shape : tuple of int
        Height and width.
    network : Tiling or pair of Tiling
        Of the network; a pair is for rows and for columns.
    windows : Tiling
        The largest windows, and how much neighbours share.
    multiple : int
        Tiles begin at multiples of this.

    Examples
    --------
    >>> flow = make_flow((1, 20), Tiling(12, 4), Tiling(8, 2))
    >>> [tile.keep[1] for tile in flow.tiles]
    [slice(0, 10, None), slice(10, 20, None)]
    >>> [[window.read[1] for window in some] for some in flow.windows]
    [[slice(0, 6, None), slice(4, 10, None)], [slice(8, 15, None), slice(13, 20, None)]]
    """
    every = tiles(shape, network, multiple)
    row_groups, column_groups = (_windows_along([tile.keep[axis] for tile in every], windows) for axis in (0, 1))
    cut = [
        [
            Tile((rows, columns), (keep_rows, keep_columns), (_inside(keep_rows, rows), _inside(keep_columns, columns)))
            for rows, keep_rows in row_groups[tile.keep[0].start]
            for columns, keep_columns in column_groups[tile.keep[1].start]
        ]
        for tile in every
    ]
    return Flow(every, cut, windows.overlap)


def decoded_flow(
    image: npt.NDArray[Any], flow: Flow, network: Network, decode: Callable[[Maps], Decoded]
) -> Iterator[tuple[Tile, Decoded]]:
    """What is found in each window; those of a tile are decoded while the next tile is in the network.

    Parameters
    ----------
    image : numpy.ndarray, (H, W) or (H, W, C)
        Raw pixels.
    flow : Flow
        How it is cut up.
    network : Network
        From pixels to maps; what it is given goes through whole.
    decode : function
        From maps to nuclei.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: list[tuple[Tile, Future[Decoded]]] = []
        for windows, part in zip(flow.windows, _parts(image, flow, network), strict=True):
            coming = [(window, pool.submit(decode, part.of(window))) for window in windows]
            del part
            while waiting:
                window, found = waiting.pop(0)
                yield window, found.result()
            waiting = coming
        while waiting:
            window, found = waiting.pop(0)
            yield window, found.result()


@dataclass(frozen=True)
class _Part:
    """Maps of a part of an image, from a corner on."""

    maps: Maps
    top: int
    left: int

    def of(self, window: Tile) -> Maps:
        rows, columns = window.read
        return self.maps[
            rows.start - self.top : rows.stop - self.top, columns.start - self.left : columns.stop - self.left
        ]


def _parts(image: npt.NDArray[Any], flow: Flow, network: Network) -> Iterator[_Part]:
    """What each tile keeps, with the strips above and to the left that earlier tiles kept."""
    width = image.shape[1]
    above = below = np.empty((0, width, 0), np.float32)
    left = above
    for tile in flow.tiles:
        rows, columns = tile.keep
        maps = network(image[tile.read])[tile.inner]
        if columns.start == 0:
            above, below = below, np.empty((min(flow.strip, rows.stop), width, maps.shape[-1]), np.float32)
        top, start = (max(0, part.start - flow.strip) for part in (rows, columns))
        joined = np.empty((rows.stop - top, columns.stop - start, maps.shape[-1]), np.float32)
        joined[rows.start - top :, columns.start - start :] = maps
        if columns.start:
            joined[rows.start - top :, : columns.start - start] = left
        if rows.start:
            joined[: rows.start - top] = above[:, start : columns.stop]
        # Of all that is joined: a tile may keep less than the strip that the next one needs.
        below[:, columns] = joined[-flow.strip :, columns.start - start :]
        left = joined[rows.start - top :, -flow.strip :].copy()
        del maps
        yield _Part(joined, top, start)


def _windows_along(keeps: Sequence[slice], windows: Tiling) -> dict[int, list[tuple[slice, slice]]]:
    """By the start of what a tile keeps along an axis: what windows there read, and what they keep."""
    parts = sorted({(keep.start, keep.stop) for keep in keeps})
    reads = []
    for start, stop in parts:
        first = max(0, start - windows.overlap)
        shares = tiles((1, stop - first), (Tiling(1, 0), _even(windows, stop - first)))
        reads += [(start, slice(first + tile.read[1].start, first + tile.read[1].stop)) for tile in shares]
    middles = [(left.stop + right.start) // 2 for (_, left), (_, right) in pairwise(reads)]
    found: dict[int, list[tuple[slice, slice]]] = {}
    for (start, read), low, high in zip(reads, [0, *middles], [*middles, parts[-1][1]], strict=True):
        found.setdefault(start, []).append((read, slice(low, high)))
    return found


def _even(windows: Tiling, length: int) -> Tiling:
    """Windows no larger than they need be to be as few."""
    count = max(1, -(-(length - windows.overlap) // (windows.tile - windows.overlap)))
    return Tiling(max(-(-(length + (count - 1) * windows.overlap) // count), windows.overlap + 1), windows.overlap)


def _inside(part: slice, of: slice) -> slice:
    return slice(part.start - of.start, part.stop - of.start)
