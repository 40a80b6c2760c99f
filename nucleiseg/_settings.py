"""What a segmenter is, as it stands in a model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SegmenterSettings:
    """What a saved model needs besides its weights; written into the file as JSON."""

    encoder: str
    weights: str | None
    head: str
    loss: str
    upsampling: str
    widths: tuple[int, ...]
    scaling: str
    seed: int
    thresholds: Mapping[str, float]
    trained: bool = False
    deterministic: bool = False
    run: Mapping[str, Any] | None = None
    """The manifest of the latest training: versions, seed, images, command, times."""

    @property
    def network(self) -> dict[str, Any]:
        """How the model was built."""
        return {name: getattr(self, name) for name in ("encoder", "weights", "head", "upsampling", "widths")}
