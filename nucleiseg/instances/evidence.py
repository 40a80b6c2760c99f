"""What tells how sure found nuclei are: sums over their pixels and outlines, out of which nuclei can be left again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array
from nucleiseg.instances._regions import find_totals
from nucleiseg.instances.contacts import find_sides, renumbered, touching_share
from nucleiseg.instances.filtering import renumbering

__all__ = ["Evidence", "find_evidence"]


@dataclass(frozen=True)
class Evidence:
    """Of the nuclei of an image, (n,) each.

    Parameters
    ----------
    labels : numpy.ndarray
        Their numbers in the label image, rising.
    areas : numpy.ndarray of int64
        Pixels.
    sums : numpy.ndarray of float64
        Of the probabilities of these.
    sides : numpy.ndarray of int64, (m, 3)
        As from `nucleiseg.instances.contacts.find_sides`, by rank: 1 is the first of the labels, 0 background.
    """

    labels: Array
    areas: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float64]
    sides: npt.NDArray[np.int64]

    @property
    def touching(self) -> npt.NDArray[np.float64]:
        """Of the outline of each, the share that touches another one."""
        return touching_share(self.sides, self.areas.size)

    def keeping(self, kept: npt.NDArray[np.bool_]) -> Evidence:
        """The same as of the image without the others, whose pixels are background then.

        Examples
        --------
        >>> every = find_evidence(np.array([[1, 1, 2, 0]]), np.full((1, 4), 0.5))
        >>> every.touching.round(2).tolist(), every.keeping(np.array([True, False])).touching.tolist()
        ([1.0, 0.5], [0.0])
        """
        sides = renumbered(self.sides, renumbering(kept))
        return Evidence(self.labels[kept], self.areas[kept], self.sums[kept], sides)


def find_evidence(labels: Array, probability: Array) -> Evidence:
    """The evidence in a label image (H, W), whose values may have gaps, and the probability of being nucleus (H, W).

    Examples
    --------
    >>> evidence = find_evidence(np.array([[7, 7, 0, 9]]), np.array([[0.9, 0.7, 0.1, 0.6]]))
    >>> evidence.labels.tolist(), evidence.areas.tolist(), evidence.sums.round(3).tolist()
    ([7, 9], [2, 1], [1.6, 0.6])
    """
    numbers, areas, sums = find_totals(labels, probability)
    sides = find_sides(labels)
    if numbers.size and int(numbers[-1]) != numbers.size:  # else they are their own ranks
        sides[:, :2] = np.searchsorted(np.concatenate([[0], numbers]), sides[:, :2])
    return Evidence(numbers, areas, sums, sides)
