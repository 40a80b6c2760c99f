"""Images drawn anew, to tell how far a score may be from that of other images of the same kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_count, check_range

__all__ = ["Bootstrap"]


@dataclass(frozen=True)
class Bootstrap:
    """How images are drawn, and which percentiles of their scores are an interval.

    Parameters
    ----------
    level : float
        Share of the draws inside the interval, in [0, 1].
    rounds : int
        How often images are drawn.
    seed : int
        Decides which.

    Raises
    ------
    InvalidInputError
        If a number is out of its range.

    References
    ----------
    .. [1] B. Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7, 1979.

    Examples
    --------
    >>> bootstrap = Bootstrap(rounds=1000)
    >>> (drawn,) = bootstrap.draws([2])
    >>> drawn.shape, bootstrap.bounds(np.array([0.0, 1.0])[drawn].mean(axis=1))
    ((1000, 2), (0.0, 1.0))
    """

    level: float = 0.95
    rounds: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self.level, "level", 0, 1)
        check_count(self.rounds, "rounds")
        check_count(self.seed, "seed", 0)

    def draws(self, sizes: Sequence[int]) -> Iterator[npt.NDArray[np.int64]]:
        """For each number of images, which of them are drawn in each round, with replacement: (rounds, size)."""
        rng = np.random.default_rng(self.seed)
        for size in sizes:
            yield rng.integers(size, size=(self.rounds, size))

    def bounds(self, scores: npt.ArrayLike) -> tuple[float, float]:
        """Low and high, of the scores of all rounds."""
        low, high = np.percentile(np.asarray(scores), [50 * (1 - self.level), 50 * (1 + self.level)])
        return float(low), float(high)
