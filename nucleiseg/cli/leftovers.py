"""Files of earlier runs that no longer fit the labels beside them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nucleiseg._files import write_text

__all__ = ["Together", "as_written", "remove_own"]


def as_written(folder: Path, sizes: Mapping[str, int]) -> dict[str, int]:
    """Those of these files that are there, and as large as they were; ``sizes`` in bytes, by name."""
    found = {}
    for name, size in sizes.items():
        with contextlib.suppress(OSError, ValueError):  # the name may be none that a file can have
            if Path(name).name == name and (folder / name).stat().st_size == size:
                found[name] = size
    return found


def remove_own(folder: Path, sizes: Mapping[str, int]) -> None:
    """Remove these files, but none that was changed since, or that nucleiseg has not written."""
    from nucleiseg.instances.exporters import is_own_export

    for name in as_written(folder, sizes):
        if is_own_export(folder / name):
            with contextlib.suppress(OSError):  # another process was faster, or it may not be removed
                (folder / name).unlink()


class Together:
    """Which images are in the files that hold all images.

    Parameters
    ----------
    folder : Path
        Of the results.
    record : Path
        The file in which this is noted.
    """

    def __init__(self, folder: Path, record: Path) -> None:
        self._folder = folder
        self._record = record

    def add(self, contents: Mapping[str, Sequence[str]]) -> None:
        """Note what has been written: the stems of the images that are in each file, by its name."""
        written = {
            name: [(self._folder / name).stat().st_size, list(stems)]
            for name, stems in contents.items()
            if (self._folder / name).exists()
        }
        if written:
            write_text(self._record, json.dumps({**self._read(), **written}))

    def stems(self) -> set[str]:
        """Of all images in such files, as far as these are there."""
        known = self._read()
        there = as_written(self._folder, {name: size for name, (size, _) in known.items()})
        return {stem for name in there for stem in known[name][1]}

    def remove(self, stem: str) -> None:
        """Remove the files that hold an image whose labels are others now."""
        self.drop([name for name, (_, stems) in self._read().items() if stem in stems])

    def drop(self, names: Collection[str]) -> None:
        """Remove these files, as far as they are as they were written."""
        known = self._read()
        stale = {name: known[name][0] for name in names if name in known}
        if stale:
            remove_own(self._folder, stale)
            write_text(self._record, json.dumps({name: known[name] for name in known.keys() - stale.keys()}))

    def _read(self) -> dict[str, tuple[int, list[str]]]:
        """Empty if nothing was noted, or the record is damaged."""
        try:
            known = json.loads(self._record.read_text(encoding="utf-8"))
            return {str(name): (int(size), [str(stem) for stem in stems]) for name, (size, stems) in known.items()}
        except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return {}
