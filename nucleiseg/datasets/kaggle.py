"""The layout of the 2018 Data Science Bowl: ``<id>/images/<id>.png`` and ``<id>/masks/*.png``, in a folder or a zip."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleiseg._memory import memory_limit
from nucleiseg.datasets.records import (
    Array,
    SourceNotes,
    Unpaired,
    complain,
    content_of_stamp,
    file_stamp,
    read_file,
    shorten,
)
from nucleiseg.errors import DatasetError, SizeMismatchError
from nucleiseg.images.decoding import decode_image, decode_mask
from nucleiseg.images.reading import IMAGE_SUFFIXES

__all__ = ["FolderRecord", "Member", "ZipRecord", "find_kaggle_folder", "find_kaggle_zip"]


@dataclass(frozen=True)
class FolderRecord:
    """One sample in a folder: an image and a mask for each nucleus."""

    id: str
    image: str
    masks: tuple[str, ...]

    def stamp(self) -> str:
        """Paths, sizes and times of all files."""
        return "\n".join(file_stamp(path) for path in (self.image, *self.masks))

    def read(self, notes: SourceNotes | None = None) -> tuple[Array, NDArray[np.int32]]:
        """The image, and the masks as labels."""
        files = ((path, read_file(path)) for path in (self.image, *self.masks))
        return _assemble(self.id, files, notes)

    def files(self, labels: Sequence[int] = ()) -> tuple[str, ...]:
        """The masks of these labels, or the image."""
        return tuple(self.masks[label - 1] for label in labels) or (self.image,)


class Member(NamedTuple):
    """Where a file lies in a zip."""

    name: str
    offset: int
    packed_size: int
    size: int
    method: int
    crc: int


@dataclass(frozen=True)
class ZipRecord:
    """One sample in a zip archive, read without unpacking it to disk."""

    id: str
    archive: str
    archive_stamp: str = field(repr=False)
    image: Member
    masks: tuple[Member, ...]

    def stamp(self) -> str:
        """Path, size and time of the archive."""
        return self.archive_stamp

    def files(self, labels: Sequence[int] = ()) -> tuple[str, ...]:
        """The masks of these labels, or the image, in the archive."""
        return tuple(self.masks[label - 1].name for label in labels) or (self.image.name,)

    def read(self, notes: SourceNotes | None = None) -> tuple[Array, NDArray[np.int32]]:
        """The image, and the masks as labels."""
        if content_of_stamp(file_stamp(self.archive)) != content_of_stamp(self.archive_stamp):
            raise DatasetError(f"{self.archive}: has changed since it was opened; call datasets.read again")
        # Masks are small and lie side by side: one buffer holds dozens of them.
        with open(self.archive, "rb", buffering=1 << 16) as file:  # noqa: PTH123
            files = ((f"{self.archive}/{m.name}", _unpack(file, m, self.archive)) for m in (self.image, *self.masks))
            return _assemble(self.id, files, notes)


def find_kaggle_folder(folder: Path, unpaired: list[Unpaired] | None = None) -> list[FolderRecord] | None:
    """The samples of a folder, also one folder deeper; None if the layout is another one."""
    for pattern in ("*/images", "*/*/images"):
        roots = sorted(path.parent for path in folder.glob(pattern) if path.is_dir())
        if roots:
            break
    else:
        return None
    names = [
        (root.name, kind, os.fspath(root / kind) + os.sep + name)
        for root in roots
        for kind in ("images", "masks")
        if (root / kind).is_dir()
        for name in (
            "",
            *(entry.name for entry in os.scandir(root / kind)),
        )  # "" tells an empty folder of masks from a missing one
    ]
    samples = _group(names, str(folder), unpaired)
    return [FolderRecord(name, image, tuple(masks)) for name, image, masks in samples]


def find_kaggle_zip(path: Path, unpaired: list[Unpaired] | None = None) -> list[ZipRecord] | None:
    """The samples of a zip archive; None if the layout is another one."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DatasetError(f"{path}: is not a readable zip archive ({error}); download it again") from error
    names = [
        (parts[-3], parts[-2], name)
        for name in infos
        if len(parts := name.split("/")) >= 3 and parts[-2] in ("images", "masks") and parts[0] != "__MACOSX"
    ]
    if not any(kind == "images" for _, kind, _ in names):
        return None
    _check_names(infos, path)
    stamp = file_stamp(str(path))
    return [
        ZipRecord(name, str(path), stamp, _member(infos[image], path), tuple(_member(infos[m], path) for m in masks))
        for name, image, masks in _group(names, str(path), unpaired)
    ]


def _group(
    names: Iterable[tuple[str, str, str]], source: str, unpaired: list[Unpaired] | None
) -> Iterator[tuple[str, str, list[str]]]:
    """From (sample, "images" or "masks", file) to (sample, image, masks); names that end in a slash are folders."""
    images: dict[str, list[str]] = {}
    masks: dict[str, list[str]] = {}
    for sample, kind, name in names:
        files = (images if kind == "images" else masks).setdefault(sample, [])
        if name.lower().endswith(IMAGE_SUFFIXES) and not os.path.basename(name).startswith("."):  # noqa: PTH119
            files.append(name)
    without = sorted(images.keys() - masks.keys())
    if without:
        complain(
            without,
            f"{source}: {len(without)} of {len(images)} samples have no folder 'masks': {shorten(without)}; "
            "add one (empty if there are no nuclei), or predict on images without masks with Segmenter.predict",
            unpaired,
        )
    wrong = sorted(sample for sample in images.keys() | masks.keys() if len(images.get(sample, [])) != 1)
    if wrong:
        complain(
            wrong,
            f"{source}: each folder 'images' must hold one image, got {len(images.get(wrong[0], []))} in {wrong[0]!r}; "
            "for many images in one folder use images/ beside labels/ (not in a zip)",
            unpaired,
        )
    for sample in sorted(images.keys() - {*without, *wrong}):
        yield sample, images[sample][0], sorted(masks[sample])


def _assemble(
    name: str, files: Iterator[tuple[str, bytes]], notes: SourceNotes | None
) -> tuple[Array, NDArray[np.int32]]:
    """Decode the image, then paint mask after mask: label k is the k-th mask, and covers earlier ones."""
    path, data = next(files)
    image = decode_image(data, path)
    height, width = image.shape[:2]
    labels = np.zeros((height, width), np.int32)
    for label, (path, data) in enumerate(files, start=1):
        shape, (row, column), inside, grey = decode_mask(data, path)
        if shape != (height, width):
            raise SizeMismatchError(
                f"sample {name!r}: image and masks must have the same height and width, got {(height, width)} and "
                f"{shape} in {path}; check that they belong together"
            )
        box = labels[row : row + inside.shape[0], column : column + inside.shape[1]]
        if notes is not None:
            notes.add_mask(label, inside, box)
            notes.grey_masks += grey
        box[inside] = label
    return image, labels


def _check_names(names: Iterable[str], path: Path) -> None:
    """Refuse names that lead out of the archive; nothing is unpacked, but ids are made of them, and files of ids."""
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or not parts[0] or ":" in parts[0]:
            raise DatasetError(
                f"{path}: {name!r} leads out of the archive; don't use it unless you know its source, "
                "or zip the folder again"
            )


def _member(info: zipfile.ZipInfo, path: Path) -> Member:
    if info.file_size > memory_limit():
        raise DatasetError(
            f"{path}: {info.filename} claims {info.file_size:,} bytes, more than the {memory_limit():,} that may be "
            "used here; don't use it unless you know its source"
        )
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DatasetError(
            f"{path}: {info.filename} is encrypted or packed in a rare way; zip the folder again, plainly"
        )
    return Member(info.filename, info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC)


def _unpack(file: Any, member: Member, archive: str) -> bytes:
    # zipfile's own reading takes a lock and costs more than decoding a small mask.
    try:
        file.seek(member.offset)
        header = file.read(30)
        file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
        data: bytes = file.read(member.packed_size)
        if member.method == zipfile.ZIP_DEFLATED:
            data = zlib.decompressobj(-15).decompress(data, member.size + 1)
    except (zlib.error, OSError, ValueError):  # the last two for an offset before the file's start
        data = b""
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise DatasetError(f"{archive}: {member.name} is damaged; download the archive again")
    return data
