"""What the processor can do, as far as Linux tells; elsewhere, and on ARM, the answers are no."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["favours_onednn", "knows_bfloat16"]

_PROCESSORS = Path("/proc/cpuinfo")
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}
# Where TensorFlow takes oneDNN's convolutions without being asked to.
_ONEDNN = _BFLOAT16 | {"avx512_vnni", "avx_vnni", "amx_tile", "amx_int8"}


@cache
def knows_bfloat16() -> bool:
    """Whether it computes in bfloat16 by itself.

    Examples
    --------
    >>> knows_bfloat16() in (True, False)
    True
    """
    return not _BFLOAT16.isdisjoint(_flags())


@cache
def favours_onednn() -> bool:
    """Whether TensorFlow computes by oneDNN on it, unless the environment says otherwise.

    Examples
    --------
    >>> favours_onednn() or not knows_bfloat16()
    True
    """
    return not _ONEDNN.isdisjoint(_flags())


def _flags() -> list[str]:
    try:
        lines = _PROCESSORS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return next((line for line in lines if line.startswith("flags")), "").split()
