"""One-to-one assignment of true to predicted nuclei."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_range
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances.overlaps import Overlap

__all__ = ["assign", "assign_by_sum", "best_assignment"]

Indices = npt.NDArray[np.int64]

# Of assignments that are equally good otherwise, one is preferred by as little as this, so that scores are unique.
_TIE = 1e-9


def check_threshold(value: float) -> float:
    """An IoU above 0 and at most 1, rounded to 9 decimals: numpy.arange's 0.6000000000000001 means 0.6."""
    threshold = round(check_range(value, "an IoU threshold", 0, 1), 9)
    if threshold == 0:
        raise InvalidInputError(
            f"an IoU threshold must be above 0, got {value!r}; nuclei that share no pixel never match"
        )
    return threshold


def assign(overlap: Overlap, threshold: float = 0.5) -> Indices:
    """Assign as many true nuclei as possible to one predicted nucleus each, with an IoU of at least a threshold.

    Above 0.5 there is no choice: no nucleus can have such an IoU with two others. Below, of all assignments of most
    pairs the one whose IoUs add up to most is taken, counting what is left of both sides too, as StarDist does [1]_.

    Parameters
    ----------
    overlap : Overlap
        Of two label images.
    threshold : float
        IoU above 0, at most 1.

    Returns
    -------
    numpy.ndarray of int64, (tp,)
        Indices of the assigned pairs among those of the overlap, rising.

    Raises
    ------
    InvalidInputError
        If the threshold is out of bounds.

    References
    ----------
    .. [1] Schmidt et al.: Cell detection with star-convex polygons, MICCAI 2018; its package's function ``matching``.

    Examples
    --------
    >>> from nucleiseg.instances import count_overlap
    >>> overlap = count_overlap([[1, 1, 1, 2, 2]], [[8, 8, 0, 9, 9]])
    >>> pairs = assign(overlap, 0.6)
    >>> overlap.predicted_labels[overlap.predicted_index[pairs]].tolist(), overlap.iou[pairs].round(2).tolist()
    ([8, 9], [0.67, 1.0])
    """
    threshold = check_threshold(threshold)
    enough = overlap.iou >= threshold
    pairs = np.flatnonzero(enough)
    if not (_repeats(overlap.truth_index[pairs]) or _repeats(overlap.predicted_index[pairs])):
        return pairs
    # One pair more outweighs all IoUs together.
    most = 1 + min(overlap.truth_labels.size, overlap.predicted_labels.size)
    chosen = best_assignment(overlap, enough + overlap.iou * (1 + _TIE * enough) / most)
    return chosen[enough[chosen]]


def assign_by_sum(overlap: Overlap) -> Indices:
    """Assign nuclei one to one so that the sum of their IoUs is highest; of equal sums, where most pixels are shared.

    Returns indices of the assigned pairs among those of the overlap, rising.

    Examples
    --------
    >>> from nucleiseg.instances import count_overlap
    >>> overlap = count_overlap([[1, 1, 1, 2, 2]], [[8, 8, 8, 8, 9]])
    >>> overlap.shared[assign_by_sum(overlap)].tolist()
    [3, 1]
    """
    return best_assignment(overlap, overlap.iou + _TIE * overlap.shared / overlap.size)


def best_assignment(overlap: Overlap, weight: npt.NDArray[Any]) -> Indices:
    """The one-to-one choice of pairs whose weights add up to most: indices of those above 0, rising."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    useful = np.flatnonzero(weight > 0)
    if not useful.size:
        return useful
    i, j, gain = overlap.truth_index[useful], overlap.predicted_index[useful], weight[useful]
    n, m = overlap.truth_labels.size, overlap.predicted_labels.size
    # The solver leaves nobody alone. So each nucleus gets a stand-in to be paired with at no gain, and stand-ins of
    # nuclei that are paired can be paired with each other. Costs must be positive: each is lifted by the same amount.
    rows = np.concatenate([i, np.arange(n), n + np.arange(m), n + j]).astype(np.int32)  # which SciPy's solver needs
    columns = np.concatenate([j, m + np.arange(n), np.arange(m), m + i]).astype(np.int32)
    none = 2 * gain.max()
    costs = np.concatenate([none - gain, np.full(n + m + gain.size, none)])
    partner = np.empty(n + m, np.int64)
    chosen, chosen_columns = min_weight_full_bipartite_matching(coo_array((costs, (rows, columns))).tocsr())
    partner[chosen] = chosen_columns
    chosen_pairs: Indices = useful[partner[i] == j]
    return chosen_pairs


def _repeats(values: Indices) -> bool:
    return bool(values.size) and bool(np.bincount(values).max() > 1)
