"""Why a score is low: nuclei that are split, merged, missed, made up or poorly outlined, and by how much."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_count, check_range
from nucleiseg.instances.assigning import assign, best_assignment
from nucleiseg.instances.overlaps import Indices, Overlap

__all__ = ["ErrorCounts", "InstanceErrors", "find_errors"]

_MATCHED = 0.5  # IoU from which a nucleus counts as found
_TOUCHED = 0.1  # and from which it counts as found with a poor outline


@dataclass(frozen=True)
class ErrorCounts:
    """How often each kind of error occurs, and how far off the outlines of found nuclei are.

    Counts of several images add up (``+``). See `find_errors` for what the kinds mean.

    Attributes
    ----------
    splits, misses : int
        True nuclei.
    merges, false_positives : int
        Predicted nuclei.
    poor_outlines : int
        Pairs of a true and a predicted nucleus.
    too_much, too_little : int
        Pixels that only the predicted or only the true nucleus has, over pairs that match without a split or merge.
    outline : float
        Length of the outlines of the true nuclei of these pairs in pixels.

    Raises
    ------
    InvalidInputError
        If a count is negative or not whole, or the length negative.

    Examples
    --------
    >>> counts = ErrorCounts(splits=1, too_much=30, too_little=10, outline=80.0) + ErrorCounts(splits=2)
    >>> counts.splits, counts.boundary_offset, counts.boundary_bias
    (3, 0.5, 0.25)
    """

    splits: int = 0
    merges: int = 0
    misses: int = 0
    false_positives: int = 0
    poor_outlines: int = 0
    too_much: int = 0
    too_little: int = 0
    outline: float = 0.0

    def __post_init__(self) -> None:
        for name in ("splits", "merges", "misses", "false_positives", "poor_outlines", "too_much", "too_little"):
            check_count(getattr(self, name), name, low=0)
        check_range(self.outline, "outline", 0, float("inf"))

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        if not isinstance(other, ErrorCounts):
            return NotImplemented
        return ErrorCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def boundary_offset(self) -> float:
        """How far outlines lie from the true ones, in pixels, on average over the matched nuclei; 0 without any."""
        return (self.too_much + self.too_little) / self.outline if self.outline else 0.0

    @property
    def boundary_bias(self) -> float:
        """The same with a sign: positive where predicted nuclei are too large, negative where they are too small."""
        return (self.too_much - self.too_little) / self.outline if self.outline else 0.0


@dataclass(frozen=True, eq=False)
class InstanceErrors:
    """Which nuclei of an image are found wrongly, by kind; see `find_errors`.

    Attributes
    ----------
    split, missed : numpy.ndarray
        Labels of true nuclei.
    merged, false_positive : numpy.ndarray
        Labels of predicted nuclei.
    poorly_outlined : numpy.ndarray, (k,)
        Labels of true nuclei.
    counts : ErrorCounts
        How many there are of each.

    Examples
    --------
    >>> from nucleiseg.instances import count_overlap
    >>> errors = find_errors(count_overlap([[4, 4, 4, 0, 9, 9]], [[1, 2, 2, 0, 0, 0]]))
    >>> errors.split.tolist(), errors.missed.tolist()
    ([4], [9])
    """

    split: npt.NDArray[Any] = field(repr=False)
    merged: npt.NDArray[Any] = field(repr=False)
    missed: npt.NDArray[Any] = field(repr=False)
    false_positive: npt.NDArray[Any] = field(repr=False)
    poorly_outlined: npt.NDArray[Any] = field(repr=False)
    counts: ErrorCounts


def find_errors(overlap: Overlap) -> InstanceErrors:
    """Sort out what went wrong, after Hoover et al. [1]_ with a tolerance of one half.

    *Split*: a true nucleus that holds more than half of each of two or more predicted nuclei, which together cover more
    than half of it. *Merged*: a predicted nucleus that holds more than half of each of two or more true ones, which
    together cover more than half of it. *Poorly outlined*: a true and a predicted nucleus, neither matched (IoU of at
    least 0.5) nor part of a split or merge, that have an IoU of at least 0.1, one to one; the bound is TIDE's [2]_.
    *Missed* and *false positive*: true and predicted nuclei that nothing of this explains.

    A nucleus that is split may be matched, too: where a small piece came off. Every false negative is split, merged
    with others, poorly outlined or missed; every false positive of the scores is a piece of a split, a merge, poorly
    outlined or a false positive here.

    Parameters
    ----------
    overlap : Overlap
        Of the true and the predicted labels.

    Returns
    -------
    InstanceErrors
        The labels of the nuclei, and their counts.

    References
    ----------
    .. [1] Hoover et al.: An experimental comparison of range image segmentation algorithms, IEEE TPAMI 18, 1996.
    .. [2] Bolya et al.: TIDE: a general toolbox for identifying object detection errors, ECCV 2020.

    Examples
    --------
    >>> from nucleiseg.instances import count_overlap
    >>> errors = find_errors(count_overlap([[4, 4, 0, 6, 6, 0]], [[7, 7, 7, 7, 7, 0]]))
    >>> errors.merged.tolist(), errors.counts.merges, errors.counts.misses
    ([7], 1, 0)
    """
    i, j, shared = overlap.truth_index, overlap.predicted_index, overlap.shared
    is_piece = 2 * shared > overlap.predicted_areas[j]
    is_part = 2 * shared > overlap.truth_areas[i]
    split = _made_of_several(i[is_piece], shared[is_piece], overlap.truth_areas)
    merged = _made_of_several(j[is_part], shared[is_part], overlap.predicted_areas)
    matched = assign(overlap, _MATCHED)

    open_truth, open_predicted = ~split, ~merged
    open_truth[i[is_part & merged[j]]] = False
    open_predicted[j[is_piece & split[i]]] = False
    open_truth[i[matched]] = False
    open_predicted[j[matched]] = False

    candidates = open_truth[i] & open_predicted[j] & (overlap.iou >= _TOUCHED)
    # As many as possible, and of those the most alike.
    poor = best_assignment(overlap, candidates * (1 + overlap.iou / (1 + candidates.size)))
    open_truth[i[poor]] = False
    open_predicted[j[poor]] = False

    clean = matched[~split[i[matched]] & ~merged[j[matched]]]
    counts = ErrorCounts(
        splits=int(split.sum()),
        merges=int(merged.sum()),
        misses=int(open_truth.sum()),
        false_positives=int(open_predicted.sum()),
        poor_outlines=poor.size,
        too_much=int((overlap.predicted_areas[j] - shared)[clean].sum()),
        too_little=int((overlap.truth_areas[i] - shared)[clean].sum()),
        outline=float(overlap.outlines[i[clean]].sum()),
    )
    return InstanceErrors(
        split=overlap.truth_labels[split],
        merged=overlap.predicted_labels[merged],
        missed=overlap.truth_labels[open_truth],
        false_positive=overlap.predicted_labels[open_predicted],
        poorly_outlined=overlap.truth_labels[i[poor]],
        counts=counts,
    )


def _made_of_several(whole: Indices, shared: Indices, areas: Indices) -> npt.NDArray[np.bool_]:
    """Which nuclei have at least two parts that together cover more than half of them."""
    covered = np.bincount(whole, weights=shared, minlength=areas.size)
    several: npt.NDArray[np.bool_] = np.bincount(whole, minlength=areas.size) > 1
    return several & (2 * covered > areas)
