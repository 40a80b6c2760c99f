"""Progress of long work, for people who look at a terminal: on standard error, and nothing of it when that is piped.

The environment variable ``NUCLEISEG_PROGRESS`` decides otherwise: ``0`` is never, ``1`` is always, notebooks included.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, TypeVar

__all__ = [
    "VARIABLE",
    "Progress",
    "aside",
    "close_all",
    "duration",
    "is_shown",
    "progress",
    "shorten",
    "write_line",
]

VARIABLE = "NUCLEISEG_PROGRESS"

_FORMAT = "{desc}  |{bar:16}| {n_fmt}/{total_fmt}{unit}{note}{left}"
_LONGEST = 32  # letters of a file name
_WIDTH = 79  # of terminals that do not say how wide they are

T = TypeVar("T")

_OPEN: list[Progress] = []


def is_shown() -> bool:
    """Whether somebody looks."""
    wish = os.environ.get(VARIABLE)
    return sys.stderr is not None and wish != "0" and (wish == "1" or sys.stderr.isatty())


def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items, with a bar that says how many have been dealt with."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(description, total) as bar:
        for item in items:
            yield item
            bar.advance()


class Progress:
    """A bar that is there while its ``with`` block runs, and gone afterwards, however it ends.

    Parameters
    ----------
    description : str
        Stands before the bar.
    total : int or None
        How many things there are to do.
    unit : str
        What they are, such as ``"files"``.
    seconds_left : function, optional
        Says how long it will take; None from it, if it does not know. By default judged by what is done.

    Examples
    --------
    >>> with Progress("predicting", total=2, unit="files") as bar:
    ...     bar.note("12 nuclei")
    ...     bar.advance()
    """

    def __init__(
        self,
        description: str,
        total: int | None,
        unit: str = "",
        seconds_left: Callable[[], float | None] | None = None,
    ) -> None:
        self._bar: Any = None
        if is_shown():
            self._bar = _bar_class()(
                desc=description,
                total=total,
                unit=f" {unit}" if unit else "",
                bar_format=_FORMAT,
                file=sys.stderr,
                dynamic_ncols=True,
                leave=False,
                miniters=1,
            )
            self._bar.seconds_left = seconds_left
            _OPEN.append(self)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def advance(self, note: str | None = None) -> None:
        """One more is done. ``note`` is shown when the bar is drawn next."""
        if self._bar is not None:
            if note is not None:
                self._bar.note = printable(note)
            self._bar.update()

    def note(self, text: str) -> None:
        """Show a text behind the bar, at once."""
        if self._bar is not None:
            self._bar.note = printable(text)
            self._bar.refresh()

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is None:
            return
        bar, self._bar = self._bar, None
        _OPEN.remove(self)
        outermost = bar.pos == 0
        bar.close()
        if outermost:
            sys.stderr.write(_erase())
            sys.stderr.flush()


def close_all() -> None:
    """Take away the bars of loops that an error has ended, but that its traceback keeps from knowing it."""
    while _OPEN:
        _OPEN[-1].close()


def write_line(text: str) -> None:
    """A line on standard error that stays there, above all bars; nothing if nobody looks."""
    if is_shown():
        with aside():
            sys.stderr.write(f"{printable(text)}\n")
            sys.stderr.flush()


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Take all bars off the screen while something else is written to it."""
    if "tqdm" not in sys.modules:  # then there are none
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        yield


def duration(seconds: float) -> str:
    """A time in words, as exact as people need it.

    Examples
    --------
    >>> duration(0.2), duration(41.3), duration(170), duration(7500)
    ('1 s', '41 s', '3 min', '2 h 5 min')
    """
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def shorten(name: str) -> str:
    """A file name that leaves room for other things: its middle is left out if need be.

    Examples
    --------
    >>> shorten("well_A01.tif"), shorten("experiment-2026-11-25_plate-7_well-A01_DAPI.tif")
    ('well_A01.tif', 'experiment-2026…well-A01_DAPI.tif')
    """
    if len(name) <= _LONGEST + 1:
        return name
    return f"{name[: _LONGEST // 2 - 1]}…{name[-_LONGEST // 2 - 1 :]}"


def printable(text: str) -> str:
    """Without what would move the cursor; names of files may hold anything."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _erase() -> str:
    """Clears the line, of the ``^C`` behind the bar too, where the terminal understands it."""
    understands = os.name == "posix" and os.environ.get("TERM") != "dumb" and sys.stderr.isatty()
    return "\r\x1b[K" if understands else ""


@functools.cache
def _bar_class() -> Any:
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        """A bar that knows two more words for its format: note and left."""

        monitor_interval = 0  # no thread of its own
        note = ""
        seconds_left: Callable[[], float | None] | None = None

        @property
        def format_dict(self) -> Any:
            facts = super().format_dict
            left = self.seconds_left() if self.seconds_left else _left(**facts)
            words = "" if left is None else f"  {duration(left)} left"
            width = max(0, facts["ncols"] or 0) or _WIDTH
            return {**facts, "ncols": width, "note": self.note and f"  {self.note}", "left": words}

    return Bar


def _left(n: float, total: float | None, elapsed: float, rate: float | None, **_: Any) -> float | None:
    """Seconds to go, by what a thing took lately."""
    if not n or not total or not elapsed:
        return None
    return max(0.0, (total - n) / (rate or n / elapsed))
