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
    ['nuclei', 'nuclei-fast']
    """
    return sorted({path.stem for ending in _ENDINGS for path in _FOLDER.glob(f"*{ending}")})


def pretrained_path(name: str) -> Path:
    """The file of a shipped model: ``.keras``, or ``.onnx`` in a light installation, which lacks Keras.

    It is compared with the SHA-256 in its card.

    Raises
    ------
    InvalidInputError
        If there is no such model.
    ModelFileError
        If the file is not the one that was shipped.

    Examples
    --------
    >>> pretrained_path("nuclei").name
    'nuclei.keras'
    """
    from nucleiseg.modelchecks import check_sha256

    check_choice(name, "pretrained model", list_pretrained())
    keras_file, onnx_file = (_FOLDER / f"{name}{ending}" for ending in _ENDINGS)
    has_keras = importlib.util.find_spec("keras") is not None
    if onnx_file.is_file() and not (has_keras and keras_file.is_file()):
        return onnx_file
    check_sha256(keras_file, model_card(name)["file"]["sha256"])
    return keras_file


def pretrained_recipe(name: str) -> Path:
    """The file that says how a shipped model was trained; see `nucleiseg.training.read_recipe`.

    Parameters
    ----------
    name : str
        Of a shipped model; or, where its training went on from another one that is not shipped, the name of that one's
        recipe, such as ``"nuclei-first"``.

    Raises
    ------
    InvalidInputError
        If there is no such recipe.

    Examples
    --------
    >>> pretrained_recipe("nuclei").name, pretrained_recipe("nuclei-first").name
    ('nuclei.toml', 'nuclei-first.toml')
    """
    return _FOLDER / f"{check_choice(name, 'recipe', sorted(path.stem for path in _FOLDER.glob('*.toml')))}.toml"


def model_card(name: str) -> dict[str, Any]:
    """What a shipped model was trained on, how, and how good it is.

    Raises
    ------
    InvalidInputError
        If there is no such model.
    ModelFileError
        If the card is missing or damaged.

    Examples
    --------
    >>> model_card("nuclei")["data"]["licence"]
    'CC0-1.0'
    """
    from nucleiseg.errors import ModelFileError

    path = _FOLDER / f"{check_choice(name, 'pretrained model', list_pretrained())}.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(card["file"]["sha256"], str):
            raise TypeError("its sha256 is no text")
    except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
        raise ModelFileError(f"the card {path} cannot be read ({error}); install nucleiseg again") from error
    return dict(card)
