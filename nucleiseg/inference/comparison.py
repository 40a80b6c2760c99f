"""The same images, scored before and after a model was changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nucleiseg.errors import InvalidInputError
from nucleiseg.inference.bootstrap import Bootstrap
from nucleiseg.inference.evaluation import Evaluation


@dataclass(frozen=True)
class Comparison:
    """Scores of the same images before and after a change, by the average precision at an IoU of .5.

    Parameters
    ----------
    before, after : Evaluation
        Of the same images in the same order.

    Raises
    ------
    InvalidInputError
        If the images differ.

    Examples
    --------
    >>> from nucleiseg.inference import ImageScore
    >>> from nucleiseg.instances import match
    >>> before = Evaluation([ImageScore("a", "", match([[1, 0, 2]], [[1, 0, 0]]))])
    >>> after = Evaluation([ImageScore("a", "", match([[1, 0, 2]], [[1, 0, 2]]))])
    >>> Comparison(before, after).scores, Comparison(before, after).gain
    ((0.5, 1.0), 0.5)
    """

    before: Evaluation
    after: Evaluation

    def __post_init__(self) -> None:
        names = [[image.id for image in scores.images] for scores in (self.before, self.after)]
        if names[0] != names[1]:
            raise InvalidInputError(
                f"before and after must be scores of the same images, got {len(names[0])} and {len(names[1])} that "
                "differ; evaluate both on one dataset"
            )

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.before.images)

    @property
    def scores(self) -> tuple[float, float]:
        """Average precision at an IoU of .5 before and after, in [0, 1], from the nuclei of all images together."""
        before, after = (_average_precision(_counts(scores).sum(axis=0)) for scores in (self.before, self.after))
        return float(before), float(after)

    @property
    def gain(self) -> float:
        """By how much the score rose; negative where it fell."""
        before, after = self.scores
        return after - before

    def interval(self, level: float = 0.95, rounds: int = 1000, seed: int = 0) -> tuple[float, float]:
        """Where the gain would lie for other images of the same kind: a bootstrap confidence interval.

        Images are drawn anew, as many as there are, with replacement, each with its scores before and after. With a
        handful of images it is a rough guess, and rather too narrow.

        Parameters
        ----------
        level : float
            Share of the draws inside the interval, in [0, 1].
        rounds : int
            How often images are drawn.
        seed : int
            Decides which.

        Returns
        -------
        (float, float)
            Low and high; with one image both are the gain.

        Raises
        ------
        InvalidInputError
            If a number is out of its range.
        """
        bootstrap = Bootstrap(level, rounds, seed)
        (drawn,) = bootstrap.draws([self.images])
        before, after = (_average_precision(_counts(scores)[drawn].sum(axis=1)) for scores in (self.before, self.after))
        return bootstrap.bounds(after - before)


def _counts(scores: Evaluation) -> npt.NDArray[np.int64]:
    """Matches, and all nuclei of either kind, of each image: (N, 2)."""
    counts = [image.counts.at(0.5) for image in scores.images]
    return np.array([(count.tp, count.tp + count.fp + count.fn) for count in counts], np.int64)


def _average_precision(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Matches over all nuclei, along the last axis; 1 where there are none."""
    matched, nuclei = counts[..., 0], counts[..., 1]
    return np.asarray(np.where(nuclei > 0, matched / np.maximum(nuclei, 1), 1.0), np.float64)
