"""Work that is shared out over the workers of a Dask cluster: windows of a large image, or many images."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._files import state_of
from nucleiseg._optional import import_extra
from nucleiseg._version import __version__
from nucleiseg.errors import ClusterError, InvalidInputError

__all__ = ["connect", "once", "spread"]

Labels = npt.NDArray[np.int32]
# So many items are with each thread; results of more would pile up here while they are written.
WAITING = 3


@contextlib.contextmanager
def connect(scheduler: Any) -> Iterator[Any]:
    """A Dask client: of an address, which is closed in the end, or the client that is given.

    Raises
    ------
    MissingPackageError
        If Dask is not installed: ``pip install "nucleiseg[dask]"``.
    InvalidInputError
        If it is no address of a kind that Dask can be reached by.
    ClusterError
        If nobody answers there.
    """
    distributed = import_extra("distributed", "dask", "a Dask cluster")
    if not isinstance(scheduler, str):
        yield scheduler
        return
    try:
        connected = _connected(distributed, scheduler)
    except OSError as error:
        raise ClusterError(
            f"no Dask scheduler answers at {scheduler} ({error}); check the address, or start one with `dask scheduler`"
        ) from error
    except (ValueError, TypeError) as error:  # no port, an unknown protocol, or one that needs keys
        raise InvalidInputError(
            f"the scheduler must be an address such as tcp://10.0.0.1:8786, got {scheduler!r} ({error}); from Python, "
            "pass a distributed.Client that is connected"
        ) from error
    with connected as client:
        yield client


def _connected(distributed: Any, address: str) -> Any:
    """A client, which is not that of the process.

    One that can't reach the scheduler is closed here: Dask would leave it open for the garbage collector, which closes
    it under a lock, and waits for ever where this very thread holds the lock, since it is making the next client.
    """
    client = distributed.Client.__new__(distributed.Client)
    try:
        client.__init__(address, set_as_default=False)
    except BaseException:
        with contextlib.suppress(AttributeError):  # it failed before there was anything to close
            client.close()
        raise
    return client


def spread(client: Any, work: Callable[..., Any], items: Sequence[Any], *shared: Any) -> Iterator[tuple[Any, Any]]:
    """Run ``work(item, *shared)`` for every item on the workers; yields items and futures, as they are done.

    A future has the result, or the error of this item alone; with an error the others go on. It is held here, and
    outlives the cluster.

    What a worker that dies has begun is done again by another (by as many as Dask's ``allowed-failures`` says), and
    workers that come later get their share. What fails otherwise would fail again. What is shared, an image in memory
    at times, is sent once.

    Raises
    ------
    ClusterError
        If the cluster goes away, or a worker can't be trusted with any item.
    """
    try:
        yield from _spread(client, work, items, *shared)
    except (CancelledError, OSError) as error:  # an item's own are in its future
        raise ClusterError(
            f"the Dask cluster has gone away ({str(error) or type(error).__name__}); start it again, and go on: what "
            "is finished is kept, of many images for --resume"
        ) from error


def _spread(client: Any, work: Callable[..., Any], items: Sequence[Any], *shared: Any) -> Iterator[tuple[Any, Any]]:
    distributed = import_extra("distributed", "dask", "a Dask cluster")
    waiting = list(reversed(items))
    running: dict[Any, Any] = {}
    # A task, since what is scattered is gone with the worker that holds it.
    held = client.submit(_together, *shared, pure=False)

    def submitted() -> Iterator[Any]:
        most = WAITING * max(_threads(client), 1) if waiting else 0
        while waiting and len(running) < most:
            item = waiting.pop()
            future = client.submit(_apply, work, item, held, __version__, pure=False)
            running[future.key] = item
            yield future

    futures = distributed.as_completed(list(submitted()), loop=client.loop)
    for future in futures:
        yield running.pop(future.key), _fetched(future)
        for more in submitted():
            futures.add(more)


def _threads(client: Any) -> int:
    """Of all workers; a client that was closed fails in more than one way."""
    try:
        return sum(client.nthreads().values())
    except Exception as error:
        raise ConnectionError(error) from error


def _fetched(future: Any) -> Future[Any]:
    """What has come of an item, once and for all: Dask's own future may be asked again when the cluster is gone."""
    outcome: Future[Any] = Future()
    error = future.exception() if future.status == "error" else None
    if isinstance(error, ClusterError):  # which any other item would meet, too
        raise error
    if error is not None:
        outcome.set_exception(error)
        return outcome
    try:
        outcome.set_result(future.result())
    except (CancelledError, OSError):
        raise
    except Exception as problem:  # it can't be unpickled, or there is no memory for it
        outcome.set_exception(problem)
    return outcome


def _together(*shared: Any) -> tuple[Any, ...]:
    return shared


def _apply(work: Callable[..., Any], item: Any, shared: tuple[Any, ...], version: str) -> Any:
    if version != __version__:
        raise ClusterError(
            f"a worker of the Dask cluster has nucleiseg {__version__}, this process {version}; install the same "
            "everywhere"
        )
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


def _state(argument: Any) -> tuple[int, int, int] | None:
    """What changes when a file does, of the path of one."""
    is_path = isinstance(argument, (str, os.PathLike)) and Path(argument).is_file()
    return state_of(argument) if is_path else None
