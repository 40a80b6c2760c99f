"""Long work in a thread of its own: how far it is, and that it shall stop."""

from __future__ import annotations

import threading
from dataclasses import dataclass

__all__ = ["Stopped", "Work"]


class Stopped(Exception):  # noqa: N818 - no error: somebody wanted it
    """The work was stopped on request."""


@dataclass
class Work:
    """Shared by the thread that works, which calls `say`, and the one that shows it, which reads and may `stop` it.

    Parameters
    ----------
    text : str
        What is being done.
    share : float, optional
        How much of it is done, in [0, 1]; None if that is unknown.

    Examples
    --------
    >>> work = Work()
    >>> work.say("plane 2 of 4", 0.25)
    >>> work.text, work.share
    ('plane 2 of 4', 0.25)
    >>> work.stop()
    >>> work.say("plane 3 of 4", 0.5)
    Traceback (most recent call last):
    ...
    nucleiseg.napari.work.Stopped
    """

    text: str = ""
    share: float | None = None

    def __post_init__(self) -> None:
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask the work to stop at the next opportunity."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def say(self, text: str, share: float | None = None) -> None:
        """Tell how far the work is. Raises `Stopped` if it shall go no further."""
        if self.stopping:
            raise Stopped
        self.text, self.share = text, share
