"""Scores of masks, pixel by pixel: counts first, scores from counts."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_count, check_number_array, describe
from nucleiseg.errors import InvalidInputError

__all__ = ["PixelCounts", "count_pixels"]


@dataclass(frozen=True)
class PixelCounts:
    """How many pixels two masks agree and differ on.

    Counts of several images add up (``+``), and the scores of the sum weigh every pixel equally. All scores are in
    [0, 1]. A score that would be 0 / 0 is 1 if there is nothing true and nothing predicted (they agree), else 0.

    Attributes
    ----------
    tp, fp, fn, tn : int
        Pixels that are true and predicted, predicted only, true only, neither.

    Raises
    ------
    InvalidInputError
        If a count is negative or not whole.

    Examples
    --------
    >>> counts = PixelCounts(tp=3, fp=1, fn=0, tn=4) + PixelCounts(tp=0, fp=0, fn=1, tn=1)
    >>> counts.dice, counts.iou, counts.accuracy
    (0.75, 0.6, 0.8)
    """

    tp: int
    fp: int
    fn: int
    tn: int

    def __post_init__(self) -> None:
        for name in ("tp", "fp", "fn", "tn"):
            check_count(getattr(self, name), name, low=0)

    def __add__(self, other: PixelCounts) -> PixelCounts:
        if not isinstance(other, PixelCounts):
            return NotImplemented
        return PixelCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def accuracy(self) -> float:
        """Share of all pixels that agree."""
        return self._ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def dice(self) -> float:
        """Twice the shared pixels over the pixels of both masks (Dice, Ecology 26, 1945); also called F1."""
        return self._ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """Shared pixels over the pixels of either mask, intersection over union (Jaccard, New Phytologist 11, 1912)."""
        return self._ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """Share of the predicted pixels that are true."""
        return self._ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the true pixels that are predicted."""
        return self._ratio(self.tp, self.tp + self.fn)

    def _ratio(self, part: int, whole: int) -> float:
        if whole:
            return part / whole
        return 0.0 if self.fp or self.fn else 1.0


def count_pixels(truth_mask: npt.ArrayLike, predicted_mask: npt.ArrayLike) -> PixelCounts:
    """Compare two masks pixel by pixel.

    Parameters
    ----------
    truth_mask, predicted_mask : array-like
        Values 0 and 1 (or bool), both of the same shape, which may be any.

    Returns
    -------
    PixelCounts
        Their sum is the number of pixels.

    Raises
    ------
    InvalidInputError
        If the shapes differ or there are other values.

    Examples
    --------
    >>> count_pixels([[0, 1], [1, 1]], [[0, 0], [1, 1]])
    PixelCounts(tp=2, fp=0, fn=1, tn=1)
    """
    truth, predicted = _check_mask(truth_mask, "truth_mask"), _check_mask(predicted_mask, "predicted_mask")
    if truth.shape != predicted.shape:
        raise InvalidInputError(
            f"truth_mask and predicted_mask must have the same shape, got {truth.shape} and {predicted.shape}; "
            "pass masks of the same field of view, both with or both without a channel axis"
        )
    tp = int(np.count_nonzero(truth & predicted))
    fp = int(np.count_nonzero(predicted)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return PixelCounts(tp=tp, fp=fp, fn=fn, tn=truth.size - tp - fp - fn)


def _check_mask(value: npt.ArrayLike, name: str) -> npt.NDArray[np.bool_]:
    array: Array = check_number_array(value, name)
    if not ((array == 0) | (array == 1)).all():
        raise InvalidInputError(
            f"{name} must hold 0 and 1 only, got {describe(array)}, values {float(array.min()):g} to "
            f"{float(array.max()):g}; use labels > 0, mask > 0 or probability > 0.5"
        )
    return array.astype(bool)
