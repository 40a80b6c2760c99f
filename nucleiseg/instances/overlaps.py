"""What two label images share, as a sparse table: every score of instances derives from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_labels, check_same_size
from nucleiseg.instances.outlines import outline_lengths
from nucleiseg.instances.pixels import PixelCounts

__all__ = ["Overlap", "count_overlap"]

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Overlap:
    """The nuclei of two label images, and each pair of them that shares a pixel.

    Nuclei are in the order of their first pixels (row by row), so that nothing depends on the values of the labels.
    Pairs are sorted by the true nucleus, then by the predicted one.

    Parameters
    ----------
    truth_labels, predicted_labels : numpy.ndarray, (n,) and (m,)
        The values of the n true and m predicted nuclei, in the dtype of their images.
    truth_areas, predicted_areas : numpy.ndarray of int64, (n,) and (m,)
        In pixels.
    outlines : numpy.ndarray of float64, (n,)
        Length of the outline of each true nucleus in pixels, see `outline_lengths`.
    truth_index, predicted_index : numpy.ndarray of int64, (k,)
        The two nuclei of each of the k pairs: indices from 0 into the arrays above.
    shared : numpy.ndarray of int64, (k,)
        Pixels that the two nuclei of a pair share, at least 1.
    size : int
        Pixels of either image.

    Examples
    --------
    >>> overlap = count_overlap([[7, 7, 0, 2]], [[1, 1, 1, 1]])
    >>> overlap.truth_labels.tolist(), overlap.shared.tolist(), overlap.iou.tolist()
    ([7, 2], [2, 1], [0.5, 0.25])
    """

    truth_labels: npt.NDArray[Any] = field(repr=False)
    predicted_labels: npt.NDArray[Any] = field(repr=False)
    truth_areas: Indices = field(repr=False)
    predicted_areas: Indices = field(repr=False)
    outlines: npt.NDArray[np.float64] = field(repr=False)
    truth_index: Indices = field(repr=False)
    predicted_index: Indices = field(repr=False)
    shared: Indices = field(repr=False)
    size: int

    @cached_property
    def union(self) -> Indices:
        """Pixels of either nucleus of each pair: int64 (k,)."""
        areas: Indices = self.truth_areas[self.truth_index] + self.predicted_areas[self.predicted_index]
        return areas - self.shared

    @cached_property
    def iou(self) -> npt.NDArray[np.float64]:
        """Intersection over union of each pair: float64 (k,), in (0, 1]."""
        return self.shared / self.union

    @cached_property
    def pixels(self) -> PixelCounts:
        """Agreement of the masks of all nuclei."""
        tp, truth, predicted = (int(areas.sum()) for areas in (self.shared, self.truth_areas, self.predicted_areas))
        return PixelCounts(tp=tp, fp=predicted - tp, fn=truth - tp, tn=self.size - truth - predicted + tp)

    def __repr__(self) -> str:
        return (
            f"Overlap({self.truth_labels.size} true nuclei, {self.predicted_labels.size} predicted, "
            f"{self.shared.size} pairs, {self.size} pixels)"
        )


def count_overlap(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> Overlap:
    """Count the pixels that each true nucleus shares with each predicted one.

    Time and memory grow with the pixels and with the pairs that there are, not with all that there could be.

    Parameters
    ----------
    truth, predicted : array-like of int, (H, W)
        Labels of the same size, 0 background, of any integer dtype. Values may have gaps; all pixels of a value are one
        nucleus, in however many pieces.

    Returns
    -------
    Overlap
        The sparse table.

    Raises
    ------
    InvalidInputError
        If an argument is not (H, W) integers from 0, or the sizes differ.

    Examples
    --------
    >>> count_overlap([[1, 1, 0, 2]], [[5, 5, 5, 0]])
    Overlap(2 true nuclei, 1 predicted, 1 pairs, 4 pixels)
    """
    true, found = check_labels(truth, "truth"), check_labels(predicted, "predicted")
    check_same_size(true, found, ("truth", "predicted"))

    import scipy.sparse

    # Pixels come in runs of the same pair of labels, a tenth or so as many: all further work is on runs.
    true_pixels, found_pixels = true.ravel(), found.ravel()
    steps = np.flatnonzero((true_pixels[1:] != true_pixels[:-1]) | (found_pixels[1:] != found_pixels[:-1]))
    starts = np.concatenate([[0], steps + 1])
    lengths = np.diff(starts, append=true_pixels.size)
    truth_labels, true_runs = _number(true_pixels[starts], true.size)
    predicted_labels, found_runs = _number(found_pixels[starts], true.size)
    both = (true_runs > 0) & (found_runs > 0)
    table = scipy.sparse.coo_array(
        (lengths[both], (true_runs[both] - 1, found_runs[both] - 1)), (truth_labels.size, predicted_labels.size)
    )
    pairs = table.tocsr()  # adds the runs of a pair up
    pairs.sort_indices()
    return Overlap(
        truth_labels=truth_labels,
        predicted_labels=predicted_labels,
        truth_areas=_areas(true_runs, lengths, truth_labels.size),
        predicted_areas=_areas(found_runs, lengths, predicted_labels.size),
        outlines=outline_lengths(np.repeat(true_runs, lengths).reshape(true.shape), truth_labels.size),
        truth_index=np.repeat(np.arange(truth_labels.size), np.diff(pairs.indptr)),
        predicted_index=pairs.indices.astype(np.int64),
        shared=pairs.data.astype(np.int64),
        size=true.size,
    )


def _number(values: npt.NDArray[Any], most: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """The labels among the values in the order of their first appearance, and each value's number there, from 1.

    A table takes labels to numbers. Labels above ``most``, for which it would be large, are ranked first.
    """
    if int(values.max()) > most:
        known, values = np.unique(np.append(values, values.dtype.type(0)), return_inverse=True)
        values = values[:-1]
    else:
        known, values = np.arange(int(values.max()) + 1, dtype=values.dtype), values.astype(np.intp)
    first = np.full(known.size, -1)
    first[values[::-1]] = np.arange(values.size)[::-1]  # the last of several assignments stays: the first appearance
    labels = np.flatnonzero(first[1:] >= 0) + 1
    labels = labels[np.argsort(first[labels])]
    number = np.zeros(known.size, np.int32)
    number[labels] = np.arange(1, labels.size + 1)
    return known[labels], number[values]


def _areas(runs: npt.NDArray[np.int32], lengths: Indices, count: int) -> Indices:
    # Floats hold whole numbers up to 2**53 exactly.
    return np.bincount(runs, weights=lengths, minlength=count + 1)[1:].astype(np.int64)
