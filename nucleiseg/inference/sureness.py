"""The confidence of nuclei that are put together from windows: sums of probabilities are enough, no image of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from nucleiseg.inference.stitching import Settled
from nucleiseg.instances import Calibration
from nucleiseg.instances.confidence import rate_totals

__all__ = ["rate_settled", "without_unsure"]

Labels = npt.NDArray[np.int32]


def rate_settled(
    numbers: Labels, settled: Iterable[Settled], calibration: Calibration | None = None
) -> npt.NDArray[np.float64]:
    """As `nucleiseg.instances.rate` of the whole image.

    Parameters
    ----------
    numbers : numpy.ndarray of int32
        What the labels of the pieces become, from `nucleiseg.inference.stitching.final_numbers`.
    settled : iterable of Settled
        Of every window, with sums of probabilities.
    calibration : Calibration, optional
        Of the model.

    Returns
    -------
    numpy.ndarray of float64, (n,)
        Of nucleus 1 … n.
    """
    areas = np.zeros(int(numbers.max(initial=0)) + 1, np.int64)
    sums = np.zeros(areas.size)
    for part in settled:
        owners = numbers[part.names]
        np.add.at(areas, owners, part.areas)
        np.add.at(sums, owners, part.sums)
    return rate_totals(areas[1:], sums[1:], calibration)


def without_unsure(
    numbers: Labels, confidence: npt.NDArray[np.float64], least: float
) -> tuple[Labels, npt.NDArray[np.float64]]:
    """Leave out nuclei whose confidence is lower; the others are numbered anew, with their confidence.

    Examples
    --------
    >>> numbers, confidence = without_unsure(np.array([0, 2, 1, 3], np.int32), np.array([0.9, 0.2, 0.6]), 0.5)
    >>> numbers.tolist(), confidence.tolist()
    ([0, 0, 1, 2], [0.9, 0.6])
    """
    kept = confidence >= least
    table = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    return table[numbers], confidence[kept]
