"""What is known of an image on disk before any of its pixels is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["StoredPixels"]


@dataclass(frozen=True)
class StoredPixels:
    """An array on disk, with what `nucleiseg.images.lazy.LazyImage` asks, whose fields these are.

    ``pixels`` are read when they are sliced; empty ``axes`` are not known.
    """

    pixels: Any = field(repr=False)
    axes: str
    channels: tuple[str, ...] = ()
    stored_pixel_size: float | None = None
    scale: float | None = 1.0
    opaque: bool = False
    stained: bool = False
