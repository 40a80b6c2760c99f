"""Many images: while one is in the network, the next one is read, and what was found in the last one is decoded.

The network hardly ever keeps all cores busy with a small image, so two of these may be in it side by side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from threading import Condition, Event
from typing import Any, Generic, TypeVar

from nucleiseg.images import Micrograph
from nucleiseg.inference.watching import watched

__all__ = ["ahead", "is_large"]

_WORKERS = 2
_LARGE = 3 * 1024**2  # values, of 1,024² pixels in colour: a small part of what the network takes
_SMALL = 2**17  # pixels of a pass through the network, which then takes less memory than is always left over

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")


def is_large(source: Micrograph) -> bool:
    """Whether there is to be no other image in memory beside this one."""
    return max(source.shown.size, source.pixels.size) > _LARGE


def ahead(
    items: Iterable[T], read: Callable[[T], S], work: Callable[[S], R], alone: Callable[[S], bool]
) -> Generator[Future[R]]:
    """``work(read(item))`` of every item, in their order, two of them at a time.

    Only one is read at a time, and one is in the network, or two small ones. What is to be ``alone`` is worked on in
    the thread of whoever asks for it, when all before it have been given out; none is read then before the next one is
    asked for.

    Parameters
    ----------
    items : iterable
        Taken from by the thread of whoever asks, two before they are needed.
    read, work : function
        Called in threads of their own; ``work`` need not be if one is alone.
    alone : function
        Looks at what was read.

    Yields
    ------
    Future
        Done; it has the result, or the error of this item alone. When the iterator is closed, work that has begun ends
        before its next pass through the network, and no thread is left.

    Examples
    --------
    >>> [found.result() for found in ahead("abc", str.upper, ord, lambda letter: letter == "B")]
    [65, 66, 67]
    """
    supply, flow = iter(items), _Flow(read, work, alone)
    jobs: deque[tuple[_Job[T], Future[Any]]] = deque()
    last = Event()
    last.set()
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            while True:
                for item in islice(supply, 1 + _WORKERS - len(jobs)):
                    job = _Job(item, last)
                    last = job.read
                    jobs.append((job, pool.submit(flow.begin, job)))
                if not jobs:
                    return
                job, found = jobs.popleft()
                wait([found])
                yield flow.finish(found)
                job.read.set()
        finally:
            flow.closed = True
            for job, found in jobs:
                found.cancel()
                job.before.set()


@dataclass
class _Job(Generic[T]):
    item: T
    before: Event  # set once the item before has been read
    read: Event = field(default_factory=Event)


@dataclass(frozen=True)
class _Alone(Generic[S]):
    source: S


class _Seats:
    """Room for two small passes through the network, or for one of any size."""

    def __init__(self) -> None:
        self._free, self._changed = _WORKERS, Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        seats = 1 if pixels <= _SMALL else _WORKERS
        with self._changed:
            self._changed.wait_for(lambda: self._free >= seats)
            self._free -= seats
        try:
            yield
        finally:
            with self._changed:
                self._free += seats
                self._changed.notify_all()


class _Flow(Generic[T, S, R]):
    """What becomes of one item, in the thread of a worker and in that of whoever asks."""

    def __init__(self, read: Callable[[T], S], work: Callable[[S], R], alone: Callable[[S], bool]) -> None:
        self.closed = False
        self._read, self._work, self._alone = read, work, alone
        self._network = _Seats()

    def begin(self, job: _Job[T]) -> R | _Alone[S]:
        job.before.wait()
        alone = False
        try:
            self._check()
            source = self._read(job.item)
            alone = self._alone(source)
        finally:
            if not alone:
                job.read.set()
        if alone:
            return _Alone(source)
        with watched(self._check, self._network.take):
            return self._work(source)

    def finish(self, found: Future[Any]) -> Future[R]:
        if found.exception() is not None or not isinstance(found.result(), _Alone):
            return found
        mine: Future[R] = Future()
        try:
            mine.set_result(self._work(found.result().source))
        except Exception as error:
            mine.set_exception(error)
        return mine

    def _check(self, *_: int) -> None:
        if self.closed:
            raise CancelledError
