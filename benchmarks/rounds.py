"""Timing ways of doing the same thing side by side: interleaved rounds, medians, and the median of the ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def compare(
    ways: Mapping[str, Callable[[], object]], rounds: int = 7, warm_up: bool = True, processor: bool = False
) -> list[dict[str, object]]:
    """Run all ways once to warm up, then in turn; for each its seconds, and ratios to the first way.

    With ``processor``, also the seconds of all cores together, and their ratio: other programs change it less.
    """
    for run in ways.values() if warm_up else ():
        run()
    measured = [{name: _seconds(run) for name, run in ways.items()} for _ in range(rounds)]
    first = next(iter(ways))
    rows = []
    for name in ways:
        seconds, processors = zip(*(spent[name] for spent in measured), strict=True)
        ratio, processor_ratio = (
            statistics.median(spent[name][which] / spent[first][which] for spent in measured) for which in (0, 1)
        )
        row: dict[str, object] = {
            "way": name,
            "seconds": round(statistics.median(seconds), 4),
            "of the first": round(ratio, 4),
            "times faster": round(1 / ratio, 2),
        }
        if processor:
            row["processor seconds"] = round(statistics.median(processors), 4)
            row["of the first's"] = round(processor_ratio, 4)
        rows.append(row)
    return rows


def _seconds(run: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of the processor's cores."""
    start, worked = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - worked
