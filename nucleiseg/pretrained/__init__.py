"""The models in the box: files in this package, so that they work offline."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from nucleiseg._checks import check_choice

__all__ = ["list_pretrained", "model_card", "pretrained_path", "pretrained_recipe"]

_FOLDER = Path(__file__).parent
_ENDINGS = (".keras", ".onnx")


def list_pretrained() -> list[str]:
    """Names of the models that are shipped with nucleiseg, sorted.

    Examples
    --------
    >>> list_pretrained()
    ['nuclei']
    """
    return sorted({path.stem for ending in _ENDINGS for path in _FOLDER.glob(f"*{ending}")})


def pretrained_path(name: str) -> Path:
    """The file of a shipped model: ``.keras``, or ``.onnx`` in a light installation, which lacks Keras.

    Raises
    ------
    InvalidInputError
        If there is no such model.

    Examples
    --------
    >>> pretrained_path("nuclei").name
    'nuclei.keras'
    """
    check_choice(name, "pretrained model", list_pretrained())
    keras_file, onnx_file = (_FOLDER / f"{name}{ending}" for ending in _ENDINGS)
    has_keras = importlib.util.find_spec("keras") is not None
    return onnx_file if onnx_file.is_file() and not (has_keras and keras_file.is_file()) else keras_file


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
    card: dict[str, Any] = json.loads((_FOLDER / f"{pretrained_path(name).stem}.json").read_text(encoding="utf-8"))
    return card
