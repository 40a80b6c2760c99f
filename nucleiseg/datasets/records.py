"""Records: where samples lie, and what all readers of them share."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nucleiseg.errors import DatasetError

__all__ = ["Array", "Record", "check_pair", "file_stamp", "read_file", "shorten"]

Array = NDArray[Any]


class Record(Protocol):
    """Where one sample lies; what readers make. Small, picklable, and safe to use from many threads.

    Its repr names the files, and stays the same when they change: the cache finds its entry by it.
    """

    @property
    def id(self) -> str:
        """Name of the sample."""

    def stamp(self) -> str | None:
        """Text that changes when the source does, so that the cache notices; None if there is nothing to save."""

    def read(self) -> tuple[Array, NDArray[np.int32]]:
        """The image and its labels."""


def check_pair(name: str, image: Array, labels: Array) -> tuple[Array, NDArray[np.int32]]:
    """An image and labels of one size, the labels as int32."""
    if image.shape[:2] != labels.shape[:2]:
        raise DatasetError(
            f"sample {name!r}: image and labels must have the same height and width, got {image.shape[:2]} and "
            f"{labels.shape[:2]}; check that they belong together"
        )
    highest = np.iinfo(np.int32).max
    if labels.min() < 0 or labels.max() > highest:
        raise DatasetError(
            f"sample {name!r}: labels must lie in 0 to {highest}, got {labels.min()} to {labels.max()}; "
            "renumber them, e.g. with skimage.segmentation.relabel_sequential"
        )
    return image, labels.astype(np.int32, copy=False)


def file_stamp(path: str) -> str:
    """Path, size and time of change of a file."""
    try:
        status = os.stat(path)  # noqa: PTH116 (called for tens of thousands of masks)
    except OSError:
        raise DatasetError(f"{path}: has gone since it was opened; call datasets.read again") from None
    return f"{path}|{status.st_size}|{status.st_mtime_ns}"


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
