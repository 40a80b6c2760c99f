"""Watching a prediction from outside, and stopping it: programs with windows and buttons need both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["expect_passes", "one_pass", "watched"]


@dataclass
class _Watch:
    call: Callable[[int, int], object]
    turn: Callable[[int], AbstractContextManager[object]]
    done: int = 0
    total: int = 0


_current: ContextVar[_Watch | None] = ContextVar("nucleiseg_watch", default=None)


@contextmanager
def watched(
    call: Callable[[int, int], object], turn: Callable[[int], AbstractContextManager[object]] = nullcontext
) -> Iterator[None]:
    """Have a function called before every pass through the network, in this thread and until the block ends.

    Parameters
    ----------
    call : function
        Given how many passes are done and how many there are. Both begin anew when an image is looked at again, at
        another scale. What it raises stops the prediction, and comes out of it.
    turn : function, optional
        Gives a context for a pass of so many pixels, such as one that waits for other threads.

    Examples
    --------
    >>> import numpy as np
    >>> from nucleiseg.images import Tiling
    >>> from nucleiseg.inference import PredictOptions, predict_maps
    >>> class Echo:
    ...     multiple = 32
    ...     def __call__(self, images):
    ...         return images[..., :1]
    >>> with watched(lambda done, total: print(f"{done} of {total}")):
    ...     maps = predict_maps(np.eye(96), Echo(), "minmax", PredictOptions(tiling=Tiling(64, 32)))
    0 of 4
    1 of 4
    2 of 4
    3 of 4
    """
    token = _current.set(_Watch(call, turn))
    try:
        yield
    finally:
        _current.reset(token)


def expect_passes(count: Callable[[], int]) -> None:
    """An image begins: so many passes through the network are to come. They are counted only if somebody watches."""
    watch = _current.get()
    if watch is not None:
        watch.done, watch.total = 0, count()


@contextmanager
def one_pass(pixels: int) -> Iterator[None]:
    """A pass of so many pixels through the network, which is in the block."""
    watch = _current.get()
    if watch is None:
        yield
        return
    watch.call(watch.done, watch.total)
    watch.done += 1
    with watch.turn(pixels):
        yield
