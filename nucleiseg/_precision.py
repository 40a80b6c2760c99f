"""How exactly a network computes, by name: in training as in prediction."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from nucleiseg._checks import check_choice

Precision: TypeAlias = Literal["float32", "mixed_bfloat16"]
AskedPrecision: TypeAlias = Literal["auto", Precision]


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
