"""Windows of a large image on the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._optional import import_extra

__all__ = ["connect", "spread"]

Labels = npt.NDArray[np.int32]
# So many windows wait at each worker; results of more would pile up here while they are written.
WAITING = 3


def connect(scheduler: Any) -> Any:
    """A Dask client: of an address, or the client itself.

    Raises
    ------
    MissingPackageError
        If Dask is not installed: ``pip install "nucleiseg[dask]"``.
    """
    if not isinstance(scheduler, str):
        return scheduler
    return import_extra("distributed", "dask", "a Dask cluster").Client(scheduler)


def spread(client: Any, work: Callable[..., Any], items: Sequence[Any], *shared: Any) -> Iterator[tuple[Any, Any]]:
    """Run ``work(item, *shared)`` for every item on the workers; yields items and results as they come.

    What a worker that dies has begun is done again by another.
    """
    distributed = import_extra("distributed", "dask", "a Dask cluster")
    waiting = list(reversed(items))
    workers = max(len(client.scheduler_info()["workers"]), 1)
    running = {}

    def submit() -> Any:
        item = waiting.pop()
        future = client.submit(work, item, *shared, pure=False, retries=3)
        running[future.key] = item
        return future

    futures = distributed.as_completed([submit() for _ in range(min(len(waiting), WAITING * workers))])
    for future in futures:
        yield running.pop(future.key), future.result()
        if waiting:
            futures.add(submit())


@lru_cache(maxsize=2)
def once(make: Callable[..., Any], *arguments: Any) -> Any:
    """What a function makes of these arguments, made once in each process."""
    return make(*arguments)
