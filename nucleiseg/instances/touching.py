"""Which nuclei touch others: those that are hard to tell apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_labels

__all__ = ["find_touching"]


def find_touching(labels: npt.ArrayLike) -> npt.NDArray[Any]:
    """The labels of nuclei that touch another one, at an edge or a corner of their pixels.

    Parameters
    ----------
    labels : array-like of int, (H, W)
        0 is background.

    Returns
    -------
    numpy.ndarray, (n,)
        Rising, of the labels' dtype; empty where no two nuclei touch.

    Raises
    ------
    InvalidInputError
        If the labels are not (H, W) integers from 0.

    Examples
    --------
    >>> find_touching([[1, 2, 0, 3], [0, 0, 0, 3]]).tolist()
    [1, 2]
    """
    array = check_labels(labels, "labels")
    height, width = array.shape
    found = []
    # A pixel and its neighbour to the right, below, and below on either side: every pair of neighbours once.
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = array[: height - down, max(0, -right) : width - max(0, right)]
        other = array[down:, max(0, right) : width + min(0, right)]
        border = (one != other) & (one > 0) & (other > 0)
        found += [one[border], other[border]]
    return np.unique(np.concatenate(found))
