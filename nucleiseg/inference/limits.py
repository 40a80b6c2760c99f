"""Which nuclei count: what the options say, or else what the model says."""

from __future__ import annotations

from collections.abc import Mapping

from nucleiseg.inference.options import PredictOptions

__all__ = ["least_confidence", "smallest_area"]

MIN_AREA = "min_area"
"""Beside its thresholds, a model may have a smallest area in pixels under this name; see `smallest_area`."""

MIN_CONFIDENCE = "min_confidence"
"""And a least confidence under this one; see `least_confidence`."""


def smallest_area(min_area: int | None, thresholds: Mapping[str, float]) -> int:
    """The smallest area that is wanted, or else the model's own, or else 0.

    Examples
    --------
    >>> smallest_area(None, {"probability": 0.5, "min_area": 20.0}), smallest_area(5, {"min_area": 20.0})
    (20, 5)
    """
    return int(thresholds.get(MIN_AREA, 0)) if min_area is None else min_area


def least_confidence(options: PredictOptions, thresholds: Mapping[str, float]) -> float:
    """The least confidence that is wanted, or else the model's own, or else 0.

    The model's own holds for its own threshold: who asks for a lower one wants to see what is doubtful.

    Examples
    --------
    >>> least_confidence(PredictOptions(), {"min_confidence": 0.3})
    0.3
    >>> least_confidence(PredictOptions(threshold=0.3), {"min_confidence": 0.3})
    0.0
    >>> least_confidence(PredictOptions(threshold=0.3, min_confidence=0.2), {"min_confidence": 0.3})
    0.2
    """
    if options.min_confidence is not None:
        return options.min_confidence
    return 0.0 if options.threshold is not None else float(thresholds.get(MIN_CONFIDENCE, 0))
