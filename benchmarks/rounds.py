"""Timing ways of doing the same thing side by side: interleaved rounds, medians, and the median of the ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def compare(ways: Mapping[str, Callable[[], object]], rounds: int = 7, warm_up: bool = True) -> list[dict[str, object]]:
    """Run all ways once to warm up, then in turn; for each its seconds, and ratios to the first way."""
    for run in ways.values() if warm_up else ():
        run()
    measured = [{name: _seconds(run) for name, run in ways.items()} for _ in range(rounds)]
    first = next(iter(ways))
    rows = []
    for name in ways:
        ratio = statistics.median(spent[name] / spent[first] for spent in measured)
        rows.append(
            {
                "way": name,
                "seconds": round(statistics.median(spent[name] for spent in measured), 4),
                "of the first": round(ratio, 4),
                "times faster": round(1 / ratio, 2),
            }
        )
    return rows


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
