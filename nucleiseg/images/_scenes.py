"""Files that hold several images, or one in several sizes: which of them is meant."""

from __future__ import annotations

from collections.abc import Sequence

from nucleiseg.errors import ImageFileError

__all__ = ["check_level", "find_scene"]


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
