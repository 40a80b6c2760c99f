"""How much memory may be taken at once, and telling that it has run out, whichever library says so."""

from __future__ import annotations

import contextlib
import os
from functools import lru_cache
from pathlib import Path

__all__ = ["is_out_of_memory", "memory_limit", "total_memory"]

# As TensorFlow, JAX and PyTorch have it; an error raised inside a data pipeline arrives as text only.
_NAMES = ("ResourceExhaustedError", "OutOfMemoryError")
_TEXTS = ("resource_exhausted", "out of memory", "memoryerror", "oom when allocating", "unable to allocate")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of the GPU, does not suffice.

    Examples
    --------
    >>> [is_out_of_memory(error) for error in (MemoryError(), RuntimeError("CUDA out of memory"), OSError())]
    [True, True, False]
    """
    if isinstance(error, MemoryError) or type(error).__name__ in _NAMES:
        return True
    text = str(error).lower()
    return isinstance(error, Exception) and any(phrase in text for phrase in _TEXTS)


@lru_cache(maxsize=1)
def memory_limit() -> int:
    """How many bytes one thing read from a file may take: half of the memory of this machine, or of its container.

    A file that claims more is refused, instead of the process being ended by the operating system.

    Examples
    --------
    >>> memory_limit() >= 2**28
    True
    """
    return max(2**28, (total_memory() or 2**34) // 2)


def total_memory() -> int | None:
    """How many bytes of memory this machine has, or its container may use; None where the system does not tell.

    Examples
    --------
    >>> (total_memory() or 2**30) > 2**28
    True
    """
    known = []
    with contextlib.suppress(AttributeError, OSError, ValueError):  # not on Windows
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError):  # a container's; "max" if it has none
        known.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(known, default=None)
