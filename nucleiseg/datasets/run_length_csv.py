"""Kaggle's CSV of run lengths, ``ImageId,EncodedPixels`` with one row for each nucleus, and a folder of images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nucleiseg._files import escaped
from nucleiseg.datasets.image_files import READABLE_SUFFIXES, read_pixels
from nucleiseg.datasets.metadata import read_rows
from nucleiseg.datasets.paired import by_name, pick_files, without_results
from nucleiseg.datasets.records import Array, SourceNotes, Unpaired, complain, file_stamp, shorten
from nucleiseg.errors import DatasetError, InvalidInputError
from nucleiseg.images.read_options import ReadOptions
from nucleiseg.instances.run_lengths import decode_run_lengths

__all__ = ["RunLengthRecord", "find_run_lengths"]

_COLUMNS = ("ImageId", "EncodedPixels")


@dataclass(frozen=True)
class RunLengthRecord:
    """One image file, and the run lengths of its nuclei."""

    id: str
    image: str
    runs: tuple[str, ...]
    reading: ReadOptions | None = None

    def stamp(self) -> str:
        """Path, size and time of the image, and the run lengths."""
        return "\n".join((file_stamp(self.image), *self.runs))

    def files(self, labels: Sequence[int] = ()) -> tuple[str, ...]:  # noqa: ARG002
        """The image; its labels are rows of the table."""
        return (self.image,)

    def read(self, notes: SourceNotes | None = None) -> tuple[Array, NDArray[np.int32]]:
        """The image, and the labels: label k is the k-th row of the image, and covers earlier ones."""
        image = read_pixels(self.image, self.reading)
        height, width = image.shape[:2]
        labels = np.zeros((height, width), np.int32)
        for label, runs in enumerate(self.runs, start=1):
            try:
                inside = decode_run_lengths(runs, (height, width))
            except InvalidInputError as error:
                raise DatasetError(f"sample {self.id!r}: {error}") from error
            if notes is not None:
                notes.add_mask(label, inside, labels)
            labels[inside] = label
        return image, labels


def find_run_lengths(
    images: Path, table: Path, unpaired: list[Unpaired] | None = None, reading: ReadOptions | None = None
) -> list[RunLengthRecord]:
    """The images that the CSV names; an image without nuclei has one row without run lengths."""
    columns, rows = read_rows(table)
    missing = [column for column in _COLUMNS if column not in columns]
    if missing:
        raise DatasetError(
            f"{table}: needs the columns {' and '.join(_COLUMNS)}, got {', '.join(columns)}; rename or add them"
        )
    runs: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        runs[row["ImageId"]] += [row["EncodedPixels"]] if row["EncodedPixels"].strip() else []
    files = _find_files(images)
    without = sorted(runs.keys() - files.keys())
    if without:
        complain(
            without,
            f"{images}: each ImageId of {table} needs an image of that name, {len(without)} have none: "
            f"{shorten(without)}; pass the folder of the images",
            unpaired,
        )
    unnamed = sorted(files.keys() - runs.keys())
    if unnamed:
        complain(
            unnamed,
            f"{table}: each image of {images} needs a row, {len(unnamed)} have none: {shorten(unnamed)}; "
            "add rows (with empty EncodedPixels if there are no nuclei), or move the images elsewhere",
            unpaired,
        )
    named = [name for name in sorted(runs) if name in files]
    return [RunLengthRecord(name, str(files[name]), tuple(runs[name]), reading) for name in named]


def _find_files(folder: Path) -> dict[str, Path]:
    """Images by name: those in the folder, or else those in ``<id>/images``, as Kaggle has them."""
    for pattern in ("*", "*/images/*"):
        found = without_results(pick_files(folder.glob(pattern), READABLE_SUFFIXES))
        if found:
            # As `nucleiseg.instances.write_run_lengths` writes names that are no text.
            return by_name(folder, found, lambda path: escaped(path.stem))
    return {}
