"""What a segmenter is, as it stands in a model file."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nucleiseg._checks import hold_plain_numbers
from nucleiseg.errors import InvalidInputError, ModelFileError

_KEY = "segmenter"


@dataclass(frozen=True)
class SegmenterSettings:
    """What a saved model needs besides its weights; written into the file as JSON.

    Raises
    ------
    InvalidInputError
        If a value is of another kind than its rule says: it could be written, but not be read again.
    """

    encoder: str
    weights: str | None
    head: str
    loss: str
    upsampling: str
    widths: tuple[int, ...]
    scaling: str
    seed: int
    thresholds: Mapping[str, float]
    trained: bool = False
    passport: tuple[float, float, float] | None = None
    """Diameters of the nuclei that it was trained on: see `nucleiseg.inference.Passport`."""
    calibration: Mapping[str, float] | None = None
    """How its confidence is computed: see `nucleiseg.instances.Calibration`."""
    scale_calibration: Mapping[str, float] | None = None
    """The same for nuclei at a scale that may not suit it; without it, as its confidence is."""
    licence: str | None = None
    deterministic: bool = False
    convolutions: int = 0
    refine: bool = False
    run: Mapping[str, Any] | None = None
    """The manifest of the latest training: versions, seed, images, command, times."""

    def __post_init__(self) -> None:
        hold_plain_numbers(self)
        for name in _RULES:
            check_setting(name, getattr(self, name))

    @property
    def network(self) -> dict[str, Any]:
        """How the model was built."""
        names = ("encoder", "weights", "head", "upsampling", "widths", "convolutions", "refine")
        return {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        """What stands in the file, under a name of its own beside what else may stand there."""
        return {_KEY: asdict(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], path: str) -> SegmenterSettings:
        """What `to_json` wrote, read from the file of that path.

        Raises
        ------
        ModelFileError
            If it is something else.
        """
        try:
            return cls(**{**stored[_KEY], "widths": tuple(stored[_KEY]["widths"])})
        except (KeyError, TypeError, InvalidInputError) as error:
            raise ModelFileError(
                f"{path} holds no settings of a Segmenter ({error}); save it with Segmenter.save"
            ) from error


def check_setting(name: str, value: object) -> None:
    """Raise `InvalidInputError` if a value is of another kind than that field of `SegmenterSettings` holds.

    Examples
    --------
    >>> check_setting("deterministic", 0)
    Traceback (most recent call last):
    nucleiseg.errors.InvalidInputError: deterministic must be true or false, got 0
    """
    rule, fits = _RULES[name]
    if not fits(value):
        raise InvalidInputError(f"{name} must be {rule}, got {repr(value)[:80]}{_REMEDIES.get(name, '')}")


def plain_path(value: object) -> Any:
    """A path as text, since JSON holds no other; anything else as it is, for `check_setting` to judge.

    Examples
    --------
    >>> from pathlib import PurePosixPath
    >>> plain_path(PurePosixPath("my.h5")), plain_path(None)
    ('my.h5', None)
    """
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def plain_widths(value: object) -> Any:
    """Widths as a tuple; what is no sequence as it is, for `check_setting` to judge.

    Examples
    --------
    >>> plain_widths([8, 8]), plain_widths(8)
    ((8, 8), 8)
    """
    return tuple(value) if isinstance(value, Iterable) else value


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are_whole(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(_is_whole(one) for one in value)


def _are_numbers(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_number, value.values()))


def _is_passport(value: object) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(map(_is_number, value))
        and 0 < value[0] <= value[1] <= value[2]
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _or_none(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


_REMEDIES = {
    "encoder": "; register a network of yours by register_encoder('my_one'), or take a whole one by adopt(model)",
    "loss": "; register a loss of yours by register_loss('my_one')(lambda: my_loss)",
}

# A file may come from anybody; names are looked up where they are used, since plugins add to them.
_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("encoder", "head", "loss", "upsampling", "scaling"), ("text", _is_text)),
    **{name: ("text or null", _or_none(_is_text)) for name in ("weights", "licence")},
    **dict.fromkeys(("seed", "convolutions"), ("a whole number of at least 0", _is_whole)),
    **dict.fromkeys(("trained", "deterministic", "refine"), ("true or false", _is_flag)),
    "widths": ("whole numbers, such as (256, 128, 64, 32, 16)", _are_whole),
    "thresholds": ("names and numbers", _are_numbers),
    **dict.fromkeys(("calibration", "scale_calibration"), ("names and numbers, or null", _or_none(_are_numbers))),
    "passport": ("three rising numbers above 0, or null", _or_none(_is_passport)),
    "run": ("an object or null", _or_none(lambda value: isinstance(value, Mapping))),
}
