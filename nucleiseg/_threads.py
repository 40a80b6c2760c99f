"""Work for several processor cores, of functions that let go of Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["at_once", "count_cores"]

T = TypeVar("T")


def at_once(first: Callable[[], T], *others: Callable[[], T]) -> list[T]:
    """The results of functions that run side by side, each in a thread: the first one in that of the caller.

    Starting a thread takes about as long as looking at 20,000 pixels.

    Examples
    --------
    >>> at_once(lambda: 1, lambda: 2)
    [1, 2]
    """
    if not others:
        return [first()]
    with ThreadPoolExecutor(len(others)) as pool:
        waiting = [pool.submit(other) for other in others]
        return [first(), *(found.result() for found in waiting)]


def count_cores() -> int:
    """How many processor cores this process may use.

    Examples
    --------
    >>> count_cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
