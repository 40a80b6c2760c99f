"""Compare true with predicted nuclei: counts first, scores from counts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy.typing as npt

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances.aggregated_jaccard import JaccardCounts, count_aji, count_aji_plus
from nucleiseg.instances.assigning import assign, check_threshold
from nucleiseg.instances.error_kinds import ErrorCounts, find_errors
from nucleiseg.instances.match_counts import MatchCounts
from nucleiseg.instances.overlaps import Overlap, count_overlap
from nucleiseg.instances.pixels import PixelCounts

__all__ = ["THRESHOLDS", "InstanceCounts", "count_instances", "match"]

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""IoU thresholds of the 2018 Data Science Bowl."""


@dataclass(frozen=True)
class InstanceCounts:
    """All that is counted when two label images are compared.

    Counts of several images add up (``+``); the scores of the sum weigh every nucleus, or every pixel, equally.

    Attributes
    ----------
    thresholds : tuple of float
        IoU thresholds, rising.
    matches : tuple of MatchCounts
        Nuclei found, made up and missed at each threshold; see `at`.
    aji_counts, aji_plus_counts : JaccardCounts
        Shared and joined pixels for the aggregated Jaccard index and its one-to-one variant.
    errors : ErrorCounts
        Splits, merges, misses, false positives, outlines.
    pixels : PixelCounts
        Agreement of the masks of all nuclei.

    Raises
    ------
    InvalidInputError
        If the thresholds are not rising or there is not one count for each; for a sum, if the thresholds differ.

    Examples
    --------
    >>> one, other = match([[1, 1, 0]], [[5, 5, 0]]), match([[2, 2, 0]], [[0, 0, 7]])
    >>> one.average_precision(0.5), other.average_precision(0.5), (one + other).average_precision(0.5)
    (1.0, 0.0, 0.3333333333333333)
    """

    thresholds: tuple[float, ...]
    matches: tuple[MatchCounts, ...]
    aji_counts: JaccardCounts
    aji_plus_counts: JaccardCounts
    errors: ErrorCounts
    pixels: PixelCounts

    def __post_init__(self) -> None:
        _check_thresholds(self.thresholds)
        if len(self.matches) != len(self.thresholds):
            raise InvalidInputError(
                f"matches must hold counts for each of {len(self.thresholds)} thresholds, got {len(self.matches)}; "
                "use nucleiseg.instances.match"
            )

    def __add__(self, other: InstanceCounts) -> InstanceCounts:
        if not isinstance(other, InstanceCounts):
            return NotImplemented
        if self.thresholds != other.thresholds:
            raise InvalidInputError(
                f"counts can be added where their thresholds are the same, got {self.thresholds} and "
                f"{other.thresholds}; match all images with the same thresholds"
            )
        return InstanceCounts(
            self.thresholds,
            tuple(a + b for a, b in zip(self.matches, other.matches, strict=True)),
            self.aji_counts + other.aji_counts,
            self.aji_plus_counts + other.aji_plus_counts,
            self.errors + other.errors,
            self.pixels + other.pixels,
        )

    @property
    def nuclei(self) -> int:
        """How many true nuclei there are."""
        return self.matches[0].tp + self.matches[0].fn

    @property
    def found(self) -> int:
        """How many predicted nuclei there are."""
        return self.matches[0].tp + self.matches[0].fp

    def at(self, threshold: float) -> MatchCounts:
        """Counts at one of the thresholds, with F1, precision, recall and panoptic quality.

        Raises
        ------
        InvalidInputError
            If nothing was counted at this threshold.
        """
        for counted, counts in zip(self.thresholds, self.matches, strict=True):
            if abs(counted - threshold) < 1e-9:
                return counts
        raise InvalidInputError(
            f"nothing was counted at the threshold {threshold!r}, only at {', '.join(map(str, self.thresholds))}; "
            f"use match(truth, predicted, thresholds=[{threshold!r}])"
        )

    def average_precision(self, threshold: float = 0.5) -> float:
        """Matches over all nuclei at one of the thresholds; see `MatchCounts.average_precision`."""
        return self.at(threshold).average_precision

    @property
    def mean_average_precision(self) -> float:
        """Mean of `average_precision` over the thresholds .5, .55, … .95: an image's part in the DSB2018 score."""
        return sum(map(self.average_precision, THRESHOLDS)) / len(THRESHOLDS)

    @property
    def aji(self) -> float:
        """Aggregated Jaccard index, see `count_aji`."""
        return self.aji_counts.index

    @property
    def aji_plus(self) -> float:
        """Its one-to-one variant AJI+, see `count_aji_plus`."""
        return self.aji_plus_counts.index


def match(truth: npt.ArrayLike, predicted: npt.ArrayLike, thresholds: Sequence[float] = THRESHOLDS) -> InstanceCounts:
    """Compare the nuclei of two label images.

    Parameters
    ----------
    truth, predicted : array-like of int, (H, W)
        Labels of the same size, 0 background, of any integer dtype. Values may have gaps and need not correspond; all
        pixels of a value are one nucleus, in however many pieces.
    thresholds : sequence of float
        Rising IoUs, above 0 and at most 1. A pair matches from the threshold on, as in StarDist.

    Returns
    -------
    InstanceCounts
        Counts that add up over images, and all scores.

    Raises
    ------
    InvalidInputError
        If an argument is not (H, W) integers from 0, the sizes differ, or the thresholds are out of bounds.

    Notes
    -----
    Without true and predicted nuclei every score is 1; with one of them only, every score of nuclei is 0.

    Examples
    --------
    >>> truth = [[1, 1, 0, 2, 2], [1, 1, 0, 2, 2]]
    >>> predicted = [[4, 4, 0, 0, 9], [4, 4, 0, 9, 9]]
    >>> counts = match(truth, predicted)
    >>> counts.average_precision(0.5), counts.average_precision(0.8), counts.at(0.5).panoptic_quality
    (1.0, 0.3333333333333333, 0.875)
    """
    return count_instances(count_overlap(truth, predicted), thresholds)


def count_instances(overlap: Overlap, thresholds: Sequence[float] = THRESHOLDS) -> InstanceCounts:
    """What `match` counts, from an overlap that is known already.

    Examples
    --------
    >>> overlap = count_overlap([[1, 1, 0]], [[5, 0, 0]])
    >>> count_instances(overlap).at(0.5)
    MatchCounts(tp=1, fp=0, fn=0, sum_iou=0.5)
    """
    levels = _check_thresholds(thresholds)
    return InstanceCounts(
        thresholds=levels,
        matches=tuple(_count_matches(overlap, level) for level in levels),
        aji_counts=count_aji(overlap),
        aji_plus_counts=count_aji_plus(overlap),
        errors=find_errors(overlap).counts,
        pixels=overlap.pixels,
    )


def _count_matches(overlap: Overlap, threshold: float) -> MatchCounts:
    iou = overlap.iou[assign(overlap, threshold)]
    return MatchCounts(
        tp=iou.size,
        fp=overlap.predicted_labels.size - iou.size,
        fn=overlap.truth_labels.size - iou.size,
        sum_iou=float(iou.sum()),
    )


def _check_thresholds(thresholds: Sequence[float]) -> tuple[float, ...]:
    levels = tuple(check_threshold(value) for value in thresholds)
    if not levels or any(low >= high for low, high in itertools.pairwise(levels)):
        raise InvalidInputError(f"thresholds must be rising, at least one, got {levels}; for example (0.5, 0.75)")
    return levels
