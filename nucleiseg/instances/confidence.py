"""How sure it is that a found nucleus is one: a number for each, calibrated on labelled images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_labels, check_number_array, check_range, check_same_size, describe
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances._regression import regress, sigmoid
from nucleiseg.instances.assigning import assign
from nucleiseg.instances.evidence import Evidence, find_evidence
from nucleiseg.instances.overlaps import count_overlap

__all__ = ["Calibration", "calibrate", "rate", "rate_evidence", "rate_totals"]

MATCH = 0.5  # the IoU from which a nucleus counts as found
_CERTAIN = 1e-4  # probabilities are kept so far from 0 and 1, where the logarithm has no end
# Of few nuclei, a size that happens to be false once would be held against every nucleus of that size in other images.
_ENOUGH, _ENOUGH_OF_EACH = 100, 20  # nuclei, and those that match and those that do not, from which size counts
_LEAST_OF_EACH = 5  # from which certainty counts
_SCALES = (0.01, 100)
_BOUNDLESS = 1e12  # pixels: no nucleus is larger


@dataclass(frozen=True)
class Calibration:
    """What the confidence of a nucleus is computed from: a logistic model of four numbers.

    The numbers are the logit of the mean probability of its pixels, the logarithm of its area, the square of that
    (nuclei that are far smaller or larger than usual are less often real), and the share of its outline at which it
    touches another nucleus (the pieces of one that was cut apart touch each other).

    Parameters
    ----------
    intercept, certainty, size, size_squared, touching : float
        Coefficients; the defaults make the confidence the mean probability.
    smallest, largest : float
        The areas, in pixels that the network saw, between which it is known how size tells; nuclei beyond count as if
        they were of these.

    Raises
    ------
    InvalidInputError
        If one is no finite number, or the areas are not from 0 and rising.

    Examples
    --------
    >>> Calibration().certainty
    1.0
    """

    intercept: float = 0.0
    certainty: float = 1.0
    size: float = 0.0
    size_squared: float = 0.0
    touching: float = 0.0
    smallest: float = 0.0
    largest: float = _BOUNDLESS

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
                raise InvalidInputError(f"{name} must be a finite number, got {value!r}; use calibrate to find it")
        if not 0 <= self.smallest <= self.largest:
            raise InvalidInputError(
                f"smallest and largest must be areas from 0 that rise, got {self.smallest} and {self.largest}; "
                "use calibrate to find them"
            )

    @property
    def knows_size(self) -> bool:
        """Whether it was fitted on nuclei enough to learn from their sizes, too.

        Examples
        --------
        >>> Calibration().knows_size, Calibration(size=0.3, smallest=20, largest=900).knows_size
        (False, True)
        """
        return self.largest < _BOUNDLESS


def rate(
    labels: npt.ArrayLike, probability: npt.ArrayLike, calibration: Calibration | None = None, scale: float = 1.0
) -> npt.NDArray[np.float64]:
    """The confidence of each nucleus: how likely it is to match a real one at IoU .5.

    Parameters
    ----------
    labels : array-like of int, (H, W)
        0 background.
    probability : array-like, (H, W)
        Of being nucleus, in [0, 1].
    calibration : Calibration, optional
        From `calibrate`. Without it, the confidence is the mean probability of the nucleus's pixels.
    scale : float
        By how much the network saw the image magnified, .01 to 100: areas count in pixels that it saw.

    Returns
    -------
    numpy.ndarray of float64, (n,)
        In [0, 1], in the order of rising labels.

    Raises
    ------
    InvalidInputError
        If the labels are not (H, W) integers, the probability is not (H, W) in [0, 1], their sizes differ, or the scale
        is out of its range.

    Examples
    --------
    >>> rate([[1, 1, 0, 2]], [[0.9, 0.7, 0.1, 0.6]]).round(3).tolist()
    [0.8, 0.6]
    """
    evidence = find_evidence(*_check(labels, probability))
    return rate_evidence(evidence, calibration, check_range(scale, "scale", *_SCALES))


def rate_evidence(
    evidence: Evidence, calibration: Calibration | None = None, scale: float = 1.0
) -> npt.NDArray[np.float64]:
    """As `rate`, from what was gathered of an image before: (n,) float64.

    Examples
    --------
    >>> rate_evidence(find_evidence(np.array([[1, 1, 0, 2]]), np.array([[0.9, 0.7, 0.1, 0.6]]))).round(3).tolist()
    [0.8, 0.6]
    """
    return rate_totals(evidence.areas, evidence.sums, evidence.touching, calibration, scale)


def rate_totals(
    areas: npt.NDArray[np.int64],
    sums: npt.NDArray[np.float64],
    touching: npt.NDArray[np.float64],
    calibration: Calibration | None = None,
    scale: float = 1.0,
) -> npt.NDArray[np.float64]:
    """As `rate`, from what adds up over parts of an image: (n,) float64.

    Parameters
    ----------
    areas, sums, touching : numpy.ndarray, (n,)
        Of each nucleus the area, the sum of the probabilities of its pixels, and the share of its outline that touches
        another one (`nucleiseg.instances.contacts.touching_share`).
    calibration, scale
        As for `rate`.

    Examples
    --------
    >>> rate_totals(np.array([2, 1]), np.array([1.6, 0.6]), np.zeros(2)).round(3).tolist()
    [0.8, 0.6]
    """
    used = calibration or Calibration()
    coefficients = np.array([used.intercept, used.certainty, used.size, used.size_squared, used.touching])
    sizes = (areas * scale**2).clip(used.smallest, used.largest)
    return sigmoid(_features(sizes, sums / areas, touching) @ coefficients)


def calibrate(
    cases: Iterable[
        tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike, float]
    ],
    at_known_scale: bool = True,
) -> Calibration | None:
    """Find the calibration by which confidence is the share of nuclei that match, on labelled images.

    Logistic regression with a small penalty. Calibrate on images that the network was not trained on. Size and touching
    count where there are at least 100 nuclei, 20 of which match and 20 do not: fewer would tell of themselves alone.

    Parameters
    ----------
    cases : iterable of (truth, labels, probability) or (truth, labels, probability, scale)
        True labels, found labels and the probability of each image, all (H, W), and by how much the network saw it
        magnified, if it did.
    at_known_scale : bool
        Whether what will be rated is seen at the scale that suits the model. While that is still looked for, a nucleus
        of unusual size may be a real one at another scale, so the square of the logarithm does not count.

    Returns
    -------
    Calibration or None
        None where fewer than five of the nuclei that were found match, or fewer than five do not: nothing to learn
        from.

    Raises
    ------
    InvalidInputError
        As `rate`, and where truth and labels differ in size.

    References
    ----------
    .. [1] J. Platt, "Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized Likelihood
       Methods", Advances in Large Margin Classifiers, 1999.

    Examples
    --------
    >>> found = np.diag(range(1, 11))
    >>> truth, probability = np.where(found < 6, found, 0), np.where(found < 6, 0.9, 0.6)
    >>> calibration = calibrate([(truth, found, probability)])
    >>> sure, unsure = rate(found, probability, calibration)[[0, 9]]
    >>> bool(sure > 0.5 > unsure)
    True
    """
    sizes: list[npt.NDArray[Any]] = [np.empty(0)]
    features, matched = [np.empty((0, 5))], [np.empty(0, bool)]
    for truth, labels, probability, *scale in cases:
        checked, checked_probability = _check(labels, probability)
        overlap = count_overlap(truth, checked)
        partners = overlap.predicted_labels[overlap.predicted_index[assign(overlap, MATCH)]]
        found = find_evidence(checked, checked_probability)
        sizes.append(found.areas * check_range(scale[0] if scale else 1.0, "scale", *_SCALES) ** 2)
        features.append(_features(sizes[-1], found.sums / found.areas, found.touching))
        matched.append(np.isin(found.labels, partners))
    seen, x, y = np.concatenate(sizes), np.concatenate(features), np.concatenate(matched)
    of_each = min(np.count_nonzero(y), np.count_nonzero(~y))
    if of_each < _LEAST_OF_EACH:
        return None
    if y.size < _ENOUGH or of_each < _ENOUGH_OF_EACH:
        return Calibration(*regress(x[:, :2], y).tolist())
    fitted = _regress_sizes(x, y) if at_known_scale else np.insert(regress(np.delete(x, 3, axis=1), y), 3, 0.0)
    return Calibration(*np.append(fitted, [seen.min(), seen.max()]).tolist())


def _regress_sizes(x: npt.NDArray[np.float64], y: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Coefficients of all features, of which the last but one is the square of the one before.

    Over the sizes that there are, a logarithm and its square rise together. What tells apart both the small and the
    large needs large coefficients of opposite signs, which the penalty forbids; those of the square around the mean
    are small.
    """
    middle = x[:, 2].mean()
    around = x.copy()
    around[:, 3] = (x[:, 2] - middle) ** 2
    found = regress(around, y)
    found[0] += found[3] * middle**2
    found[2] -= 2 * found[3] * middle
    return found


def _check(labels: npt.ArrayLike, probability: npt.ArrayLike) -> tuple[Array, Array]:
    values, likely = check_labels(labels), check_number_array(probability, "probability")
    if likely.ndim != 2 or (likely.size and not 0 <= likely.min() <= likely.max() <= 1):
        raise InvalidInputError(
            f"probability must be (H, W) in [0, 1], got {describe(likely)}; pass Prediction.probability"
        )
    check_same_size(values, likely, ("labels", "probability"))
    return values, likely


def _features(
    areas: npt.NDArray[Any], means: npt.NDArray[np.float64], touching: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    mean = means.clip(_CERTAIN, 1 - _CERTAIN)
    size = np.log(areas)
    return np.stack([np.ones_like(mean), np.log(mean / (1 - mean)), size, size**2, touching], axis=1)
