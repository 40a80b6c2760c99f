"""Work on many records at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nucleiseg._checks import check_count
from nucleiseg._progress import progress
from nucleiseg._threads import count_cores

__all__ = ["in_threads"]

T = TypeVar("T")
R = TypeVar("R")


def in_threads(function: Callable[[T], R], items: Sequence[T], workers: int | None, description: str) -> Iterator[R]:
    """Results in the order of the items, with a progress bar; by default one thread for each core.

    Threads, not processes: decoding lets go of the interpreter, and scripts need no ``__main__`` guard.
    """
    pool = ThreadPoolExecutor(count_cores() if workers is None else check_count(workers, "workers"))
    try:
        yield from progress(pool.map(function, items), description, len(items))
    finally:
        pool.shutdown(cancel_futures=True)
