"""The models that can be chosen: those in the box, and files."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nucleiseg.errors import InvalidInputError
from nucleiseg.pretrained import list_pretrained, pretrained_path

if TYPE_CHECKING:
    from nucleiseg.segmenter import Segmenter

__all__ = ["FROM_FILE", "ModelShelf", "model_file"]

FROM_FILE = "from a file …"


def model_file(choice: str, path: str | os.PathLike[str] | None = None) -> Path:
    """The file of a model in the box, or the one that was chosen.

    Raises
    ------
    InvalidInputError
        If a file is wanted, but none was chosen.
    ModelFileError
        If the file is missing, damaged, or was not saved by nucleiseg. TensorFlow is not imported to tell.

    Examples
    --------
    >>> model_file("nuclei").stem
    'nuclei'
    """
    from nucleiseg.engines import find_format

    if choice != FROM_FILE:
        # Mesa's drivers and TensorFlow bring an LLVM each; on Linux, the two in one process can crash it.
        shipped = pretrained_path(choice)
        light = shipped.with_suffix(".onnx")
        return light if light.is_file() and importlib.util.find_spec("onnxruntime") is not None else shipped
    if path is None or os.fspath(path) in ("", "."):
        raise InvalidInputError("no model file is chosen; choose one that ends in .keras or .onnx")
    find_format(path).read_settings(Path(path))
    return Path(path)


class ModelShelf:
    """Loads models, and keeps the latest one: loading takes longer than looking at an image.

    Examples
    --------
    >>> ModelShelf.choices()
    ['nuclei', 'nuclei-fast', 'from a file …']
    """

    def __init__(self) -> None:
        self._latest: tuple[tuple[Path, int, int], Segmenter] | None = None

    @staticmethod
    def choices() -> list[str]:
        """What can be chosen."""
        return [*list_pretrained(), FROM_FILE]

    def load(self, path: Path) -> Segmenter:
        """The model in a file, read anew if the file has changed."""
        from nucleiseg.segmenter import Segmenter

        facts = path.stat()
        key = (path.absolute(), facts.st_mtime_ns, facts.st_size)
        if self._latest is None or self._latest[0] != key:
            self._latest = None  # two at once would take twice the memory
            self._latest = (key, Segmenter.load(path))
        return self._latest[1]
