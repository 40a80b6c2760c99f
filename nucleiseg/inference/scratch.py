"""What is finished of a large prediction, on disk: an interrupted one goes on where it was."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._files import atomic_path
from nucleiseg.errors import InvalidInputError

__all__ = ["Scratch"]

Array = npt.NDArray[Any]

_RECORD = "facts.json"
_SHORT = 32  # letters


class Scratch:
    """A folder with the labels of finished windows, and what else belongs to them.

    Parameters
    ----------
    folder : path
        Made if needed.
    facts : mapping
        JSON values that decide the labels: image, model, options, windows. A folder that holds windows of other facts
        is refused.

    Raises
    ------
    InvalidInputError
        If the folder belongs to another prediction, or its record of that is damaged.

    Examples
    --------
    >>> import tempfile
    >>> scratch = Scratch(Path(tempfile.mkdtemp()) / "part", {"image": "a.zarr"})
    >>> scratch.save("window", 0, np.array([[1, 0]], np.int32))
    >>> scratch.has("window", 0), scratch.load("window", 0).tolist()
    (True, [[1, 0]])
    """

    def __init__(self, folder: str | os.PathLike[str], facts: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        wanted = json.loads(json.dumps(facts))
        record = self.folder / _RECORD
        if record.is_file():
            found = self._read(record)
            if found != wanted:
                different = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
                told = ", ".join(f"{key}{_values(found.get(key), wanted.get(key))}" for key in different)
                raise InvalidInputError(
                    f"{self.folder} holds an unfinished prediction with another {told}; "
                    "repeat that one to finish it, or remove the folder"
                )
        elif self.folder.exists() and any(not path.name.startswith(".tmp-") for path in self.folder.iterdir()):
            raise InvalidInputError(f"{self.folder} is needed for unfinished work, but holds other files; remove it")
        else:
            with atomic_path(record, lasting=True) as temporary:
                temporary.write_text(json.dumps(wanted, indent=2), encoding="utf-8", newline="\n")

    def _read(self, record: Path) -> dict[str, Any]:
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise InvalidInputError(
                f"{record} must tell what the unfinished prediction is of, but is damaged; "
                f"remove the folder {self.folder} to begin anew"
            )
        return found

    @property
    def lock(self) -> Path:
        """A file for `nucleiseg._files.locked`, gone with the folder."""
        return self.folder / ".tmp-lock"

    def has(self, kind: str, number: int) -> bool:
        """Whether that window is finished, and its file whole."""
        try:
            with zipfile.ZipFile(self._path(kind, number)) as archive:
                return "values.npy" in archive.namelist() and archive.testzip() is None
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error):
            return False

    def save(self, kind: str, number: int, values: Array) -> None:
        """Keep an array; it appears complete or not at all."""
        # As np.savez_compressed, but several times faster at little more space. Floats hardly get smaller.
        method = zipfile.ZIP_STORED if values.dtype.kind == "f" else zipfile.ZIP_DEFLATED
        with (
            atomic_path(self._path(kind, number), lasting=True) as temporary,
            zipfile.ZipFile(temporary, "w", method, compresslevel=1) as archive,
            archive.open("values.npy", "w", force_zip64=True) as member,
        ):
            np.lib.format.write_array(member, values, allow_pickle=False)

    def load(self, kind: str, number: int) -> Array:
        """An array that was kept."""
        with np.load(self._path(kind, number), allow_pickle=False) as archive:
            values: Array = archive["values"]
        return values

    def remove(self) -> None:
        """When all is done. The record goes last: without it, what a kill leaves would be taken for files of others."""
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if path.name != _RECORD:
                    path.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, kind: str, number: int) -> Path:
        return self.folder / f"{kind}_{number:06}.npz"


def _values(found: object, wanted: object) -> str:
    """Both, if they are short texts, so that one can see how to repeat the other prediction."""
    short = all(isinstance(value, str) and len(value) <= _SHORT for value in (found, wanted))
    return f" ({found} instead of {wanted})" if short else ""
