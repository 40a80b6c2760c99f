"""Which nuclei are compared where those at the edge of an image don't count."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg.instances.overlaps import count_overlap

__all__ = ["only_whole"]


def only_whole(truth: npt.NDArray[Any], found: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Leave out true nuclei at the edge of the image, and what was found of them, so that it is no false nucleus.

    Found nuclei belong to them with half of their pixels or more, as each does that matches one at an IoU of .5. Others
    stay, wherever they lie: who leaves out found nuclei at the edge has done so.

    Parameters
    ----------
    truth, found : numpy.ndarray of int, (H, W)
        Labels of the same size, 0 background. Not changed.

    Returns
    -------
    truth, found : numpy.ndarray of int, (H, W)
        With the values that they had.

    Examples
    --------
    >>> labels = np.zeros((9, 9), int)
    >>> labels[0:4, 2:6], labels[5:8, 5:8] = 2, 7
    >>> truth, found = only_whole(labels, np.roll(labels, 1, axis=0))
    >>> np.unique(truth).tolist(), np.unique(found).tolist()
    ([0, 7], [0, 7])
    """
    cut = np.unique(np.concatenate([truth[0], truth[-1], truth[:, 0], truth[:, -1]]))
    overlap = count_overlap(truth, found)
    in_cut = np.isin(overlap.truth_labels, cut)[overlap.truth_index]
    shared = np.bincount(
        overlap.predicted_index[in_cut], overlap.shared[in_cut], minlength=overlap.predicted_labels.size
    )
    theirs = overlap.predicted_labels[2 * shared >= overlap.predicted_areas]
    return np.where(np.isin(truth, cut), 0, truth), np.where(np.isin(found, theirs), 0, found)
