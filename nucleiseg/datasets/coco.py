"""A COCO file of run lengths or polygons, and a folder of images."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.datasets.image_files import read_pixels
from nucleiseg.datasets.records import (
    Array,
    SourceNotes,
    Unpaired,
    check_pair,
    complain,
    file_stamp,
    shorten,
)
from nucleiseg.errors import DatasetError, InvalidInputError, SizeMismatchError
from nucleiseg.images.read_options import ReadOptions
from nucleiseg.instances.coco import group_coco, paint_coco

__all__ = ["CocoRecord", "find_coco"]


@dataclass(frozen=True, eq=False)
class CocoRecord:
    """One image file, and the segmentations of its nuclei."""

    id: str
    image: str
    table: str
    shape: tuple[int, int] = field(repr=False)
    segmentations: tuple[Any, ...] = field(repr=False)
    reading: ReadOptions | None = None

    def stamp(self) -> str:
        """Path, size and time of the image, and a digest of the segmentations."""
        digest = hashlib.sha256(json.dumps(self.segmentations).encode()).hexdigest()
        return f"{file_stamp(self.image)}\n{digest}"

    def files(self, labels: Sequence[int] = ()) -> tuple[str, ...]:  # noqa: ARG002
        """The image; its labels are annotations of the table."""
        return (self.image,)

    def read(self, notes: SourceNotes | None = None) -> tuple[Array, NDArray[np.int32]]:
        """The image, and the labels: label k is the k-th annotation of the image, and covers earlier ones."""
        image = read_pixels(self.image, self.reading)
        if image.shape[:2] != tuple(self.shape):  # before memory is taken for what the table claims
            raise SizeMismatchError(
                f"sample {self.id!r}: image and labels must have the same height and width, got {image.shape[:2]} and "
                f"{tuple(self.shape)} in {self.table}; check that they belong together"
            )
        try:
            if notes is not None:
                self._note(notes)
            return check_pair(self.id, image, paint_coco(self.segmentations, self.shape))
        except InvalidInputError as error:
            raise DatasetError(f"{self.table}: sample {self.id!r}: {error}") from error

    def _note(self, notes: SourceNotes) -> None:
        """Which annotations overlap, which the painted labels no longer tell."""
        labels = np.zeros(self.shape, np.int32)
        for label, segmentation in enumerate(self.segmentations, start=1):
            inside = paint_coco([segmentation], self.shape) > 0
            notes.add_mask(label, inside, labels)
            labels[inside] = label


def find_coco(
    images: Path, table: Path, unpaired: list[Unpaired] | None = None, reading: ReadOptions | None = None
) -> list[CocoRecord]:
    """The images that the file names. Others in the folder do not count: they may belong to another split."""
    try:
        listed = group_coco(json.loads(table.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:  # the last one of what is nested without end
        raise DatasetError(f"{table}: {error}; a file of annotations in COCO's format is needed") from error
    names = [PurePosixPath(image.file_name.replace("\\", "/")) for image in listed]
    alike = Counter(name.name for name in names)
    paths = [_find(images, name, anywhere=alike[name.name] == 1) for name in names]
    without = sorted(str(name) for name, path in zip(names, paths, strict=True) if path is None)
    if without:
        complain(
            without,
            f"{images}: each image of {table} needs its file, {len(without)} have none: {shorten(without)}; "
            "pass the folder of the images",
            unpaired,
        )
    records = [
        CocoRecord(str(name.with_suffix("")), str(path), str(table), image.shape, image.segmentations, reading)
        for name, path, image in zip(names, paths, listed, strict=True)
        if path is not None
    ]
    return sorted(records, key=lambda record: record.id)


def _find(folder: Path, name: PurePosixPath, anywhere: bool) -> Path | None:
    """The file of that name below the folder, or directly in it where no other image is called so in its own folder."""
    places = (folder / name, folder / name.name) if anywhere else (folder / name,)
    return next((path for path in places if path.is_file()), None)
