"""Datasets in arrays: in memory, ``.npz`` or ``.npy``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nucleiseg._checks import check_image, check_labels
from nucleiseg.datasets.dataset import Dataset
from nucleiseg.datasets.paired import is_mask
from nucleiseg.datasets.records import Array, SourceNotes, check_pair, check_unpacked
from nucleiseg.errors import DatasetError, InvalidInputError
from nucleiseg.instances.splitting import split_components

__all__ = ["ArrayRecord", "from_arrays", "read_npy", "read_npz"]


@dataclass(frozen=True, eq=False)
class ArrayRecord:
    """One sample in memory."""

    id: str
    image: Array
    labels: Array

    def stamp(self) -> None:
        """Nothing to be cached."""

    def files(self, labels: Sequence[int] = ()) -> tuple[str, ...]:  # noqa: ARG002
        """None."""
        return ()

    def read(self, notes: SourceNotes | None = None) -> tuple[Array, NDArray[np.int32]]:
        """The image, and the labels; those of a binary mask are its connected components."""
        image, labels = check_pair(self.id, self.image, self.labels)
        split = is_mask(labels)
        if notes is not None:
            notes.split_mask = split
        return image, split_components(labels != 0) if split else labels


def from_arrays(
    images: Sequence[Array] | Array, labels: Sequence[Array] | Array, ids: Sequence[str | int] | None = None
) -> Dataset:
    """A dataset of arrays in memory.

    Parameters
    ----------
    images : (N, H, W) or (N, H, W, C) array, or sequence of (H, W) or (H, W, C) arrays
        Any real dtype; C is 1 to 4.
    labels : (N, H, W) integer array, or sequence of (H, W) arrays
        0 is background, every other number one nucleus. In a binary mask, of 0 and 1, 255 or 65535, each connected
        part is one.
    ids : sequence of str or int, optional
        Names of the samples, kept as text; by default ``"0000"``, ``"0001"`` and so on.

    Returns
    -------
    dataset : Dataset
        It refers to the arrays; they are not copied.

    Raises
    ------
    InvalidInputError
        If the numbers of images, labels and ids differ, or one of them is no image or labels.
    DatasetError
        If an image and its labels differ in size, or ids are not unique.

    Examples
    --------
    >>> from_arrays(np.zeros((2, 8, 8), np.uint8), np.ones((2, 8, 8), int))[1]
    Sample('0001', image uint8 (8, 8))
    """
    if len(images) != len(labels) or (ids is not None and len(ids) != len(images)):
        counts = f"{len(images)} images, {len(labels)} labels" + ("" if ids is None else f", {len(ids)} ids")
        raise InvalidInputError(f"each image needs its labels (and id), got {counts}; check the first axis")
    names = [f"{index:04}" for index in range(len(images))] if ids is None else [str(name) for name in ids]
    records = []
    for name, image, label in zip(names, images, labels, strict=True):
        record = ArrayRecord(name, check_image(image, f"image {name!r}"), check_labels(label, f"labels {name!r}"))
        record.read()
        records.append(record)
    return Dataset(records)


def read_npz(path: Path) -> Dataset:
    """A ``.npz`` file with ``images`` and ``labels``, and perhaps ``ids``; all of it is read into memory."""
    try:
        # Opened here, because NumPy leaves a damaged archive open.
        with path.open("rb") as archive:
            check_unpacked(archive)
            with np.load(archive, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files if name in ("images", "labels", "ids")}
    except Exception as error:  # a damaged zip, a .npy by another name, pickled objects
        raise DatasetError(
            f"{path}: cannot be read ({error}); save it with numpy.savez(path, images=..., labels=...)"
        ) from error
    missing = [name for name in ("images", "labels") if name not in arrays]
    if missing:
        raise DatasetError(
            f"{path}: needs arrays named 'images' and 'labels', {missing[0]!r} is missing; "
            "save it with numpy.savez(path, images=..., labels=...)"
        )
    return _from_file_arrays(path, arrays["images"], arrays["labels"], arrays.get("ids"))


def read_npy(images: Path, labels: Path) -> Dataset:
    """Two ``.npy`` files; they stay on disk, and samples are read from them when asked for."""
    loaded = []
    for path in (images, labels):
        try:
            loaded.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise DatasetError(f"{path}: cannot be read ({error}); save it with numpy.save(path, array)") from error
    return _from_file_arrays(images, loaded[0], loaded[1], None)


def _from_file_arrays(path: Path, images: Array, labels: Array, ids: Array | None) -> Dataset:
    try:
        return from_arrays(images, labels, None if ids is None else ids.tolist())
    except (InvalidInputError, TypeError) as error:
        raise DatasetError(f"{path}: {error}") from error
