"""How large tiles and windows may be, so that a prediction stays within a memory budget."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from nucleiseg.engines.engine import Engine
from nucleiseg.errors import InvalidInputError
from nucleiseg.images.tiling import Tiling

__all__ = ["Plan", "even_side", "make_plan", "network_bytes_of", "parse_memory", "usable"]

# For each pixel that is in a network at once, where an engine does not know what its own needs.
NETWORK_BYTES = 430
# Of those, where flips and turns are averaged: the turned image, and the sum of their maps.
TURNED_BYTES = 36
# For each pixel of a tile beside the network: scaled pixels, maps with strips of their neighbours, what was decoded of
# the tile before.
TILE_BYTES = 24
# For each pixel of a window: raw and scaled image, maps, and what the slowest decoder holds, twice: one window is
# decoded while the next one is in the network.
WINDOW_BYTES = 160
# What decoding leaves behind in the allocator beside it, whatever the size.
DECODING_BYTES = 16 * 2**20
# Of a window, what is held beside the network where the image is decoded as a whole, afterwards: scaled image and maps.
HELD_BYTES = 40
# For each pixel of the image: labels and probability of the result, labels of neighbouring windows.
RESULT_BYTES = 12
# Of it, the result alone.
OUTCOME_BYTES = 8
# For each pixel in windows that wait for the tiles below: labels; and maps of the strip that they begin in.
WAITING_BYTES = 10
# What is used whatever the size: buffers of the compiled network, compressed chunks.
FIXED_BYTES = 60 * 2**20

MULTIPLE = 32
# Height and width of windows that are cut from the maps of tiles; the smaller ones where memory is short.
FLOWING_WINDOWS = (896, 512)
# Smaller ones take longer to decode, and leave more room for the network: what that must save in pixels it sees.
WORTH_SMALLER_WINDOWS = 1.05
# Half of it on either side of a border: more than the diameter of nearly every nucleus.
WINDOW_OVERLAP = 128

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@dataclass(frozen=True)
class Plan:
    """How an image is cut up.

    Parameters
    ----------
    network : Tiling or pair of Tiling, optional
        What is in the network at once; None for a window at once. A pair is for rows and for columns.
    windows : Tiling, optional
        What is decoded at once; None for the whole image.
    context : int
        Pixels around a window that the network sees, too.
    flows : bool
        Whether windows are cut from the maps of the tiles, see `nucleiseg.inference.flowing`; otherwise each window
        goes through the network by itself.
    """

    network: Tiling | tuple[Tiling, Tiling] | None = None
    windows: Tiling | None = None
    context: int = 0
    flows: bool = False


def parse_memory(value: int | str) -> int:
    """Bytes from a number of them or a text such as ``"2GB"`` or ``"600 MiB"``.

    Raises
    ------
    InvalidInputError
        If it is neither, or not positive.

    Examples
    --------
    >>> parse_memory("2GB"), parse_memory("1.5 KiB"), parse_memory(4096)
    (2000000000, 1536, 4096)
    """
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", value)
        if found and found[2].lower() in _UNITS:
            value = int(float(found[1]) * _UNITS[found[2].lower()])
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError(
            f"max_memory must be a positive number of bytes or a text with a unit, got {value!r}; for example '2GB'"
        )
    return value


def make_plan(
    shape: tuple[int, int],
    tiling: Tiling | str | None,
    max_memory: int,
    reach: Callable[[], int],
    in_memory: bool = True,
    network_bytes: int = NETWORK_BYTES,
) -> Plan:
    """Tiles and windows for an image.

    Parameters
    ----------
    shape : tuple of int
        Height and width.
    tiling : Tiling, "auto" or None
        As in `PredictOptions`: None takes the image whole, whatever that needs.
    max_memory : int
        Bytes that may be used on top of what the process and the image use already.
    reach : function
        Gives how far the network looks, in pixels. Called only if the image has to be cut.
    in_memory : bool
        Whether the result is held in memory.
    network_bytes : int
        What the network needs for each pixel of an image that it is given whole.

    Raises
    ------
    InvalidInputError
        If the budget is too small for the smallest tiles.

    Examples
    --------
    >>> make_plan((520, 696), "auto", 2 * 10**9, lambda: 32)
    Plan(network=None, windows=None, context=0, flows=False)
    >>> make_plan((4096, 4096), "auto", 2 * 10**9, lambda: 64).network
    (Tiling(tile=1472, overlap=128), Tiling(tile=2112, overlap=128))
    >>> make_plan((40_000, 40_000), "auto", 10**9, lambda: 64, in_memory=False).windows
    Tiling(tile=1024, overlap=128)
    """
    if tiling is None:
        return Plan()
    height, width = shape
    pixels = height * width
    free = usable(max_memory) - FIXED_BYTES - (RESULT_BYTES * pixels if in_memory else 0)
    network = tiling if isinstance(tiling, Tiling) else None
    padded = (height + -height % MULTIPLE) * (width + -width % MULTIPLE)
    in_network = min(padded, network.tile**2) if network else padded
    if in_network * network_bytes + pixels * WINDOW_BYTES <= free:
        return Plan(network)
    if network is None:
        beside = in_network * network_bytes + pixels * HELD_BYTES
        if in_memory and max(beside, pixels * WINDOW_BYTES) <= free:
            return Plan()
        context = reach()
        flow = _flow(shape, usable(max_memory) - FIXED_BYTES, context, network_bytes) if in_memory else None
        return flow or _auto(shape, max_memory, free, context, network_bytes)
    rest = free - in_network * network_bytes
    if pixels * WINDOW_BYTES <= rest:
        return Plan(network)
    context = -(-network.overlap // (2 * MULTIPLE)) * MULTIPLE
    side = _side(rest / WINDOW_BYTES) - 2 * context
    if side < 2 * WINDOW_OVERLAP:
        raise InvalidInputError(
            f"max_memory is too small for tiles of {network.tile} pixels: {max_memory:,} bytes; use smaller tiles "
            "or a larger budget"
        )
    return Plan(network, Tiling(even_side(shape, side, WINDOW_OVERLAP), WINDOW_OVERLAP), context)


def network_bytes_of(engine: Engine, tta: bool = False) -> int:
    """What an engine needs for each pixel, as far as it knows, and where flips and turns are averaged what they add.

    Examples
    --------
    >>> class Echo:
    ...     multiple = 32
    ...     def __call__(self, images):
    ...         return images[..., :1]
    >>> network_bytes_of(Echo())
    430
    """
    return int(getattr(engine, "pixel_bytes", NETWORK_BYTES)) + (TURNED_BYTES if tta else 0)


def _flow(shape: tuple[int, int], free: int, context: int, network_bytes: int) -> Plan | None:
    """The tiles that take the fewest pixels through the network of all that keep to so many bytes, if any do."""
    height, width = shape
    overlap = 2 * context
    # What each number of tiles along an axis needs: the length of a tile, and that of all together.
    rows, columns = (_ways_to_cut(length, overlap) for length in shape)
    plans = []
    for window in FLOWING_WINDOWS:
        # Of windows only one is there at a time, and its raw and scaled pixels belong to the tile.
        decoding = WINDOW_BYTES // 2 * window**2 + DECODING_BYTES
        rest = free - OUTCOME_BYTES * height * width - WAITING_BYTES * width * window - decoding
        largest = rest / (network_bytes + TILE_BYTES)
        fitting = [
            (all_rows * all_columns, row * column, row, column)
            for row, all_rows in rows
            for column, all_columns in columns
            if row * column <= largest
        ]
        if fitting:
            seen, _, row, column = min(fitting)
            tiles = Tiling(row, overlap), Tiling(column, overlap)
            plans.append((seen, Plan(tiles, Tiling(window, WINDOW_OVERLAP), flows=True)))
    fewest = min((seen for seen, _ in plans), default=0)
    return next((plan for seen, plan in plans if seen <= WORTH_SMALLER_WINDOWS * fewest), None)


def _ways_to_cut(length: int, overlap: int) -> list[tuple[int, int]]:
    """Lengths of tiles along an axis, the fewest tiles first, and how long all of them are together."""
    found = []
    for count in range(1, length // WINDOW_OVERLAP + 2):
        stride = -(-max(length - overlap, 1) // count)
        stride += -stride % MULTIPLE
        if count > 1 and stride < 2 * WINDOW_OVERLAP:
            break
        found.append((stride + overlap, count * (stride + overlap)))
    return found


def _auto(shape: tuple[int, int], max_memory: int, free: int, context: int, network_bytes: int) -> Plan:
    """Windows, each of which is one tile with its context."""
    height, width = shape
    side = _side(free / (network_bytes + WINDOW_BYTES)) - 2 * context
    if side < 2 * WINDOW_OVERLAP:
        fixed = usable(max_memory) - free
        least = (2 * WINDOW_OVERLAP + 2 * context + MULTIPLE) ** 2 * (network_bytes + WINDOW_BYTES) + fixed
        raise InvalidInputError(
            f"max_memory is too small for an image of {height} × {width} pixels: {max_memory:,} bytes; "
            f"give at least {math.ceil(least * 8 / 7 / 10**6)}MB"
        )
    return Plan(None, Tiling(even_side(shape, side, WINDOW_OVERLAP), WINDOW_OVERLAP), context)


def usable(max_memory: int) -> int:
    """What tiles are planned for: an eighth is left for what allocators keep and for putting nuclei together."""
    return max_memory * 7 // 8


def _side(pixels: float) -> int:
    """Of the largest square of so many pixels whose side fits the network."""
    return int(math.sqrt(max(pixels, 0))) // MULTIPLE * MULTIPLE


def even_side(shape: tuple[int, int], side: int, overlap: int) -> int:
    """The smallest side with which it takes no more tiles than with the one that is given."""
    sides = []
    for length in shape:
        count = max(1, -(-(length - overlap) // (side - overlap)))
        needed = -(-(length + (count - 1) * overlap) // count)
        sides.append(needed + -needed % MULTIPLE)
    return min(side, max(sides))
