"""What the C library keeps of memory that is free."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["give_back"]


def give_back() -> None:
    """Let the system have memory that was freed, which GNU's C library keeps in case; others are left alone.

    Takes milliseconds, and as much again when the memory is next used.

    Examples
    --------
    >>> give_back()
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], Any] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
