"""Found, made-up and missed nuclei at one threshold, and the scores that derive from them."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from nucleiseg._checks import check_count, check_range

__all__ = ["MatchCounts"]


@dataclass(frozen=True)
class MatchCounts:
    """How many nuclei match at an IoU threshold, one to one.

    Counts of several images add up (``+``), and the scores of the sum weigh every nucleus equally. All scores are in
    [0, 1]. A score that would be 0 / 0 is 1 if there are neither true nor predicted nuclei (they agree), else 0.

    Attributes
    ----------
    tp, fp, fn : int
        Pairs that match, predicted nuclei without a partner, true nuclei without a partner.
    sum_iou : float
        Sum of the IoUs of the pairs that match.

    Raises
    ------
    InvalidInputError
        If a count is negative or not whole, or the sum is not from 0 to tp.

    Examples
    --------
    >>> counts = MatchCounts(tp=2, fp=1, fn=0, sum_iou=1.5) + MatchCounts(tp=1, fp=0, fn=1, sum_iou=0.9)
    >>> counts.average_precision, counts.f1, round(counts.panoptic_quality, 3)
    (0.6, 0.75, 0.6)
    """

    tp: int
    fp: int
    fn: int
    sum_iou: float

    def __post_init__(self) -> None:
        for name in ("tp", "fp", "fn"):
            check_count(getattr(self, name), name, low=0)
        check_range(self.sum_iou, "sum_iou", 0, self.tp)

    def __add__(self, other: MatchCounts) -> MatchCounts:
        if not isinstance(other, MatchCounts):
            return NotImplemented
        return MatchCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def average_precision(self) -> float:
        """Matches over all nuclei of either kind, tp / (tp + fp + fn).

        StarDist's (Schmidt et al., MICCAI 2018) and the 2018 Data Science Bowl's; not the area under a
        precision-recall curve, for which predictions need scores.
        """
        return self._ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn)."""
        return self._ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """Share of the predicted nuclei that match."""
        return self._ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the true nuclei that are matched."""
        return self._ratio(self.tp, self.tp + self.fn)

    @property
    def segmentation_quality(self) -> float:
        """Mean IoU of the pairs that match (Kirillov et al., Panoptic segmentation, CVPR 2019)."""
        return self._ratio(self.sum_iou, self.tp)

    @property
    def recognition_quality(self) -> float:
        """The name of F1 where it is a factor of `panoptic_quality`."""
        return self.f1

    @property
    def panoptic_quality(self) -> float:
        """Segmentation quality times recognition quality (Kirillov et al., Panoptic segmentation, CVPR 2019)."""
        return self.segmentation_quality * self.recognition_quality

    def _ratio(self, part: float, whole: int) -> float:
        if whole:
            return part / whole
        return 0.0 if self.fp or self.fn else 1.0
