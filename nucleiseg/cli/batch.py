"""The images of one ``predict``: each is segmented and written by itself, and tables of all are kept."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg._allocator import give_back
from nucleiseg._files import state_of, write_json, write_text
from nucleiseg._manifest import describe_run
from nucleiseg._memory import is_out_of_memory
from nucleiseg.cli.entries import Entry, content_sha256, placed, printable
from nucleiseg.cli.further_files import FurtherFiles
from nucleiseg.cli.journal import Journal
from nucleiseg.errors import ImageFileError, NucleisegError

if TYPE_CHECKING:
    import pandas as pd

    from nucleiseg.images import Micrograph, ReadOptions
    from nucleiseg.inference import Prediction, PredictOptions
    from nucleiseg.segmenter import Segmenter

__all__ = ["OUTPUTS", "TABLES", "Batch", "Found", "explain", "is_full", "is_read_only", "measure"]

_LARGE = 2048**2  # pixels

_LOGGER = logging.getLogger(__name__)

OUTPUTS = ("_labels.tif", "_mask.png", "_overlay.png")
"""How the names of the files of an image end."""

TABLES = {
    "measurements.csv": (b"image,labels,label,area,", b"image,label,area,"),
    "summary.csv": (b"image,labels,height,width,count,", b"image,height,width,count,"),
    "errors.csv": (b"image,error\n",),
    "run.json": (b'{\n  "software": "nucleiseg",',),
}
"""The files of all images, and how they begin if they are our own; older versions had no column ``labels``."""


@dataclass(frozen=True)
class Found:
    """A result with both of its tables, and how long it took."""

    result: Prediction
    table: pd.DataFrame
    summary: pd.DataFrame
    seconds: float

    @property
    def count(self) -> int:
        """How many nuclei there are."""
        return self.result.count

    @property
    def is_large(self) -> bool:
        """Whether there may be no memory beside it for the next image."""
        return self.result.labels.size > _LARGE


def measure(result: Prediction, started: float) -> Found:
    """The result with its tables, of an image that was begun with at this time of `time.perf_counter`."""
    table = result.table()
    found = Found(result, table, result.summary_of(table), time.perf_counter() - started)
    if found.is_large:
        give_back()  # the files are written next, while what was measured is still there
    return found


class Batch:
    """What has been done so far.

    Parameters
    ----------
    output : Path
        The folder of the results.
    journal : Journal
        Of that folder.
    further : FurtherFiles
        Exports and pictures.
    finished : mapping of str to Entry
        Images that an earlier run has finished, by stem.
    reading : ReadOptions
        How images are read.

    ``nuclei`` is how many there are in the images that are ``done``; ``left_out`` is how many images have no rows in
    the tables, because they were made with other settings, and ``incomplete`` how many of earlier runs have none,
    because files of theirs are gone or were changed. ``kept`` is how many of those that failed have results of before.
    """

    def __init__(
        self,
        output: Path,
        journal: Journal,
        further: FurtherFiles,
        finished: Mapping[str, Entry],
        reading: ReadOptions,
    ) -> None:
        self.nuclei = 0
        self.left_out = 0
        self.incomplete = 0
        self.kept = 0
        self._found: dict[str, Entry] = {}
        self.failed: list[Entry] = []
        self._output = output
        self._journal = journal
        self._further = further
        self._finished = finished
        self._reading = reading
        self._stems: set[str] = set()
        self._spoiled: set[str] = set()  # files of theirs were replaced before the others could not be written
        self._states: dict[str, tuple[int, int, int] | None] = {}

    @property
    def done(self) -> list[Entry]:
        """Images that have results."""
        return list(self._found.values())

    def sort(self, images: Sequence[tuple[Path, str]]) -> None:
        """Bring what was done or has failed, in whatever order, into that of the images."""
        self._found = {stem: self._found[stem] for _, stem in images if stem in self._found}
        place = {printable(path): number for number, (path, _) in enumerate(images)}
        self.failed.sort(key=lambda entry: place.get(entry.image, -1))  # what gave no image at all comes first

    def read(self, path: Path, stem: str) -> Micrograph | Entry:
        """The image, or what an earlier run has found in it. In any thread, as `segment`."""
        from nucleiseg.images.sources import open_micrograph

        if stem in self._finished:
            return self._finished[stem]
        self._states[stem] = state_of(path)
        return open_micrograph(path, self._reading)

    def segment(self, segmenter: Segmenter, source: Micrograph | Entry, options: PredictOptions) -> Found | Entry:
        """Find nuclei in what was read, and measure them, unless an earlier run has."""
        if isinstance(source, Entry):
            return source
        started = time.perf_counter()
        return measure(segmenter.predict(source, options), started)

    def write(self, found: Found | Entry, path: Path, stem: str) -> None:
        """Write the files of one image; of a finished one, those that are missing. In any thread, in one at a time."""
        if isinstance(found, Found):
            self._note(self._write(found, path, stem), stem, f"in {found.seconds:.2f} s")
        elif found.table is not None:
            # Whatever becomes of further files. The image may lie elsewhere now.
            self._note(replace(found, path=placed(path)), stem, "by an earlier run")
            if not set(self._further.names(stem)) <= set(found.files):
                self._write_further(found, path, stem)

    def fail(self, path: Path, stem: str, reason: str) -> None:
        """Note why an image could not be segmented, or files of a finished one not be written.

        What an earlier run has found in it stays as it is, with its files.
        """
        self.failed.append(Entry(printable(path), error=reason))
        if stem in self._stems:
            return
        if stem not in self._spoiled and self._journal.has_result(path, stem):
            self.kept += 1
            return
        try:
            noted = self._journal.fail(path, stem, reason)
        except OSError:  # the disk may be full; this process knows the reason anyway
            noted = True
        if noted:
            self._stems.add(stem)

    def finish(self, started: str, facts: Mapping[str, Any]) -> None:
        """Write the files of all images; those of an earlier run stay if this one has segmented nothing."""
        with self._journal.tables():
            others, left_out, incomplete = self._journal.others(self._stems)
            self._write_errors([*self.failed, *(entry for entry in others if entry.error)])
            if not self._found and not self._spoiled and (self._output / "summary.csv").exists():
                return
            self.left_out, self.incomplete = left_out, incomplete
            everything = [*self.done, *(entry for entry in others if not entry.error)]
            self._write_rows([entry.table for entry in everything if entry.table is not None], "measurements.csv")
            self._write_rows([entry.summary for entry in everything if entry.summary is not None], "summary.csv")
            self._write_manifest(started, facts)
            # Here, too: of two processes the one that comes last knows all images of the other.
            self._journal.note_together(self._further.joint, self._further.finish(everything))

    def _note(self, entry: Entry, stem: str, how: str) -> None:
        self._stems.add(stem)
        self._found[stem] = entry
        self.nuclei += entry.count
        _LOGGER.info("%s: %d nuclei, segmented %s", entry.image, entry.count, how)

    def _write(self, found: Found, path: Path, stem: str) -> Entry:
        result, name = found.result, printable(path)
        for rows in (found.table, found.summary):
            rows.insert(0, "image", name)
            rows.insert(1, "labels", printable(Path(f"{stem}{OUTPUTS[0]}")))
        names = (*(f"{stem}{ending}" for ending in OUTPUTS), *self._further.names(stem))
        sha256 = content_sha256(path)
        if stem in self._states and self._states.pop(stem) != state_of(path):  # else labels and hash are of two images
            raise NucleisegError("changed while it was segmented; run again with --resume")
        facts = name, sha256, result.pixel_size, "", result.precision, names
        entry = Entry(*facts, stem=stem, path=placed(path), table=found.table, summary=found.summary)
        with self._journal.writing(path, stem):
            before = self._states_of(names)
            try:
                result.save_images(self._output, stem)
                self._further.add(entry, path, stem, result.labels, result.image)
                self._journal.add(path, stem, entry)
            except BaseException:
                if self._states_of(names) != before:
                    self._spoiled.add(stem)
                raise
        return entry

    def _states_of(self, names: Sequence[str]) -> list[tuple[int, int, int] | None]:
        return [state_of(self._output / name) for name in names]

    def _write_further(self, entry: Entry, path: Path, stem: str) -> None:
        """Exports and pictures of an image that an earlier run has segmented, from the labels that it wrote."""
        from nucleiseg.images.reading import read_labels
        from nucleiseg.images.sources import open_micrograph

        image = open_micrograph(path, self._reading).shown if self._further.need_images else None
        with self._journal.writing(path, stem):
            if not self._journal.holds(stem, entry):
                raise NucleisegError("another process has changed its results meanwhile; go on with --resume")
            place = self._output / f"{stem}{OUTPUTS[0]}"
            try:
                labels = read_labels(place, max_pixels=2**62)
            except ImageFileError as error:
                raise NucleisegError(f"{error}; or delete it, and segment the image again with --resume") from error
            self._further.add(entry, path, stem, labels, image)
            self._journal.add(path, stem, replace(entry, files=(*entry.files, *self._further.names(stem))))

    def _write_rows(self, tables: Sequence[pd.DataFrame], name: str) -> None:
        import pandas as pd

        if not tables:
            (self._output / name).unlink(missing_ok=True)  # of an earlier run, as `_write_errors` does
            return
        filled = [table for table in tables if len(table)]
        # Images of several kinds have different channels; those that an image lacks stay empty.
        everything = pd.concat(filled, ignore_index=True) if filled else tables[0]
        write_text(self._output / name, everything.to_csv(index=False, lineterminator="\n"))

    def _write_errors(self, failed: Sequence[Entry]) -> None:
        import pandas as pd

        path = self._output / "errors.csv"
        if not failed:
            path.unlink(missing_ok=True)  # of an earlier run; others' were refused at the start
            return
        rows = pd.DataFrame({"image": [e.image for e in failed], "error": [" ".join(e.error.split()) for e in failed]})
        write_text(path, rows.to_csv(index=False, lineterminator="\n"))

    def _write_manifest(self, started: str, facts: Mapping[str, Any]) -> None:
        from nucleiseg._files import text_sha256

        contents = sorted(f"{Path(entry.image).name}|{entry.sha256}" for entry in self.done)
        images = {
            **facts["images"],
            "segmented": len(self.done),
            "failed": len(self.failed),
            "sha256": text_sha256("\n".join(contents)),
        }
        made = {**facts, "images": images, "computed in": sorted({entry.precision for entry in self.done})}
        write_json(self._output / "run.json", describe_run(started, made))


def is_full(error: Exception) -> bool:
    """Whether no further image could be written either."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def is_read_only(error: Exception) -> bool:
    """Whether it is of no use to make room."""
    return isinstance(error, OSError) and error.errno == errno.EROFS


def explain(error: Exception) -> Exception:
    """The error with a remedy, where there is one."""
    if type(error).__name__ == "KilledWorker":  # Dask's, which need not be installed
        return NucleisegError(
            "workers of the Dask cluster died of it, one after the other, as they do if memory lacks; give them more, "
            "or less to each with --max-memory"
        )
    if is_out_of_memory(error):
        return NucleisegError("segmenting it needs more memory than there is; cut it into tiles with --tile 512")
    if is_full(error):
        remedy = "choose another output folder" if is_read_only(error) else "make room"
        return NucleisegError(f"its results cannot be written ({getattr(error, 'strerror', error)}); {remedy}")
    return error
