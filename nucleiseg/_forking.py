"""TensorFlow's threads do not survive a fork: what waits for them in the new process waits for ever."""

from __future__ import annotations

import os

from nucleiseg.errors import ForkedProcessError

__all__ = ["check_not_forked"]

_owner: int | None = None


def check_not_forked() -> None:
    """Raise if networks have been used in the process that this one was forked from.

    Raises
    ------
    ForkedProcessError
        Instead of waiting for ever.

    Examples
    --------
    >>> check_not_forked()
    """
    global _owner
    if _owner is None:
        _owner = os.getpid()
    elif _owner != os.getpid():
        raise ForkedProcessError(
            "networks can't be used in a process that was forked from one that uses them, got such a process; start it "
            "with multiprocessing.get_context('spawn'), or use threads, which may share a Segmenter"
        )
