"""The parts that a model file names but does not hold: head, decoder and scaling, which packages may add."""

from __future__ import annotations

import os
from pathlib import Path

from nucleiseg._settings import SegmenterSettings
from nucleiseg.engines.formats import ModelFormat
from nucleiseg.errors import ModelFileError
from nucleiseg.heads import get_head, list_heads
from nucleiseg.images import list_scalings
from nucleiseg.instances import list_decoders


def usable_settings(kind: ModelFormat, path: str | os.PathLike[str]) -> SegmenterSettings:
    """The settings in a model file, all of whose parts are there.

    A model whose head is missing would load, and then fail for every image.

    Raises
    ------
    ModelFileError
        What reading the file raises, or if a part that prediction needs is not registered.

    Examples
    --------
    >>> from nucleiseg.engines import find_format
    >>> from nucleiseg.pretrained import pretrained_path
    >>> path = pretrained_path("nuclei")
    >>> usable_settings(find_format(path), path).head in list_heads()
    True
    """
    settings = SegmenterSettings.from_json(kind.read_settings(Path(path)), os.fspath(path))
    _check_part("scaling", settings.scaling, list_scalings(), path)
    _check_part("head", settings.head, list_heads(), path)
    _check_part("decoder", get_head(settings.head).decoder, list_decoders(), path)
    return settings


def _check_part(kind: str, name: str, known: list[str], path: str | os.PathLike[str]) -> None:
    if name not in known:
        raise ModelFileError(
            f"{os.fspath(path)} needs the {kind} {name!r}, which is not registered; before the model is loaded, import "
            f"the module that registers it, or install its package (there are {', '.join(sorted(known))})"
        )
