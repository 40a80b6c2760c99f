"""Does the size of the nuclei in an image suit the model, and by how much should the image be resized?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_labels, check_range
from nucleiseg.errors import InvalidInputError

SMALLEST, LARGEST = 1 / 8, 4.0
"""Images are shrunk to an eighth at most, and magnified four times: nothing that is smaller can be told from noise."""

_PERCENTILES = (5, 50, 95)
_KNOWN = (0.55, 3.0)  # of the typical diameter: of what lies further off, training has too little to know it well
_SHRUNK = 1.5  # of the typical diameter: what is too large is not made smaller than that, which would cost its outline


@dataclass(frozen=True)
class Passport:
    """The diameters of the nuclei that a model was trained on, in pixels.

    A diameter is that of a circle of the same area.

    Parameters
    ----------
    low, typical, high : float
        5th percentile and median, and the 95th percentile as far as training magnified it.

    Raises
    ------
    InvalidInputError
        If they are not above 0 and rising.

    Examples
    --------
    >>> passport = Passport(8, 18, 45)
    >>> passport.factor(18), passport.factor(36), passport.factor(90)
    (1.0, 1.0, 0.3)
    """

    low: float
    typical: float
    high: float

    def __post_init__(self) -> None:
        values = [check_range(value, name, 0, 1e6) for name, value in vars(self).items()]
        if not 0 < values[0] <= values[1] <= values[2]:
            raise InvalidInputError(
                f"the diameters of a passport must be above 0 and rising, got {tuple(values)}; "
                "make it with Passport.of_labels"
            )

    @classmethod
    def of_labels(cls, labels: Iterable[npt.ArrayLike], largest: float = 1.0) -> Passport | None:
        """From the label images of a training set; None if there is no nucleus.

        Parameters
        ----------
        labels : iterable of array-like of int, (H, W)
            0 background.
        largest : float
            By how much images were magnified at most while training, at least 1: larger nuclei are known, too. What
            training shrank is not counted: small nuclei are better seen magnified.

        Examples
        --------
        >>> Passport.of_labels([np.kron(np.diag([1, 2]), np.ones((4, 4), int))]).typical.__round__(2)
        4.51
        """
        diameters = np.concatenate([np.empty(0), *map(measure_diameters, labels)])
        if not diameters.size:
            return None
        low, typical, high = (float(value) for value in np.percentile(diameters, _PERCENTILES))
        return cls(low, typical, high * check_range(largest, "largest", 1, 100))

    @property
    def known(self) -> tuple[float, float]:
        """The diameters at which the model works best: those of the passport, near the typical one.

        Examples
        --------
        >>> Passport(8, 18, 45).known
        (9.9, 45)
        """
        low, high = _KNOWN
        return max(self.low, round(low * self.typical, 6)), min(self.high, high * self.typical)

    def factor(self, diameter: float) -> float:
        """By how much to magnify an image with nuclei of this diameter: 1 if it is `known`.

        Smaller ones get the typical diameter, larger ones one and a half times that.

        Raises
        ------
        InvalidInputError
            If the diameter is not a number above 0.
        """
        if not check_range(diameter, "diameter", 0, 1e6):
            raise InvalidInputError("diameter must be above 0 pixels, got 0; leave it out to have it estimated")
        low, high = self.known
        if low <= diameter <= high:
            return 1.0
        wanted = self.typical if diameter < low else min(_SHRUNK * self.typical, high)
        return float(np.clip(wanted / diameter, SMALLEST, LARGEST))

    def step(self, diameter: float, factor: float) -> float:
        """The next factor to try, where nuclei of this diameter (in the image's pixels) were found at ``factor``.

        The same factor where they suit the model, or where no other can be tried.

        Examples
        --------
        >>> Passport(8, 18, 45).step(90, factor=1.0), Passport(8, 18, 45).step(90, factor=0.3)
        (0.3, 0.3)
        """
        return float(np.clip(factor * self.factor(diameter * factor), SMALLEST, LARGEST))


def measure_diameters(labels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The diameter of a circle of each nucleus's area, in pixels.

    Parameters
    ----------
    labels : array-like of int, (H, W)
        0 background.

    Returns
    -------
    numpy.ndarray of float64, (n,)
        In the order of rising labels.

    Raises
    ------
    InvalidInputError
        If the labels are not (H, W) integers from 0.

    Examples
    --------
    >>> measure_diameters(np.ones((2, 2), int)).round(3).tolist()
    [2.257]
    """
    values = check_labels(labels)
    _, areas = np.unique(values[values > 0], return_counts=True)
    return _diameters(areas)


def _diameters(areas: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = np.sqrt(4 / np.pi * areas)
    return result


def usual_diameter(labels: npt.ArrayLike) -> float | None:
    """The diameter of which nuclei with half of the nuclear pixels are smaller; None if there is no nucleus.

    Specks and fragments hardly move it, as a median over nuclei would be moved.

    Raises
    ------
    InvalidInputError
        If the labels are not (H, W) integers from 0.

    Examples
    --------
    >>> labels = np.kron(np.diag([1, 0, 2]), np.ones((8, 8), int))
    >>> labels[0, 10:20:2] = range(3, 8)  # five specks
    >>> round(usual_diameter(labels), 2)
    9.03
    """
    values = check_labels(labels)
    _, areas = np.unique(values[values > 0], return_counts=True)
    return usual_diameter_of(areas)


def usual_diameter_of(areas: npt.NDArray[np.integer[Any]]) -> float | None:
    """As `usual_diameter`, from the area of each nucleus in pixels.

    Examples
    --------
    >>> round(usual_diameter_of(np.array([64, 1, 1, 64])), 2)
    9.03
    """
    if not areas.size:
        return None
    rising = np.sort(areas)
    # Whole pixels: rounding would decide where exactly half of them are smaller.
    upto = np.cumsum(rising)
    return float(_diameters(rising)[np.searchsorted(2 * upto, upto[-1])])
