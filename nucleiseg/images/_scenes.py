"""Files that hold several images, or one in several sizes: which of them is meant."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nucleiseg.errors import ImageFileError
from nucleiseg.images.read_options import ReadOptions

__all__ = ["at_level", "check_level", "find_scene", "level_scale"]


def find_scene(name: str, wanted: int | str | None, names: Sequence[str], descriptions: Sequence[str]) -> int:
    """Index of the scene that is wanted; the only one if none is named."""
    if isinstance(wanted, str):
        if names.count(wanted) == 1:
            return names.index(wanted)
    elif wanted is None:
        if len(names) == 1:
            return 0
    elif wanted < len(names):
        return int(wanted)
    listed = ", ".join(f"{i} {text}" for i, text in enumerate(descriptions[:20]))
    listed += f" and {len(names) - 20} more" if len(names) > 20 else ""
    if wanted is None:
        raise ImageFileError(
            f"{name}: must hold one image, got {len(names)}; choose one with --scene 0 (scene=0 in Python): {listed}"
        )
    raise ImageFileError(f"{name}: has no scene {wanted!r}; choose one of {listed or '(none)'}")


def check_level(name: str, level: int, sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse a level that a pyramid does not have."""
    if level >= len(sizes):
        listed = ", ".join(f"{i} ({height} × {width})" for i, (height, width) in enumerate(sizes))
        raise ImageFileError(f"{name}: has no level {level}; choose one of {listed}")


def level_scale(name: str, options: ReadOptions, sizes: Sequence[tuple[int, int]]) -> float | None:
    """How many pixels of the full size are one of the level that is wanted, along a side.

    None if rows and columns are not shrunk alike, which is refused where the options have a size of a pixel.

    Examples
    --------
    >>> level_scale("a.tif", ReadOptions(level=1), [(20, 4000), (3, 500)])
    8.0
    """
    full, level = sizes[0], sizes[options.level]
    if full == level:
        return 1.0
    # What is left of a pixel at the border may have become one of its own, or none.
    least = max(whole / (part + 1) for whole, part in zip(full, level, strict=True))
    most = min(whole / (part - 1) if part > 1 else math.inf for whole, part in zip(full, level, strict=True))
    if least < most:
        longer = full.index(max(full))
        return full[longer] / level[longer]
    if options.pixel_size is None:
        return None
    raise ImageFileError(
        f"{name}: pixel_size is of square pixels, got {options.pixel_size:g} for level {options.level}, of "
        f"{level[0]} × {level[1]} pixels where level 0 has {full[0]} × {full[1]}; choose another level, or leave "
        "--pixel-size (pixel_size in Python) out"
    )


def at_level(size: float | None, scale: float | None) -> float | None:
    """The size of a pixel of the full size as that of a level; None if either is not known.

    Examples
    --------
    >>> at_level(0.25, 8), at_level(0.25, None)
    (2.0, None)
    """
    return None if size is None or scale is None else size * scale
