"""Would more images help? Scores by the number of images that were learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nucleiseg.errors import InvalidInputError

__all__ = ["CurvePoint", "LearningCurve"]

WORTHWHILE = 0.01
"""What the last step of a curve must gain for more images to be worth it."""


@dataclass(frozen=True)
class CurvePoint:
    """One point of a learning curve: ``images`` learned from, and the ``score`` on the held-out ones, in [0, 1].

    Examples
    --------
    >>> CurvePoint(images=4, score=0.61).images
    4
    """

    images: int
    score: float


@dataclass(frozen=True)
class LearningCurve:
    """Average precision at an IoU of .5 on the held-out images, by the number of images that were learned from.

    Parameters
    ----------
    points : sequence of CurvePoint
        By rising number of images, at least two; 0 images are the model as it was.

    Raises
    ------
    InvalidInputError
        If there are fewer than two points, or their numbers do not rise.

    Examples
    --------
    >>> print(LearningCurve([CurvePoint(0, 0.42), CurvePoint(3, 0.55), CurvePoint(6, 0.6)]))
    images to learn from      0      3      6
    AP at IoU .5          0.420  0.550  0.600
    More images would probably help: from 3 to 6 the score rose by 0.050.
    """

    points: Sequence[CurvePoint]

    def __post_init__(self) -> None:
        numbers = [point.images for point in self.points]
        if len(numbers) < 2 or any(low >= high for low, high in pairwise(numbers)):
            raise InvalidInputError(
                f"a learning curve must have two points at least, of rising numbers of images, got {numbers}; "
                "add images to learn from"
            )

    @property
    def more_would_help(self) -> bool:
        """Whether more images would probably help: the last step of the curve still gained 0.01 or more."""
        return self._last_gain >= WORTHWHILE

    @property
    def _last_gain(self) -> float:
        return self.points[-1].score - self.points[-2].score

    def to_dict(self) -> dict[str, Any]:
        """Points and verdict in JSON values."""
        points = [{"images": point.images, "ap50": point.score} for point in self.points]
        return {"points": points, "more_would_help": self.more_would_help}

    def __str__(self) -> str:
        before, last = self.points[-2:]
        verdict = "More images would probably help" if self.more_would_help else "More images would hardly help"
        change = "rose" if self._last_gain >= 0 else "fell"
        return "\n".join(
            [
                "images to learn from  " + "  ".join(f"{point.images:5d}" for point in self.points),
                "AP at IoU .5          " + "  ".join(f"{point.score:.3f}" for point in self.points),
                f"{verdict}: from {before.images} to {last.images} the score {change} by {abs(self._last_gain):.3f}.",
            ]
        )
