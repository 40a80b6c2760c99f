"""Records: where samples lie, and what all readers of them share."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nucleiseg._memory import memory_limit
from nucleiseg.errors import DatasetError, LabelTypeError, SizeMismatchError

__all__ = [
    "Array",
    "Overlap",
    "Record",
    "SourceNotes",
    "Unpaired",
    "check_pair",
    "check_unpacked",
    "complain",
    "content_of_stamp",
    "file_stamp",
    "read_file",
    "shorten",
]

Array = NDArray[Any]


class Overlap(NamedTuple):
    """Pixels that two masks of one image claim; the later mask has them."""

    earlier: int
    later: int
    pixels: int


@dataclass
class SourceNotes:
    """What the files of a sample tell beyond its labels; filled in while the record is read.

    Parameters
    ----------
    split_mask : bool
        The labels are the connected components of a mask.
    lossy : bool
        The labels were saved as JPEG, which changes pixels.
    grey_masks : int
        Masks of single nuclei with values between 0 and the highest, which interpolation and JPEG leave.
    mask_areas : list of int
        Pixels of each mask, in the order of the labels; an empty mask has 0.
    overlaps : list of Overlap
        Where masks share pixels.
    """

    split_mask: bool = False
    lossy: bool = False
    grey_masks: int = 0
    mask_areas: list[int] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)

    def add_mask(self, label: int, inside: Array, labels: Array) -> None:
        """Note a mask before it is painted: its pixels, and the labels that are there already."""
        self.mask_areas.append(int(np.count_nonzero(inside)))
        earlier, pixels = np.unique(labels[inside], return_counts=True)
        pairs = zip(earlier.tolist(), pixels.tolist(), strict=True)
        self.overlaps += [Overlap(value, label, count) for value, count in pairs if value]


class Unpaired(NamedTuple):
    """Samples that lack an image or labels, and what to say about them."""

    ids: tuple[str, ...]
    message: str


class Record(Protocol):
    """Where one sample lies; what readers make. Small, picklable, and safe to use from many threads.

    Its repr names the files, and stays the same when they change: the cache finds its entry by it.
    """

    @property
    def id(self) -> str:
        """Name of the sample."""

    def stamp(self) -> str | None:
        """Text that changes when the source does, so that the cache notices; None if there is nothing to save."""

    def read(self, notes: SourceNotes | None = None) -> tuple[Array, NDArray[np.int32]]:
        """The image and its labels; with ``notes``, what else the files tell is written there."""

    def files(self, labels: Sequence[int] = ()) -> tuple[str, ...]:
        """The files that hold these labels; without labels, the image's file. Nothing for arrays in memory."""


def check_pair(name: str, image: Array, labels: Array) -> tuple[Array, NDArray[np.int32]]:
    """An image and labels of one size, the labels as int32."""
    if image.shape[:2] != labels.shape[:2]:
        raise SizeMismatchError(
            f"sample {name!r}: image and labels must have the same height and width, got {image.shape[:2]} and "
            f"{labels.shape[:2]}; check that they belong together"
        )
    highest = np.iinfo(np.int32).max
    if labels.min() < 0 or labels.max() > highest:
        raise LabelTypeError(
            f"sample {name!r}: labels must lie in 0 to {highest}, got {labels.min()} to {labels.max()}; "
            "renumber them, e.g. with skimage.segmentation.relabel_sequential"
        )
    return image, labels.astype(np.int32, copy=False)


def check_unpacked(file: IO[bytes]) -> None:
    """Refuse a zip archive (``.npz`` is one) whose members claim more bytes together than memory can hold."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > memory_limit():
            raise DatasetError(f"claims {size:,} bytes, more than the {memory_limit():,} that may be used here")
    file.seek(0)


def complain(ids: Sequence[str], message: str, unpaired: list[Unpaired] | None) -> None:
    """Raise about samples that lack something; with a list, note them there, and the rest can be read."""
    if unpaired is None:
        raise DatasetError(message)
    unpaired.append(Unpaired(tuple(ids), message))


def file_stamp(path: str) -> str:
    """Path, size and times of a file: when its content changed, and its entry in the file system.

    The latter is later where content was replaced and its time set back, as tools do that keep times. It changes with
    permissions, too, which costs one more decoding.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 (called for tens of thousands of masks)
    except OSError:
        raise DatasetError(f"{path}: has gone since it was opened; call datasets.read again") from None
    return f"{path}|{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}"


def content_of_stamp(stamp: str) -> str:
    """A stamp less what permissions change, to tell whether a file still has the same content.

    Examples
    --------
    >>> content_of_stamp("a.zip|9|100|200")
    'a.zip|9|100'
    """
    return stamp.rpartition("|")[0]


def read_file(path: str) -> bytes:
    """The bytes of a file."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (pathlib costs as much as the reading itself)
            return file.read()
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}); check that it exists and its permissions"
        ) from error


def shorten(names: list[str], limit: int = 5) -> str:
    """Some of many names, for messages."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
