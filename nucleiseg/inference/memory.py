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

# Measured by benchmarks/memory.py: bytes for each pixel that is in the network at once; the largest of sizes and heads.
NETWORK_BYTES = 430
# For each pixel of a window: raw and scaled image, maps, and what the slowest decoder holds, twice: one window is
# decoded while the next one is in the network.
WINDOW_BYTES = 160
# Of it, what is held beside the network where the image is decoded as a whole, afterwards: scaled image and maps.
HELD_BYTES = 40
# For each pixel of the image: labels and probability of the result, labels of neighbouring windows.
RESULT_BYTES = 12
# What is used whatever the size: buffers of the compiled network, compressed chunks.
FIXED_BYTES = 60 * 2**20

# Smaller tiles overlap so much that windows are better.
GOOD_TILE = 768
MULTIPLE = 32
# Half of it on either side of a border: more than the diameter of nearly every nucleus.
WINDOW_OVERLAP = 128

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@dataclass(frozen=True)
class Plan:
    """How an image is cut up.

    Parameters
    ----------
    network : Tiling, optional
        What is in the network at once; None for a window at once.
    windows : Tiling, optional
        What is decoded at once; None for the whole image.
    context : int
        Pixels around a window that the network sees, too.
    """

    network: Tiling | None = None
    windows: Tiling | None = None
    context: int = 0


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
    Plan(network=None, windows=None, context=0)
    >>> make_plan((2048, 2048), "auto", 2 * 10**9, lambda: 64)
    Plan(network=Tiling(tile=1088, overlap=128), windows=None, context=0)
    >>> make_plan((4000, 4000), "auto", 10**9, lambda: 64).windows
    Tiling(tile=800, overlap=128)
    """
    if tiling is None:
        return Plan()
    height, width = shape
    pixels = height * width
    free = usable(max_memory) - FIXED_BYTES - (RESULT_BYTES * pixels if in_memory else 0)
    network = tiling if isinstance(tiling, Tiling) else None
    padded = (height + -height % MULTIPLE) * (width + -width % MULTIPLE)
    in_network = min(padded, network.tile**2) if network else padded
    if in_network * NETWORK_BYTES + pixels * WINDOW_BYTES <= free:
        return Plan(network)
    if network is None:
        beside = in_network * network_bytes + pixels * HELD_BYTES
        if in_memory and max(beside, pixels * WINDOW_BYTES) <= free:
            return Plan()
        return _auto(shape, max_memory, free, reach())
    rest = free - in_network * NETWORK_BYTES
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


def network_bytes_of(engine: Engine) -> int:
    """What an engine needs for each pixel, as far as it knows.

    Examples
    --------
    >>> class Echo:
    ...     multiple = 32
    ...     def __call__(self, images):
    ...         return images[..., :1]
    >>> network_bytes_of(Echo())
    430
    """
    return int(getattr(engine, "pixel_bytes", NETWORK_BYTES))


def _auto(shape: tuple[int, int], max_memory: int, free: int, context: int) -> Plan:
    """Tiles of one window if all maps find room; otherwise windows, each of which is one tile with its context."""
    height, width = shape
    side = _side((free - height * width * WINDOW_BYTES) / NETWORK_BYTES)
    if side >= GOOD_TILE:
        return Plan(Tiling(even_side(shape, side, 2 * context), 2 * context))
    side = _side(free / (NETWORK_BYTES + WINDOW_BYTES)) - 2 * context
    if side < 2 * WINDOW_OVERLAP:
        fixed = usable(max_memory) - free
        least = (2 * WINDOW_OVERLAP + 2 * context + MULTIPLE) ** 2 * (NETWORK_BYTES + WINDOW_BYTES) + fixed
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
