"""Scores as tables show them: with 95 % bootstrap intervals over images, since no two sets of images are alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from nucleiseg.inference import Evaluation, ImageScore
from nucleiseg.inference.bootstrap import Bootstrap
from nucleiseg.instances import InstanceCounts

Indices = npt.NDArray[np.int64]


def with_interval(score: float, bounds: tuple[float, float], digits: int = 2) -> str:
    """Such as ``0.795 (0.73-0.85)``; digits are those of the bounds."""
    low, high = bounds
    return f"{score:.3f} ({low:.{digits}f}-{high:.{digits}f})"


def by_group(evaluation: Evaluation, names: Sequence[str] = ("ap50", "dsb", "mean_dice")) -> dict[str, dict[str, str]]:
    """Of each group of images and of all, the scores of these names."""
    scores, intervals = evaluation.to_dict(), evaluation.intervals(names)
    return {
        group: {name: with_interval(scores[group][name], found[name]) for name in names}
        for group, found in intervals.items()
    }


def of_counts(counts: Sequence[InstanceCounts], names: Sequence[str] = ("ap50",)) -> dict[str, str]:
    """Scores of these names over images whose nuclei were matched one by one."""
    return by_group(Evaluation([ImageScore("", "", count) for count in counts]), names)["all"]


def of_images(score: Callable[[Indices], float], images: int, digits: int = 2) -> str:
    """Any score of some of the images, which it gets as their indices; one may come several times."""
    bootstrap = Bootstrap()
    (draws,) = bootstrap.draws([images])
    return with_interval(score(np.arange(images)), bootstrap.bounds([score(drawn) for drawn in draws]), digits)
