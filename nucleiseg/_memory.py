"""Telling that memory has run out, whichever library says so."""

from __future__ import annotations

__all__ = ["is_out_of_memory"]

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
