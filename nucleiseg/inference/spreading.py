"""Windows of a large image on the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._optional import import_extra
from nucleiseg.errors import NucleisegError

__all__ = ["connect", "once", "spread"]

Labels = npt.NDArray[np.int32]
# So many windows are with each thread; results of more would pile up here while they are written.
WAITING = 3


@contextlib.contextmanager
def connect(scheduler: Any) -> Iterator[Any]:
    """A Dask client: of an address, which is closed in the end, or the client that is given.

    Raises
    ------
    MissingPackageError
        If Dask is not installed: ``pip install "nucleiseg[dask]"``.
    NucleisegError
        If nobody answers at the address.
    """
    distributed = import_extra("distributed", "dask", "a Dask cluster")
    if not isinstance(scheduler, str):
        yield scheduler
        return
    try:
        connected = distributed.Client(scheduler)
    except (OSError, ValueError) as error:  # nobody there; no address
        raise NucleisegError(
            f"no Dask scheduler answers at {scheduler} ({error}); check the address, or start one with `dask scheduler`"
        ) from error
    with connected as client:
        yield client


def spread(client: Any, work: Callable[..., Any], items: Sequence[Any], *shared: Any) -> Iterator[tuple[Any, Any]]:
    """Run ``work(item, *shared)`` for every item on the workers; yields items and futures, as they are done.

    A future has the result, or the error of this item alone; with an error the others go on.

    What a worker that dies has begun is done again by another, and workers that come later get their share. What is
    shared, an image in memory at times, is sent once.
    """
    distributed = import_extra("distributed", "dask", "a Dask cluster")
    waiting = list(reversed(items))
    running: dict[Any, Any] = {}
    # A task, since what is scattered is gone with the worker that holds it.
    held = client.submit(_together, *shared, pure=False, retries=3)

    def submitted() -> Iterator[Any]:
        most = WAITING * max(sum(client.nthreads().values()), 1) if waiting else 0
        while waiting and len(running) < most:
            item = waiting.pop()
            future = client.submit(_apply, work, item, held, pure=False, retries=3)
            running[future.key] = item
            yield future

    futures = distributed.as_completed(list(submitted()))
    for future in futures:
        yield running.pop(future.key), future
        for more in submitted():
            futures.add(more)


def _together(*shared: Any) -> tuple[Any, ...]:
    return shared


def _apply(work: Callable[..., Any], item: Any, shared: tuple[Any, ...]) -> Any:
    return work(item, *shared)


_KEPT = 2
_made: dict[Any, Any] = {}
_making = threading.RLock()


def once(make: Callable[..., Any], *arguments: Any) -> Any:
    """What a function makes of these arguments, made once in each process, whatever number of threads ask.

    Made anew where an argument is the path of a file that has changed. The last two are kept.
    """
    key = make, arguments, tuple(map(_state, arguments))
    with _making:
        value = _made.pop(key) if key in _made else make(*arguments)
        for old in [other for other in _made if other[:2] == key[:2]]:
            del _made[old]
        _made[key] = value  # the last one used is the last one to go
        while len(_made) > _KEPT:
            del _made[next(iter(_made))]
        return value


def _state(argument: Any) -> tuple[int, int] | None:
    """Time of the last change of a file, and its size."""
    if not isinstance(argument, (str, os.PathLike)) or not Path(argument).is_file():
        return None
    found = Path(argument).stat()
    return found.st_mtime_ns, found.st_size
