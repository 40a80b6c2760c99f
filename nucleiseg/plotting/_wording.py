"""Numbers and shapes in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nucleiseg.plotting._graph import Call, count_parameters


def shape_text(shape: Sequence[int | str]) -> str:
    """A shape with multiplication signs.

    Examples
    --------
    >>> shape_text((64, 32, 3)).split()[::2]
    ['64', '32', '3']
    """
    return " \N{MULTIPLICATION SIGN} ".join(map(str, shape))


def amount(parameters: int) -> str:
    """A number of parameters in three digits.

    Examples
    --------
    >>> amount(0), amount(1), amount(12_345), amount(2_345_678)
    ('no parameters', '1 parameter', '12.3 k parameters', '2.35 M parameters')
    """
    if parameters < 1000:
        return "no parameters" if parameters == 0 else plural(parameters, "parameter")
    return f"{short(parameters)} parameters"


def short(number: int) -> str:
    """A number in three digits.

    Examples
    --------
    >>> short(999), short(12_345), short(999_999), short(123_456_789)
    ('999', '12.3 k', '1.00 M', '123 M')
    """
    if number < 1000:
        return str(number)
    scaled, unit = (number / 1000, "k") if number < 999_500 else (number / 1e6, "M")
    digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:.{digits}f} {unit}"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    Examples
    --------
    >>> plural(1, "layer"), plural(2, "layer")
    ('1 layer', '2 layers')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def span(calls: Sequence[Call]) -> str:
    """Names of the first and the last of some layers."""
    return calls[0].name if len(calls) == 1 else f"{calls[0].name} … {calls[-1].name}"


def parameters_of(model: Any) -> str:
    """How many parameters a model has, and how many of them are trained."""
    trainable = count_parameters(model.trainable_weights)
    return f"{amount(count_parameters(model.weights))}, {short(trainable) if trainable else 'none'} of them trainable"
