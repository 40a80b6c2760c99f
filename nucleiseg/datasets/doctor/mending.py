"""Mend the labels of one image, as far as that takes no guess."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleiseg.datasets.doctor.facts import Facts
from nucleiseg.datasets.doctor.label_rules import SINGLE, whole_problem
from nucleiseg.datasets.doctor.regions import Ints, Regions, find_regions
from nucleiseg.datasets.doctor.settings import CheckSettings

__all__ = ["Mended", "mend"]

# Labels that are wrong as a whole: any change would only hide it.
_BEYOND = ("damaged_labels", "all_foreground")


@dataclass(frozen=True)
class Mended:
    """What was done to the labels of one image.

    Parameters
    ----------
    pieces : int
        New labels for pieces of others.
    specks : int
        Labels, or pieces of them, that were deleted.
    holes : int
        Holes that were filled.
    gaps : int
        Missing numbers that were closed up; a single nucleus may have the number 2, by which a file is no mask.
    beyond : str
        Why nothing was done: the kind of the finding.
    """

    pieces: int = 0
    specks: int = 0
    holes: int = 0
    gaps: int = 0
    beyond: str = ""

    @property
    def changed(self) -> bool:
        """Whether the labels differ from what they were."""
        return bool(self.pieces or self.specks or self.holes or self.gaps)


def mend(labels: NDArray[np.int32], facts: Facts, settings: CheckSettings) -> tuple[NDArray[np.int32], Mended]:
    """Split labels in pieces, delete specks, fill holes, and number from 1 without gaps, in this order.

    Nuclei that lost pixels to a later mask are left alone: what is in pieces may be one nucleus behind another.

    Parameters
    ----------
    labels : (H, W) int32 array
        0 is background. Not changed.
    facts : Facts
        Those of the labels.
    settings : CheckSettings
        What is a speck.

    Returns
    -------
    labels : (H, W) int32 array
    mended : Mended
        What was done.
    """
    problem = whole_problem(facts, settings)
    if problem in _BEYOND:
        return labels, Mended(beyond=problem)
    spared = np.array([0, *(one.earlier for one in facts.notes.overlaps)])
    before = int(np.unique(labels[labels > 0]).size)
    regions = find_regions(labels)
    numbers, specks = _numbers(regions, spared, settings.speck_area)
    regions = find_regions(numbers[regions.image].astype(np.int32))
    filled = (regions.hole_in > 0) & ~np.isin(regions.hole_in, spared)
    whole = np.where(filled, regions.hole_in, regions.value)[regions.image]
    values, ranks = np.unique(whole, return_inverse=True)
    result = ranks.reshape(labels.shape).astype(np.int32) + (values[0] > 0)
    after = int(result.max())
    highest = int(labels.max(initial=0))
    return result, Mended(
        pieces=max(0, after - before + int(specks.labels)),
        specks=int(specks.regions),
        holes=int(filled.sum()),
        gaps=0 if (before, highest) == SINGLE else max(0, highest - before),
    )


@dataclass(frozen=True)
class _Specks:
    regions: int
    labels: int


def _numbers(regions: Regions, spared: Ints, speck_area: int) -> tuple[Ints, _Specks]:
    """A number for each region: its label, a new one for all but the largest piece of a label, 0 for specks."""
    numbers = regions.value.copy()
    free = ~np.isin(regions.value, spared)
    speck = free & (regions.area < speck_area)
    numbers[speck] = 0
    # The largest piece first, so that it is the one that keeps the number.
    order = np.lexsort((-regions.area, numbers))
    again = np.zeros(numbers.size, bool)
    again[order[1:]] = numbers[order[1:]] == numbers[order[:-1]]
    again &= free & (numbers > 0)
    numbers[again] = regions.value.max(initial=0) + 1 + np.arange(again.sum())
    lost = np.setdiff1d(regions.value[speck], numbers)
    return numbers, _Specks(int(speck.sum()), int(lost.size))
