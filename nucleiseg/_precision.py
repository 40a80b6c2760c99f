"""How exactly a network computes, by name: in training as in prediction."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from nucleiseg._checks import check_choice

Precision: TypeAlias = Literal["float32", "mixed_bfloat16"]
AskedPrecision: TypeAlias = Literal["auto", Precision]

_PROCESSORS = Path("/proc/cpuinfo")
_INSTRUCTIONS = {"avx512_bf16", "amx_bf16"}


def check_precision(value: str) -> None:
    """One of the names, which are those of Keras.

    Examples
    --------
    >>> check_precision("float32")
    """
    check_choice(value, "precision", get_args(Precision))


def check_asked_precision(value: str) -> None:
    """One of the names, or "auto".

    Examples
    --------
    >>> check_asked_precision("auto")
    """
    check_choice(value, "precision", get_args(AskedPrecision))


@cache
def knows_bfloat16() -> bool:
    """Whether the processor computes in bfloat16 by itself, as far as that can be told: on Linux.

    Elsewhere, and on ARM, where it was not measured, the answer is no.

    Examples
    --------
    >>> knows_bfloat16() in (True, False)
    True
    """
    try:
        lines = _PROCESSORS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not _INSTRUCTIONS.isdisjoint(flags.split())
