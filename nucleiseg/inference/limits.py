"""Which nuclei count: what the options say, or else what the model says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nucleiseg.inference.options import PredictOptions

__all__ = ["LeastConfidence", "is_familiar", "least_confidence", "smallest_area"]

_FAMILIAR = 0.6  # with `nuclei`, the mean confidence of validation images is .80 at least; of brown-stained tissue, .46

MIN_AREA = "min_area"
"""Beside its thresholds, a model may have a smallest area in pixels under this name; see `smallest_area`."""

MIN_CONFIDENCE = "min_confidence"
"""And a least confidence under this one; see `least_confidence`."""


def smallest_area(min_area: int | None, thresholds: Mapping[str, float], factor: float = 1.0) -> int:
    """The smallest area that is wanted, or else the model's own, or else 0: in pixels of the image.

    Parameters
    ----------
    min_area : int or None
        What is wanted.
    thresholds : mapping of str to float
        Of the model. Its own area is in pixels that the network sees.
    factor : float
        By how much the network sees the image magnified.

    Examples
    --------
    >>> smallest_area(None, {"probability": 0.5, "min_area": 20.0}), smallest_area(5, {"min_area": 20.0})
    (20, 5)
    >>> [smallest_area(None, {"min_area": 20.0}, factor) for factor in (0.5, 2.0)]
    [80, 5]
    """
    return round(int(thresholds.get(MIN_AREA, 0)) / factor**2) if min_area is None else min_area


def is_familiar(areas: npt.NDArray[np.int64], confidence: npt.NDArray[np.float64]) -> bool:
    """Whether the mean confidence over all pixels of an image's nuclei, (n,), is .6 at least, or there is none.

    Examples
    --------
    >>> is_familiar(np.array([90, 10]), np.array([0.7, 0.2])), is_familiar(np.array([90, 10]), np.array([0.6, 0.2]))
    (True, False)
    """
    return bool(confidence @ areas >= _FAMILIAR * areas.sum())


@dataclass(frozen=True)
class LeastConfidence:
    """Which nuclei are sure enough to count.

    Parameters
    ----------
    value : float
        Nuclei whose confidence is lower are left out, in [0, 1].
    where_familiar : bool
        Leave out none of an image in which the mean confidence over all pixels of nuclei is below .6. Images of kinds
        that a model has seen have more; of others it finds real nuclei that are as unsure as false ones.

    Examples
    --------
    >>> areas, confidence = np.array([90, 10]), np.array([0.5, 0.2])
    >>> LeastConfidence(0.3).keeps(areas, confidence).tolist()
    [True, False]
    >>> LeastConfidence(0.3, where_familiar=True).keeps(areas, confidence).tolist()
    [True, True]
    """

    value: float = 0.0
    where_familiar: bool = False

    def keeps(self, areas: npt.NDArray[np.int64], confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """For each nucleus of an image, (n,), whether it counts."""
        if self.where_familiar and not is_familiar(areas, confidence):
            return np.ones(areas.size, bool)
        kept: npt.NDArray[np.bool_] = confidence >= self.value
        return kept


def least_confidence(options: PredictOptions, thresholds: Mapping[str, float]) -> LeastConfidence:
    """The least confidence that is wanted, or else the model's own, or else 0.

    The model's own holds for its own threshold: who asks for a lower one wants to see what is doubtful.

    Examples
    --------
    >>> least_confidence(PredictOptions(), {"min_confidence": 0.3})
    LeastConfidence(value=0.3, where_familiar=True)
    >>> least_confidence(PredictOptions(threshold=0.3), {"min_confidence": 0.3}).value
    0.0
    >>> least_confidence(PredictOptions(threshold=0.3, min_confidence=0.2), {"min_confidence": 0.3})
    LeastConfidence(value=0.2, where_familiar=False)
    """
    if options.min_confidence is not None:
        return LeastConfidence(options.min_confidence)
    own = 0.0 if options.threshold is not None else float(thresholds.get(MIN_CONFIDENCE, 0))
    return LeastConfidence(own, where_familiar=own > 0)
