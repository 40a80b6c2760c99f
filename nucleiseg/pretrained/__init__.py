"""The models in the box: files in this package, so that they work offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nucleiseg._checks import check_choice

__all__ = ["list_pretrained", "model_card", "pretrained_path"]

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
    """The file of a shipped model, compared with the SHA-256 in its card.

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

    path = _FOLDER / f"{check_choice(name, 'pretrained model', list_pretrained())}.keras"
    check_sha256(path, model_card(name)["file"]["sha256"])
    return path


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
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"the card {path} cannot be read ({error}); install nucleiseg again") from error
    return card
