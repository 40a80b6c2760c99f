"""Windows of an image that is read part by part and that the network sees larger or smaller than it is."""

from __future__ import annotations

import math
from collections.abc import Callable

from nucleiseg.errors import InvalidInputError
from nucleiseg.images import Tile, Tiling, tiles
from nucleiseg.inference.memory import (
    FIXED_BYTES,
    MULTIPLE,
    NETWORK_BYTES,
    WINDOW_BYTES,
    WINDOW_OVERLAP,
    Plan,
    even_side,
    make_plan,
    usable,
)

__all__ = ["aligned_windows", "make_scaled_plan"]

# For each pixel that is resized, on the finer grid: raw, as floats, smoothed.
RESIZED_BYTES = 72


def make_scaled_plan(
    shape: tuple[int, int],
    tiling: Tiling | str | None,
    max_memory: int,
    reach: Callable[[], int],
    factor: float = 1.0,
    network_bytes: int = NETWORK_BYTES,
    held: int = 0,
) -> Plan:
    """Windows, overlap and context in pixels of the image; tiles of the network in pixels that it sees.

    Parameters
    ----------
    shape, tiling, max_memory, reach
        As for `nucleiseg.inference.memory.make_plan`.
    factor : float
        By how much the network sees the image magnified.
    network_bytes : int
        What the network needs for each pixel that it is given.
    held : int
        Bytes of the budget that are used already, at another scale than 1.

    Returns
    -------
    Plan
        Always in windows; one that holds the whole image if that fits.

    Raises
    ------
    InvalidInputError
        If the budget is too small for the smallest windows.

    Examples
    --------
    >>> make_scaled_plan((9000, 9000), "auto", 10**9, lambda: 64, factor=0.5)
    Plan(network=None, windows=Tiling(tile=1376, overlap=256), context=128, flows=False)
    """
    whole = Tiling(max(shape), 0)
    if factor == 1 or tiling is None:
        plan = make_plan(shape, tiling, max_memory, reach, False, network_bytes)
        return Plan(plan.network, plan.windows or whole, plan.context)
    network = tiling if isinstance(tiling, Tiling) else None
    finer = max(1.0, factor**2)

    def needed(window: int, context: int) -> float:
        """Bytes for so many pixels in a window, and around it."""
        seen = (math.sqrt(window) + 2 * context) ** 2
        at_once = seen * factor**2 if network is None else min(seen * factor**2, network.tile**2)
        return held + FIXED_BYTES + at_once * network_bytes + (seen * RESIZED_BYTES + window * WINDOW_BYTES) * finer

    if needed(shape[0] * shape[1], 0) <= usable(max_memory):
        return Plan(network, whole)
    context = math.ceil((reach() if network is None else network.overlap / 2) / factor)
    overlap = math.ceil(WINDOW_OVERLAP / factor)
    least = 2 * overlap + -2 * overlap % MULTIPLE
    side = 0
    while side < max(shape) and needed((side + MULTIPLE) ** 2, context) <= usable(max_memory):
        side += MULTIPLE
    if side < least:
        enough = min(needed(least**2, context), needed(shape[0] * shape[1], 0))
        megabytes = math.ceil(enough * 8 / 7 / 10**6)
        raise InvalidInputError(
            f"max_memory is too small for an image of {shape[0]} × {shape[1]} pixels at a scale of {factor:.3g}: "
            f"{max_memory:,} bytes; give at least {megabytes}MB, or choose a level nearer to that scale"
        )
    return Plan(network, Tiling(even_side(shape, side, overlap), overlap), context)


def aligned_windows(shape: tuple[int, int], plan: Plan, multiple: int, factor: float = 1.0) -> list[Tile]:
    """The windows of a plan; each begins where the network, which halves the image several times, begins anew.

    Examples
    --------
    >>> plan = Plan(windows=Tiling(200, 100))
    >>> [tile.read[1].start for tile in aligned_windows((1, 400), plan, 32, factor=0.5)]
    [0, 64, 128, 192, 256]
    """
    windows = plan.windows or Tiling(max(shape), 0)
    step = max(1, round(multiple / factor))
    return tiles(shape, windows, step if windows.tile - windows.overlap >= step else 1)
