"""The file about one image in ``predict``'s journal: what is in it, and what its parts mean."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg._files import escaped, file_sha256, text_sha256

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FOLDER",
    "Entry",
    "Held",
    "columns_of",
    "content_sha256",
    "digest",
    "files_of",
    "find_held",
    "numbers_of",
    "place_of",
    "placed",
    "printable",
    "read_entry",
    "source_of",
    "to_entry",
    "whence",
]

FOLDER = ".nucleiseg"
"""Within the results."""

_TABLES = ("table", "summary")

# What an entry must have; that of an image with results; and what it may have.
_KINDS = {"image": str, "time": int, "files": dict}
_KINDS_OF_RESULTS = {"sha256": str, "pixel_size": int | float | None, "table": dict, "summary": dict}
_MORE_KINDS = {"left": dict, "plane": dict} | dict.fromkeys(("key", "stem", "source", "path", "precision"), str)


@dataclass(frozen=True)
class Entry:
    """What is known of one image: its rows of both tables and its files, or the reason why it has none.

    ``noted`` is when that was written down, in nanoseconds; ``stem`` how the names of its files begin; ``path`` where
    the image lay, as `placed` says.
    """

    image: str
    sha256: str = ""
    pixel_size: float | None = None
    error: str = ""
    precision: str = "float32"
    files: tuple[str, ...] = ()
    noted: int = 0
    stem: str = ""
    path: str = ""
    table: pd.DataFrame | None = field(default=None, repr=False)
    summary: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def count(self) -> int:
        """How many nuclei there are."""
        return 0 if self.table is None else len(self.table)

    @property
    def quality(self) -> str:
        """What speaks against trusting the image; empty as a rule."""
        if self.summary is None or "quality" not in self.summary:  # which the oldest entries don't tell
            return ""
        return str(self.summary["quality"].iloc[0])


@dataclass(frozen=True)
class Held:
    """A name that an image has in a results folder: the stem, where the image lies, and its pixels if known."""

    stem: str
    source: str
    sha256: str = ""

    @property
    def is_there(self) -> bool:
        """Whether the image still lies where it was."""
        return os.path.exists(self.source)  # noqa: PTH110  # False where it may not be looked at, too


def find_held(results: Path) -> list[Held]:
    """The names of images in a results folder, whatever model and options, oldest first.

    Those of which files are left; and of images that failed, while they are there to be tried again.
    """
    found = []
    for path in (results / FOLDER).glob("*.json"):
        stored = read_entry(path)
        stem = None if stored is None else _stem(stored, path)
        if stored is None or stem is None:
            continue
        one = Held(stem, whence(stored), str(stored.get("sha256", "")))
        files = files_of(stored)
        if any((results / name).exists() for name in files) or (not files and one.is_there):
            found.append((stored["time"], one))
    return [one for _, one in sorted(found, key=lambda item: item[0])]


def place_of(folder: Path, stem: str) -> Path:
    """The file about an image."""
    return folder / f"{digest(stem)}.json"


def content_sha256(path: Path) -> str:
    """Of what is in a file; of a folder (an image may be one), of the names, sizes and times of what is in it."""
    if not path.is_dir():
        return file_sha256(path)
    inside = sorted((child.relative_to(path).as_posix(), child.stat()) for child in path.rglob("*"))
    return digest("\n".join(f"{name}|{status.st_size}|{status.st_mtime_ns}" for name, status in inside))


def printable(path: Path) -> str:
    """A path as text; file names on Linux need not be, and those must not spoil a table."""
    return escaped(str(path))


def source_of(path: Path) -> str:
    """Where an image lies, the same from every folder, as text."""
    return printable(path.resolve())


def placed(path: Path) -> str:
    """Where an image lies, absolute, as it was named: files of links keep the names and folders of the links."""
    return escaped(os.path.abspath(path))  # noqa: PTH100  # takes ".." away, too, which folders in common need


def read_entry(path: Path) -> dict[str, Any] | None:
    """An entry as it is, whatever has become of its files; None if there is none, or it is damaged."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return dict(stored) if isinstance(stored, dict) and _is_sound(stored) else None


def _is_sound(stored: Mapping[str, Any]) -> bool:
    """Whether all that is there, and has to be, is of its kind."""
    kinds = {**_KINDS, **(_KINDS_OF_RESULTS if "table" in stored else {})}
    known = {**_MORE_KINDS, **kinds}
    if not kinds.keys() <= stored.keys() or not all(
        isinstance(stored[name], known[name]) for name in known.keys() & stored.keys()
    ):
        return False
    if not all(isinstance(size, int) for size in files_of(stored).values()):
        return False
    return "table" not in stored or (_rows(stored["table"]) is not None and _rows(stored["summary"]) == 1)


def _rows(columns: Mapping[str, Any]) -> int | None:
    """How many rows a table has; None unless each column has a type and as many values as the others."""
    if not all(isinstance(one, list) and list(map(type, one)) == [str, list] for one in columns.values()):
        return None
    counts = {len(values) for _, values in columns.values()}
    return counts.pop() if len(counts) == 1 else None


def files_of(stored: Mapping[str, Any]) -> dict[str, int]:
    """Sizes of the files of an image; of one that failed, of those that an earlier run has left."""
    return {**stored.get("left", {}), **stored.get("files", {})}


def whence(stored: Mapping[str, Any]) -> str:
    """Older entries have the image as it was named only."""
    return str(stored["source"]) if "source" in stored else source_of(Path(stored["image"]))


def _stem(stored: Mapping[str, Any], path: Path) -> str | None:
    """Older entries have it in the names of their files only."""
    names = [stored["stem"]] if "stem" in stored else [name.removesuffix("_labels.tif") for name in files_of(stored)]
    return next((name for name in names if place_of(path.parent, name) == path), None)


def numbers_of(stored: Mapping[str, Any]) -> str:
    """All that was found in an image, as text, in which NaN is equal to itself."""
    tables = [{name: column for name, column in stored.get(kind, {}).items() if name != "image"} for kind in _TABLES]
    return json.dumps([stored.get("sha256"), stored.get("pixel_size"), tables])


def to_entry(stored: Mapping[str, Any]) -> Entry:
    """What is known of the image."""
    if "table" not in stored:
        return Entry(stored["image"], error=str(stored.get("error")))
    files = tuple(files_of(stored))
    # Older entries have neither; the labels are the first of the files.
    stem = stored.get("stem", files[0].removesuffix("_labels.tif") if files else "")
    return Entry(
        stored["image"],
        stored["sha256"],
        stored["pixel_size"],
        precision=stored.get("precision", "float32"),  # which older entries don't tell: there was no other
        files=files,
        noted=stored["time"],
        stem=stem,
        path=stored.get("path", whence(stored)),
        table=_table(stored["table"]),
        summary=_table(stored["summary"]),
    )


def columns_of(table: pd.DataFrame | None) -> dict[str, Any]:
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


def digest(text: str) -> str:
    """Of a text, for the name of a file."""
    return text_sha256(text)[:40]
