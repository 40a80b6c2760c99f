"""The models in the box: files in this package, so that they work offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nucleiseg._checks import check_choice

__all__ = ["list_pretrained", "model_card", "pretrained_path", "pretrained_recipe"]

_FOLDER = Path(__file__).parent


def list_pretrained() -> list[str]:
    """Names of the models that are shipped with nucleiseg, sorted.

    Examples
    --------
    >>> list_pretrained()
    ['nuclei']
    """
    return sorted(path.stem for path in _FOLDER.glob("*.keras"))


def pretrained_path(name: str) -> Path:
    """The file of a shipped model.

    Raises
    ------
    InvalidInputError
        If there is no such model.

    Examples
    --------
    >>> pretrained_path("nuclei").name
    'nuclei.keras'
    """
    return _FOLDER / f"{check_choice(name, 'pretrained model', list_pretrained())}.keras"


def pretrained_recipe(name: str) -> Path:
    """The file that says how a shipped model was trained; see `nucleiseg.training.read_recipe`.

    Raises
    ------
    InvalidInputError
        If there is no such model.

    Examples
    --------
    >>> pretrained_recipe("nuclei").name
    'nuclei.toml'
    """
    return pretrained_path(name).with_suffix(".toml")


def model_card(name: str) -> dict[str, Any]:
    """What a shipped model was trained on, how, and how good it is.

    Raises
    ------
    InvalidInputError
        If there is no such model.

    Examples
    --------
    >>> model_card("nuclei")["data"]["licence"]
    'CC0-1.0'
    """
    card: dict[str, Any] = json.loads(pretrained_path(name).with_suffix(".json").read_text(encoding="utf-8"))
    return card
