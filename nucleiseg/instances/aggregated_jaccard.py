"""The aggregated Jaccard index and its one-to-one variant: shared pixels over joined pixels, over all nuclei."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nucleiseg._checks import check_count
from nucleiseg.instances.assigning import assign_by_sum
from nucleiseg.instances.overlaps import Overlap

__all__ = ["JaccardCounts", "count_aji", "count_aji_plus"]


@dataclass(frozen=True)
class JaccardCounts:
    """Pixels that nuclei share with their partners, and pixels of both together. Adds up (``+``).

    Attributes
    ----------
    shared, joined : int
        Nuclei without a partner add all their pixels to the second.

    Raises
    ------
    InvalidInputError
        If a count is negative or not whole.

    Examples
    --------
    >>> (JaccardCounts(shared=3, joined=4) + JaccardCounts(shared=1, joined=4)).index
    0.5
    """

    shared: int
    joined: int

    def __post_init__(self) -> None:
        check_count(self.shared, "shared", low=0)
        check_count(self.joined, "joined", low=0)

    def __add__(self, other: JaccardCounts) -> JaccardCounts:
        if not isinstance(other, JaccardCounts):
            return NotImplemented
        return JaccardCounts(self.shared + other.shared, self.joined + other.joined)

    @property
    def index(self) -> float:
        """Shared over joined pixels, in [0, 1]; 1 without any nuclei."""
        return self.shared / self.joined if self.joined else 1.0


def count_aji(overlap: Overlap) -> JaccardCounts:
    """Count for the aggregated Jaccard index [1]_: each true nucleus with the predicted one of its highest IoU.

    A predicted nucleus may be the partner of several true ones, and then adds to the joined pixels several times; those
    that are nobody's partner add their area. Of equal IoUs, the predicted nucleus counts whose first pixel comes first.

    References
    ----------
    .. [1] Kumar et al.: A dataset and a technique for generalized nuclear segmentation for computational pathology,
       IEEE Transactions on Medical Imaging 36, 2017.

    Examples
    --------
    >>> from nucleiseg.instances import count_overlap
    >>> count_aji(count_overlap([[1, 1, 2, 2]], [[8, 8, 8, 8]]))
    JaccardCounts(shared=4, joined=8)
    """
    by_iou = np.lexsort((overlap.predicted_index, -overlap.iou, overlap.truth_index))
    best = by_iou[np.diff(overlap.truth_index[by_iou], prepend=-1) > 0]
    alone_truth = np.ones(overlap.truth_labels.size, bool)
    alone_predicted = np.ones(overlap.predicted_labels.size, bool)
    alone_truth[overlap.truth_index[best]] = False
    alone_predicted[overlap.predicted_index[best]] = False
    joined = overlap.union[best].sum() + overlap.truth_areas[alone_truth].sum()
    return JaccardCounts(
        shared=int(overlap.shared[best].sum()), joined=int(joined + overlap.predicted_areas[alone_predicted].sum())
    )


def count_aji_plus(overlap: Overlap) -> JaccardCounts:
    """Count for AJI+ [1]_: nuclei are assigned one to one so that the sum of their IoUs is highest.

    References
    ----------
    .. [1] Graham et al.: HoVer-Net: simultaneous segmentation and classification of nuclei in multi-tissue histology
       images, Medical Image Analysis 58, 2019; the variant is from its code.

    Examples
    --------
    >>> from nucleiseg.instances import count_overlap
    >>> count_aji_plus(count_overlap([[1, 1, 2, 2]], [[8, 8, 8, 8]]))
    JaccardCounts(shared=2, joined=6)
    """
    shared = int(overlap.shared[assign_by_sum(overlap)].sum())
    return JaccardCounts(shared, int(overlap.truth_areas.sum() + overlap.predicted_areas.sum()) - shared)
