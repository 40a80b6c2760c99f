"""What ``predict`` has done in a results folder, image by image, so that nothing is done twice and nothing is lost.

In the hidden folder ``.nucleiseg`` of the results there is a small file for each image, written after all others of it:
what is not in it is not finished. Several processes may write into one results folder at the same time.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg._files import file_sha256, locked, text_sha256, write_text
from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Entry", "Journal", "content_sha256", "printable"]

_FOLDER = ".nucleiseg"


@dataclass(frozen=True)
class Entry:
    """What is known of one image: its rows of both tables, or the reason why it has none."""

    image: str
    sha256: str = ""
    pixel_size: float | None = None
    error: str = ""
    precision: str = "float32"
    table: pd.DataFrame | None = field(default=None, repr=False)
    summary: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def count(self) -> int:
        """How many nuclei there are."""
        return 0 if self.table is None else len(self.table)

    @property
    def quality(self) -> str:
        """What speaks against trusting the image; empty as a rule."""
        return "" if self.summary is None else str(self.summary["quality"].iloc[0])


class Journal:
    """The entries of a results folder that were made with one model and one set of options.

    Parameters
    ----------
    folder : Path
        Of the results; made if needed.
    settings : mapping
        Model and options; entries made with others are passed over.

    Raises
    ------
    InvalidInputError
        If the folder can't be written into.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._results = folder
        self._folder = folder / _FOLDER
        self._key = _digest(json.dumps(settings, sort_keys=True))
        self._started = time.time_ns()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_text(self._folder / "README.txt", f"{__doc__}\nIt may be deleted when no process runs.\n")
        except OSError as error:
            raise InvalidInputError(
                f"results cannot be written into {folder} ({error.strerror}); choose another output folder"
            ) from error

    def find(self, path: Path, stem: str) -> Entry | None:
        """The entry of an image that is finished: same pixels, and all files as they were written."""
        stored = self._load(self._path(stem))
        if stored is None or "table" not in stored:
            return None
        try:
            same = stored["sha256"] == content_sha256(path)
        except OSError:  # predicting says so
            return None
        return _entry(stored) if same else None

    @contextlib.contextmanager
    def writing(self, path: Path, stem: str) -> Iterator[None]:
        """Hold off other processes while the files of an image are written.

        Raises
        ------
        InvalidInputError
            If another process has written files of the same name, but of another image, since this one began.
        """
        with locked(self._folder / "lock"):
            other = self._load(self._path(stem), any_key=True)
            if other is not None and other["time"] > self._started and other["image"] != printable(path):
                raise InvalidInputError(
                    f"{path}: another process has just written the results of {other['image']} under the same name "
                    f"into {self._results}; choose another output folder"
                )
            yield

    def add(self, stem: str, names: Sequence[str], entry: Entry) -> None:
        """Note that an image is finished; ``names`` are those of its files."""
        self._write(
            stem,
            {
                "image": entry.image,
                "sha256": entry.sha256,
                "pixel_size": entry.pixel_size,
                "precision": entry.precision,
                "files": {name: (self._results / name).stat().st_size for name in names},
                "table": _columns(entry.table),
                "summary": _columns(entry.summary),
            },
        )

    def fail(self, path: Path, stem: str, message: str) -> None:
        """Note why an image could not be segmented."""
        self._write(stem, {"image": printable(path), "files": {}, "error": message})

    def others(self, stems: Collection[str]) -> list[Entry]:
        """Entries of other images, from earlier runs and from processes that run now."""
        own = {self._path(stem) for stem in stems}
        paths = sorted(set(self._folder.glob("*.json")) - own)
        found = [_entry(stored) for path in paths if (stored := self._load(path)) is not None]
        return sorted(found, key=lambda entry: entry.image)

    @contextlib.contextmanager
    def tables(self) -> Iterator[None]:
        """Hold off other processes while the files of all images are written."""
        with locked(self._folder / "lock"):
            yield

    def _path(self, stem: str) -> Path:
        return self._folder / f"{_digest(stem)}.json"

    def _write(self, stem: str, facts: Mapping[str, Any]) -> None:
        write_text(self._path(stem), json.dumps({"key": self._key, "time": time.time_ns(), **facts}))

    def _load(self, path: Path, any_key: bool = False) -> dict[str, Any] | None:
        """An entry of which all files are there; None if there is none, or it is damaged."""
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            sizes = {name: (self._results / name).stat().st_size for name in stored["files"]}
            fits = sizes == stored["files"] and isinstance(stored["image"], str) and isinstance(stored["time"], int)
            return stored if fits and (any_key or stored["key"] == self._key) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def content_sha256(path: Path) -> str:
    """Of what is in a file; of a folder (an image may be one), of the names, sizes and times of what is in it."""
    if not path.is_dir():
        return file_sha256(path)
    inside = sorted((child.relative_to(path).as_posix(), child.stat()) for child in path.rglob("*"))
    return _digest("\n".join(f"{name}|{status.st_size}|{status.st_mtime_ns}" for name, status in inside))


def printable(path: Path) -> str:
    """A path as text; file names on Linux need not be, and those must not spoil a table."""
    return str(path).encode(errors="backslashreplace").decode()


def _entry(stored: Mapping[str, Any]) -> Entry:
    if "table" not in stored:
        return Entry(stored["image"], error=str(stored.get("error")))
    tables = [_table(stored[name]) for name in ("table", "summary")]
    precision = stored.get("precision", "float32")  # which older entries don't tell: there was no other
    return Entry(stored["image"], stored["sha256"], stored["pixel_size"], "", precision, *tables)


def _columns(table: pd.DataFrame | None) -> dict[str, Any]:
    """Types and values of a table by column, exactly, as JSON has them."""
    if table is None:
        return {}
    # Asked for one after the other, the columns would take as long as all else that is written of a small image.
    kinds = {kind: str(kind) for kind in set(table.dtypes)}
    columns = zip(table.columns, table.dtypes, table.to_numpy(object).T.tolist(), strict=True)
    return {str(name): [kinds[kind], values] for name, kind, values in columns}


def _table(columns: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: pd.Series(values, dtype=dtype) for name, (dtype, values) in columns.items()})


def _digest(text: str) -> str:
    return text_sha256(text)[:40]
