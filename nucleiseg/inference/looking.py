"""The parts of an image that tell its scale."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["ENOUGH", "LOOKED_AT", "parts_of"]

LOOKED_AT = 1024
"""Height and width in pixels: enough to hold nuclei that tell their usual size, few enough for any budget."""

ENOUGH = 20
"""Nuclei in a part that tell the scale; where there are fewer, the next part is looked at."""


def parts_of(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """The middle of an image, and of its quarters if it is larger than a part: all of them as large.

    Parameters
    ----------
    shape : tuple of int
        Of the image, (H, W) or (H, W, C).

    Examples
    --------
    >>> list(parts_of((600, 500)))
    [(slice(0, 600, None), slice(0, 500, None))]
    >>> [(rows.start, columns.start) for rows, columns in parts_of((4096, 2048))]
    [(1536, 512), (512, 0), (512, 1024), (2560, 0), (2560, 1024)]
    """
    for down, right in ((2, 2),) if max(shape[:2]) <= LOOKED_AT else ((2, 2), (1, 1), (1, 3), (3, 1), (3, 3)):
        yield _around(shape[0], down), _around(shape[1], right)


def _around(length: int, quarter: int) -> slice:
    start = min(max(length * quarter // 4 - LOOKED_AT // 2, 0), max(length - LOOKED_AT, 0))
    return slice(start, start + min(length, LOOKED_AT))
