"""Distillation: a network learns from what another one finds in the images, beside their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_range
from nucleiseg.errors import InvalidInputError
from nucleiseg.training.copies import part_copies

if TYPE_CHECKING:
    from nucleiseg.datasets import Dataset
    from nucleiseg.training.targets import Target

__all__ = ["TaughtImages", "TaughtSample", "check_teacher", "number_copies", "number_pixels", "pack", "taught_target"]

_STEPS = 255  # maps are kept in bytes: as large as the pixels themselves
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class TaughtSample:
    """An image, its labels, and what a teacher finds in it: ``maps`` from `pack`, (H, W, C) uint8."""

    image: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    maps: npt.NDArray[np.uint8]
    share: float


class TaughtImages:
    """Labelled images with the maps of a teacher; made by `nucleiseg.teach`, learned from by `Segmenter.fit`.

    Parameters
    ----------
    data : Dataset
        Labelled images.
    maps : sequence of numpy.ndarray
        For each of them, in order, what `pack` makes of the teacher's maps, (H, W, C) uint8.
    share : float
        Part of the target that is taken from them, 0 to 1: 0 learns from the labels alone, 1 from the teacher alone.
    teacher : str
        By what it can be told from others.
    head : str
        What its maps mean; whoever learns from them must have the same.

    Raises
    ------
    InvalidInputError
        If there are not as many maps as images, or the share is no number from 0 to 1.

    Examples
    --------
    >>> from nucleiseg import datasets
    >>> data = datasets.from_arrays(np.zeros((1, 4, 4), np.uint8), np.eye(4, dtype=int)[np.newaxis])
    >>> taught = TaughtImages(data, [pack(np.full((4, 4, 1), 0.6, np.float32))], 0.5, "another", "semantic")
    >>> target = taught_target(number_pixels(taught[0].labels), taught[0], lambda labels: (labels > 0)[..., np.newaxis])
    >>> [round(float(value), 3) for value in target[0, :2, 0]]
    [0.8, 0.3]
    """

    def __init__(
        self, data: Dataset, maps: Sequence[npt.NDArray[np.uint8]], share: float, teacher: str, head: str
    ) -> None:
        if len(maps) != len(data):
            raise InvalidInputError(
                f"a teacher must have maps for every image, got {len(maps)} for {len(data)}; give one for each"
            )
        self.data, self.share = data, check_range(share, "share", 0, 1)
        self.teacher, self.head = teacher, head
        self._maps = tuple(maps)

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the images."""
        return self.data.ids

    @property
    def metadata(self) -> tuple[Mapping[str, object], ...]:
        """What is known of each image."""
        return self.data.metadata

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int, /) -> TaughtSample:
        sample = self.data[index]
        return TaughtSample(sample.image, sample.labels, self._maps[index], self.share)

    def __repr__(self) -> str:
        return f"TaughtImages({self.data}, share={self.share}, head={self.head!r})"


def check_teacher(head: str, wanted: str) -> None:
    """Refuse a teacher whose maps mean something else than those that are to be learned.

    Raises
    ------
    InvalidInputError
        If it has another head.

    Examples
    --------
    >>> check_teacher("contact", "contact")
    """
    if head != wanted:
        raise InvalidInputError(
            f"a teacher must have the head of the model that learns, {wanted!r}, got {head!r}, whose maps mean "
            "something else; take a teacher with the same head"
        )


def pack(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Maps from 0 to 1 in bytes.

    Raises
    ------
    InvalidInputError
        If they are not from 0 to 1, as those of a head with another activation.

    Examples
    --------
    >>> pack(np.array([0.0, 0.5, 1.0], np.float32)).tolist()
    [0, 128, 255]
    """
    if maps.size and not (maps.min() >= -_ROUNDING and maps.max() <= 1 + _ROUNDING):
        raise InvalidInputError(
            f"a teacher's maps must be from 0 to 1, got {maps.min():.3g} to {maps.max():.3g}; take a head whose "
            "activation is 'sigmoid' or 'softmax'"
        )
    return np.round(np.clip(maps, 0, 1) * _STEPS).astype(np.uint8)


def number_pixels(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Where a pixel lies, to be cut and turned in place of the labels: 1, 2, … in nuclei, -1, -2, … outside of them.

    What follows labels sees the same nuclei; `taught_target` finds labels and maps again. 0 is no pixel of the image.

    Examples
    --------
    >>> number_pixels(np.array([[0, 7], [7, 0]])).tolist()
    [[-1, 2], [3, -4]]
    """
    places = np.arange(1, labels.size + 1).reshape(labels.shape)
    return np.where(labels > 0, places, -places)


def number_copies(
    places: npt.NDArray[np.int64], sample: TaughtSample, copies: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
) -> npt.NDArray[np.int64]:
    """Places in a mirrored crop, raised in nuclei so that `taught_target` finds the number of the copy, too.

    ``copies`` are from `nucleiseg.training.crops.cut_crop`.

    Examples
    --------
    >>> sample = TaughtSample(np.zeros((1, 2)), np.array([[7, 0]]), np.array([[[51], [255]]], np.uint8), share=0.0)
    >>> mirrored = np.array([[1, -2, -2, 1]])
    >>> places = number_copies(mirrored, sample, (np.array([0]), np.array([0, 0, 1, 1])))
    >>> taught_target(places, sample, lambda labels: labels[..., np.newaxis]).ravel().tolist()
    [1.0, 0.0, 0.0, 2.0]
    """
    labels = sample.labels.ravel()[np.abs(places) - 1]
    return places + part_copies(labels, *copies).astype(np.int64) * sample.labels.size


def taught_target(
    places: npt.NDArray[np.integer[Any]], sample: TaughtSample, target: Target
) -> npt.NDArray[np.float32]:
    """What a network is to learn at some places of a sample: the target of its labels, mixed with the teacher's maps.

    ``places`` (H, W) are from `number_pixels`, and `number_copies` where the image is mirrored. Where the target has
    more channels than the teacher has maps, such as weights, they stay as they are.

    Examples
    --------
    >>> sample = TaughtSample(np.zeros((1, 2)), np.array([[0, 7]]), np.array([[[51], [255]]], np.uint8), share=1.0)
    >>> target = taught_target(np.array([[2, -1, 0]]), sample, lambda labels: (labels > 0)[..., np.newaxis])
    >>> [round(float(value), 3) for value in target.ravel()]
    [1.0, 0.2, 0.0]
    """
    known = places != 0
    numbers, index = np.divmod(np.abs(places) - known, sample.labels.size)
    labels = np.where(numbers > 0, numbers, sample.labels.ravel()[index])
    wanted = np.array(target(np.where(known, labels, 0)), np.float32)
    channels = sample.maps.shape[-1]
    found = sample.maps.reshape(-1, channels)[index] * known[..., np.newaxis]
    wanted[..., :channels] *= 1 - sample.share
    wanted[..., :channels] += found.astype(np.float32) * np.float32(sample.share / _STEPS)
    return wanted
