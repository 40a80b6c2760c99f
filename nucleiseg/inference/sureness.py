"""The confidence of nuclei that are put together from windows: from sums over windows, without an image of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from nucleiseg.inference.stitching import Settled
from nucleiseg.instances import Calibration
from nucleiseg.instances.confidence import rate_totals
from nucleiseg.instances.contacts import meet, renumbered, touching_share
from nucleiseg.instances.filtering import renumbering

__all__ = ["rate_settled", "settled_areas", "without_unsure"]

Labels = npt.NDArray[np.int32]


def rate_settled(
    numbers: Labels, settled: Iterable[Settled], calibration: Calibration | None = None, scale: float = 1.0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Area and confidence of each nucleus, the latter as `nucleiseg.instances.rate` of the whole image.

    Parameters
    ----------
    numbers : numpy.ndarray of int32
        What the labels of the pieces become, from `nucleiseg.inference.stitching.final_numbers`.
    settled : iterable of Settled
        Of every window, with sums of probabilities.
    calibration : Calibration, optional
        Of the model.
    scale : float
        By how much the network saw the image magnified.

    Returns
    -------
    areas, confidence : numpy.ndarray of int64 and of float64, (n,)
        Of nucleus 1 … n.
    """
    parts = list(settled)
    areas = settled_areas(numbers, parts)
    sums = np.zeros(areas.size + 1)
    for part in parts:
        np.add.at(sums, numbers[part.names], part.sums)
    touching = touching_share(_all_sides(numbers, parts), areas.size)
    return areas, rate_totals(areas, sums[1:], touching, calibration, scale)


def settled_areas(numbers: Labels, settled: Iterable[Settled]) -> npt.NDArray[np.int64]:
    """Area of each nucleus, (n,), as `rate_settled` has it; of the windows, no probabilities are needed."""
    areas = np.zeros(int(numbers.max(initial=0)) + 1, np.int64)
    for part in settled:
        np.add.at(areas, numbers[part.names], part.areas)
    return areas[1:]


def _all_sides(numbers: Labels, parts: Sequence[Settled]) -> npt.NDArray[np.int64]:
    """Where nuclei meet, within windows and from window to window."""
    begins = {(part.tile.keep[0].start, part.tile.keep[1].start): part for part in parts}
    found = []
    for part in parts:
        rows, columns = part.tile.keep
        _, bottom, _, right = part.rims
        below, beside = begins.get((rows.stop, columns.start)), begins.get((rows.start, columns.stop))
        found.append(part.sides)
        found += [] if below is None else [meet(bottom, below.rims[0])]
        found += [] if beside is None else [meet(right, beside.rims[2])]
    return renumbered(np.concatenate([np.empty((0, 3), np.int64), *found]), numbers)


def without_unsure(
    numbers: Labels, confidence: npt.NDArray[np.float64], kept: npt.NDArray[np.bool_]
) -> tuple[Labels, npt.NDArray[np.float64]]:
    """Leave out all nuclei but these, which are numbered anew, with their confidence.

    Examples
    --------
    >>> numbers, confidence = np.array([0, 2, 1, 3], np.int32), np.array([0.9, 0.2, 0.6])
    >>> numbers, confidence = without_unsure(numbers, confidence, confidence >= 0.5)
    >>> numbers.tolist(), confidence.tolist()
    ([0, 0, 1, 2], [0.9, 0.6])
    """
    return renumbering(kept)[numbers], confidence[kept]
