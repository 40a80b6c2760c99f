"""Windows of an image, at any scale: through the network with some of what is around them, and decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg.images import Tile
from nucleiseg.inference.maps import Maps, Network
from nucleiseg.inference.resizing import resize_labels, resize_maps
from nucleiseg.instances.decoders import Decoded

__all__ = ["decode_window", "decoded_windows", "look", "with_context"]

Slices = tuple[slice, slice]


def with_context(
    window: tuple[slice, slice], context: int, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What to read so that a window has pixels around it, and where in the outcome the window is.

    Examples
    --------
    >>> with_context((slice(0, 1), slice(4, 6)), 3, (1, 12))
    ((slice(0, 1, None), slice(1, 9, None)), (slice(0, 1, None), slice(3, 5, None)))
    """
    top, left = (
        slice(max(part.start - context, 0), min(part.stop + context, length))
        for part, length in zip(window, shape, strict=True)
    )
    rows, columns = (
        slice(part.start - read.start, part.stop - read.start) for part, read in zip(window, (top, left), strict=True)
    )
    return (top, left), (rows, columns)


def look(pixels: npt.NDArray[Any], inside: Slices, network: Network, factor: float = 1.0) -> Maps:
    """Maps of the part ``inside`` of some pixels, on the finer of the grids of image and network.

    Outlines are smoother there, and small nuclei come apart.

    Parameters
    ----------
    pixels : numpy.ndarray, (H, W) or (H, W, C)
        Raw, with what is around the part.
    inside : tuple of slice
        Rows and columns of the part.
    network : Network
        From pixels to maps.
    factor : float
        By how much it sees them magnified.

    Returns
    -------
    numpy.ndarray of float32, (h, w, C)
        Of the part's size; larger by ``factor`` where that is above 1.
    """
    if factor == 1:
        return network(pixels)[inside]
    size = (pixels.shape[0], pixels.shape[1])
    seen = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
    maps = network(resize_maps(pixels, seen))
    scales = [small / large for small, large in zip(seen, size, strict=True)]
    if factor > 1:
        rows, columns = (
            slice(round(part.start * scale), max(round(part.stop * scale), round(part.start * scale) + 1))
            for part, scale in zip(inside, scales, strict=True)
        )
        return maps[rows, columns]
    for axis, (part, scale) in enumerate(zip(inside, scales, strict=True)):
        maps = _interpolate(maps, axis, (np.arange(part.start, part.stop) + 0.5) * scale - 0.5)
    return maps


def _interpolate(maps: Maps, axis: int, places: npt.NDArray[np.float64]) -> Maps:
    """Between the nearest two along an axis."""
    last = maps.shape[axis] - 1
    places = np.clip(places, 0, last)
    low = places.astype(np.intp)
    share = (places - low).astype(np.float32).reshape((-1,) + (1,) * (maps.ndim - axis - 1))
    below, above = (np.take(maps, which, axis) for which in (low, np.minimum(low + 1, last)))
    above -= below
    above *= share
    above += below
    return above


def decode_window(maps: Maps, decode: Callable[[Maps], Decoded], size: tuple[int, int]) -> Decoded:
    """The nuclei in maps from `look`, on a grid of the part's size."""
    found = decode(maps)
    if found.labels.shape == size:
        return found
    return Decoded(np.clip(resize_maps(found.probability, size), 0, 1), resize_labels(found.labels, size))


def decoded_windows(
    image: Any,
    windows: Sequence[Tile],
    network: Network,
    decode: Callable[[Maps], Decoded],
    context: int,
    factor: float = 1.0,
) -> Iterator[Decoded]:
    """What is found in each window; one is decoded while the next one is in the network.

    Parameters
    ----------
    image : array-like, (H, W) or (H, W, C)
        Anything with a ``shape`` that gives an array for ``image[rows, columns]``.
    windows : sequence of Tile
        Whose ``read`` is decoded.
    network : Network
        From pixels to maps.
    decode : function
        From maps to nuclei.
    context : int
        Pixels around a window that the network sees, too.
    factor : float
        By how much the network sees it magnified.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[Decoded] | None = None
        for window in windows:
            read, inside = with_context(window.read, context, image.shape[:2])
            maps = look(np.asarray(image[read]), inside, network, factor)
            if waiting is not None:
                yield waiting.result()
            waiting = pool.submit(decode_window, maps, decode, _size(inside))
        if waiting is not None:
            yield waiting.result()


def _size(window: Slices) -> tuple[int, int]:
    rows, columns = (part.stop - part.start for part in window)
    return rows, columns
