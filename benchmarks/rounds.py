"""Timing ways of doing the same thing side by side: interleaved rounds, medians, and the median of the ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def compare(ways: Mapping[str, Callable[[], object]], rounds: int = 7) -> str:
    """Run all ways once to warm up, then in turn; a table of seconds, and of ratios to the first way."""
    for run in ways.values():
        run()
    measured = [{name: _seconds(run) for name, run in ways.items()} for _ in range(rounds)]
    first = next(iter(ways))
    lines = [f"{'way':44} {'seconds':>9} {'of the first':>13} {'times faster':>13}"]
    for name in ways:
        median = statistics.median(spent[name] for spent in measured)
        ratio = statistics.median(spent[name] / spent[first] for spent in measured)
        lines.append(f"{name:44} {median:9.3f} {ratio:13.3f} {1 / ratio:13.2f}")
    return "\n".join(lines)


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
