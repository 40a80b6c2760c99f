"""What a segmenter is, as it stands in a model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    passport: tuple[float, float, float] | None = None
    """Diameters of the nuclei that it was trained on: see `nucleiseg.inference.Passport`."""
    calibration: Mapping[str, float] | None = None
    """How its confidence is computed: see `nucleiseg.instances.Calibration`."""
