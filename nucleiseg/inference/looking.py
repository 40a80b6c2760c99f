"""The parts of an image that tell its scale."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["ENOUGH", "LOOKED_AT", "parts_of"]

LOOKED_AT = 1024
"""Height and width in pixels: enough to hold nuclei that tell their usual size, few enough for any budget."""

ENOUGH = 20
"""Nuclei in a part that are trusted, and so tell the scale; where there are fewer, the next part is looked at."""


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
    >>> [(rows.start, columns.start) for rows, columns in parts_of((600, 4096))]
    [(0, 1536), (0, 512), (0, 2560)]
    """
    height, width = shape[:2]
    yield _part(height, _start(height, 2)), _part(width, _start(width, 2))
    if max(height, width) > LOOKED_AT:
        # Of a strip, the quarters beside each other are the same.
        tops, lefts = (dict.fromkeys(_start(length, quarter) for quarter in (1, 3)) for length in (height, width))
        yield from ((_part(height, top), _part(width, left)) for top in tops for left in lefts)


def _start(length: int, quarter: int) -> int:
    return min(max(length * quarter // 4 - LOOKED_AT // 2, 0), max(length - LOOKED_AT, 0))


def _part(length: int, start: int) -> slice:
    return slice(start, start + min(length, LOOKED_AT))
