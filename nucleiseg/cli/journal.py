"""What ``predict`` has done in a results folder, image by image, so that nothing is done twice and nothing is lost.

In the hidden folder ``.nucleiseg`` of the results there is a small file for each image, written after all others of it:
what is not in it is not finished. Several processes may write into one results folder at the same time.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nucleiseg._files import locked, write_text
from nucleiseg.cli.entries import (
    FOLDER,
    Entry,
    columns_of,
    content_sha256,
    digest,
    files_of,
    numbers_of,
    place_of,
    placed,
    printable,
    read_entry,
    source_of,
    to_entry,
    whence,
)
from nucleiseg.cli.leftovers import Together, as_written, remove_own
from nucleiseg.cli.planes import changes, plane_of
from nucleiseg.errors import InvalidInputError

__all__ = ["Entry", "Journal", "Others"]


class Others(NamedTuple):
    """Images that are not of this run.

    Parameters
    ----------
    entries : list of Entry
        Those that were made with the same settings, by name; of images that failed, too.
    different : int
        How many have results that were made with others.
    incomplete : int
        How many were made with the same, but files of theirs are gone since, or were changed. Images of which all that
        was written is gone do not count.
    """

    entries: list[Entry]
    different: int
    incomplete: int


class Journal:
    """The entries of a results folder that were made with one model and one set of options.

    Parameters
    ----------
    folder : Path
        Of the results; made if needed.
    settings : mapping
        What decides the numbers: model, options, version. Entries made with others are passed over.
    since : int, optional
        When this process looked at what is there, in nanoseconds; by default now.

    Raises
    ------
    InvalidInputError
        If the folder can't be written into.

    ``replaced`` tells, for each image whose result was of another channel or plane before, of which.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], since: int | None = None) -> None:
        self._results = folder
        self._folder = folder / FOLDER
        self._key = digest(json.dumps(settings, sort_keys=True))
        self._plane = plane_of(settings)
        self.replaced: list[str] = []
        self._started = time.time_ns() if since is None else since
        self._together = Together(folder, self._folder / "together")
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
        return to_entry(stored) if same else None

    def holds(self, stem: str, entry: Entry) -> bool:
        """Whether nothing was written about an image since its entry was found, and its files are there."""
        stored = self._load(self._path(stem))
        return stored is not None and stored["time"] == entry.noted

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
            if other is not None and other["time"] > self._started and whence(other) != source_of(path):
                raise InvalidInputError(
                    f"{path}: another process has just written the results of {other['image']} under the same name "
                    f"into {self._results}; choose another output folder"
                )
            was = {} if other is None else other
            yield
            if told := changes(was.get("plane", self._plane), self._plane):  # which older entries don't tell
                self.replaced.append(told)

    def add(self, path: Path, stem: str, entry: Entry) -> None:
        """Note that an image is finished, and its files are there.

        Files that an earlier run wrote of it stay if nothing has changed, and are removed if they no longer fit.
        """
        facts: dict[str, Any] = {
            "image": entry.image,
            "sha256": entry.sha256,
            "pixel_size": entry.pixel_size,
            "plane": self._plane,
            "precision": entry.precision,
            "table": columns_of(entry.table),
            "summary": columns_of(entry.summary),
        }
        sizes = {name: (self._results / name).stat().st_size for name in entry.files}
        earlier = read_entry(self._path(stem))
        if earlier is not None:
            more = {name: size for name, size in files_of(earlier).items() if name not in sizes}
            if earlier.get("key") == self._key and numbers_of(earlier) == numbers_of(facts):
                sizes |= as_written(self._results, more)
            else:  # before the new entry is there: if this process is killed, the next one finds them in the old one
                remove_own(self._results, {name: size for name, size in more.items() if not self._has(name, stem)})
                self._together.remove(stem)
        self._write(path, stem, {**facts, "files": sizes})

    def note_together(self, names: Sequence[str], contents: Mapping[str, Sequence[str]]) -> None:
        """Note which images, by stem, are in which files of all images; only within `tables`.

        Of ``names``, those that were not written, for there was nothing to write, are removed if they are of before.
        """
        self._together.drop([name for name in names if name not in contents])
        self._together.add(contents)

    def has_result(self, path: Path, stem: str) -> bool:
        """Whether an image has files of before, with whatever options, that are all there as they were written."""
        stored = self._load(self._path(stem), any_key=True)
        if stored is None or "table" not in stored:
            return False
        # One that was moved is known by its name; what is newer than this process may be of another image.
        return whence(stored) == source_of(path) or bool(stored["time"] <= self._started)

    def fail(self, path: Path, stem: str, message: str) -> bool:
        """Note why an image could not be segmented; not if another image has taken its name meanwhile."""
        earlier = read_entry(self._path(stem))
        left = {} if earlier is None else as_written(self._results, files_of(earlier))
        if earlier is not None and left and whence(earlier) != source_of(path):
            return False
        self._write(path, stem, {"image": printable(path), "files": {}, "left": left, "error": message})
        return True

    def others(self, stems: Collection[str]) -> Others:
        """Images but those of these stems, from earlier runs and from processes that run now."""
        own = {self._path(stem) for stem in stems}
        paths = sorted(set(self._folder.glob("*.json")) - own)
        held = self._together.stems()
        found, different, incomplete = [], 0, 0
        for path in paths:
            stored = read_entry(path)
            if stored is None or self._is_over(stored):
                continue
            same, whole = stored.get("key") == self._key, self._is_whole(stored)
            if same and whole:
                found.append(to_entry(stored))
            elif "table" in stored:
                different += whole
                left = as_written(self._results, files_of(stored)) or stored.get("stem") in held
                incomplete += bool(same and left)
        return Others(sorted(found, key=lambda entry: entry.image), different, incomplete)

    @contextlib.contextmanager
    def tables(self) -> Iterator[None]:
        """Hold off other processes while the files of all images are written."""
        with locked(self._folder / "lock"):
            yield

    def _path(self, stem: str) -> Path:
        return place_of(self._folder, stem)

    def _is_over(self, stored: Mapping[str, Any]) -> bool:
        """Whether it is of an image that failed, and of which nothing is left: neither itself nor files."""
        if "table" in stored or as_written(self._results, files_of(stored)):
            return False
        return not os.path.exists(whence(stored))  # noqa: PTH110  # False where it may not be looked at, too

    def _has(self, name: str, stem: str) -> bool:
        """Whether a file is one of another image: ``x_imagej_labels.tif`` is an export of x, or x_imagej's labels."""
        others = (self._path(name[:end]) for end in range(1, len(name)) if name[:end] != stem)
        return any(name in files_of(read_entry(path) or {}) for path in others if path.exists())

    def _write(self, path: Path, stem: str, facts: Mapping[str, Any]) -> None:
        known = {"key": self._key, "time": time.time_ns(), "stem": stem}
        known |= {"source": source_of(path), "path": placed(path)}
        write_text(self._path(stem), json.dumps({**known, **facts}))

    def _load(self, path: Path, any_key: bool = False) -> dict[str, Any] | None:
        """An entry of which all files are there; None if there is none, or it is damaged."""
        stored = read_entry(path)
        if stored is None or not (any_key or stored.get("key") == self._key):
            return None
        return stored if self._is_whole(stored) else None

    def _is_whole(self, stored: Mapping[str, Any]) -> bool:
        """Whether all of its files are there as they were written."""
        return bool(as_written(self._results, stored["files"]) == stored["files"])
