"""Choosing a decoder's thresholds by a score on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Mapping

COARSE = tuple(step / 10 for step in range(1, 10))
FINE = (-0.05, 0.05)
ROUNDS = 2


def tune_thresholds(score: Callable[[Mapping[str, float]], float], start: Mapping[str, float]) -> dict[str, float]:
    """Thresholds in (0, 1) with the best score, found one after the other.

    Each threshold is tried at .1, .2 … .9 and then .05 beside the best, the others staying as they are; after two
    rounds the gain is smaller than the difference between two sets of validation images.

    Parameters
    ----------
    score : function
        From thresholds to a number; greater is better.
    start : mapping of str to float
        Where the search starts, usually a head's defaults. Kept where nothing is better.

    Returns
    -------
    dict of str to float
        With the same names.

    Examples
    --------
    >>> tune_thresholds(lambda at: -abs(at["probability"] - 0.34), {"probability": 0.5})
    {'probability': 0.35}
    """
    best = dict(start)
    tried: dict[tuple[float, ...], float] = {}

    def value(thresholds: Mapping[str, float]) -> float:
        key = tuple(thresholds.values())
        if key not in tried:
            tried[key] = score(thresholds)
        return tried[key]

    for _ in range(ROUNDS):
        for name in start:
            for candidates in (COARSE, None):
                steps = candidates or tuple(round(best[name] + step, 4) for step in FINE)
                for threshold in steps:
                    if 0 < threshold < 1 and value({**best, name: threshold}) > value(best):
                        best[name] = threshold
    return best
