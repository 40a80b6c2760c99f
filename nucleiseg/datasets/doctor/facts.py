"""What is measured of one sample; the rules judge it. Small, so that those of a whole dataset fit in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nucleiseg.datasets.copies import image_digest
from nucleiseg.datasets.doctor.contrast import Contrast, measure_contrast
from nucleiseg.datasets.doctor.regions import Ints, find_regions
from nucleiseg.datasets.known import NO_METADATA
from nucleiseg.datasets.records import Array, Record, SourceNotes
from nucleiseg.errors import LabelTypeError, NucleisegError, SizeMismatchError
from nucleiseg.images.channels import colour_channels

__all__ = ["Facts", "ImageFacts", "LabelFacts", "measure_image", "measure_labels", "measure_record"]

THUMBNAIL = 32
_MOST_PIXELS = 2**16  # enough for percentiles and shares


@dataclass(frozen=True, eq=False)
class LabelFacts:
    """The labels of an image; arrays have one element a label, in the order of the values.

    Parameters
    ----------
    shape : (int, int)
        Height and width.
    values, areas, pieces : (n,) int arrays
        The labels, their pixels, their connected regions.
    holes, hole_areas : (n,) int arrays
        Holes and their pixels.
    boxes : (n, 4) int array
        First row and column, and one beyond the last.
    fringe_contact : float
        Share of the contour towards background that runs along fringes.
    """

    shape: tuple[int, int]
    values: Ints
    areas: Ints
    pieces: Ints
    holes: Ints
    hole_areas: Ints
    boxes: Ints
    fringe_contact: float


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """The pixels of an image.

    Parameters
    ----------
    shape, dtype
        Of the array.
    finite, constant : bool
        No NaN or infinity; one value everywhere.
    brightness : float
        99th percentile as a share of the type's range; of floats, as it is.
    saturated, nuclei_saturated : float
        Share of the pixels, and of those of nuclei, with a channel at the highest value that the type or camera holds.
    contrast : Contrast
        Whether nuclei are brighter or darker than the rest.
    digest : bytes
        Equal for equal arrays.
    thumbnail : (32, 32) float32 array
        Mean grey values.
    """

    shape: tuple[int, ...]
    dtype: str
    finite: bool
    constant: bool
    brightness: float
    saturated: float
    nuclei_saturated: float
    contrast: Contrast
    digest: bytes
    thumbnail: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Facts:
    """All about one sample; ``labels`` and ``image`` are None if it could not be read, and ``problem`` says why."""

    record: Record
    labels: LabelFacts | None = None
    image: ImageFacts | None = None
    notes: SourceNotes = field(default_factory=SourceNotes)
    problem: str = ""
    problem_kind: str = ""
    metadata: Mapping[str, object] = field(default_factory=lambda: NO_METADATA)

    @property
    def id(self) -> str:
        """Name of the sample."""
        return self.record.id


def measure_record(record: Record, metadata: Mapping[str, object] = NO_METADATA) -> Facts:
    """Read and measure a sample; what cannot be read is a fact too."""
    notes = SourceNotes()
    try:
        image, labels = record.read(notes)
    except NucleisegError as error:
        kind = next((kind for known, kind in _PROBLEMS.items() if isinstance(error, known)), "unreadable")
        return Facts(record, problem=str(error), problem_kind=kind, metadata=metadata)
    return Facts(record, measure_labels(labels), measure_image(image, labels), notes, metadata=metadata)


_PROBLEMS = {SizeMismatchError: "size_mismatch", LabelTypeError: "label_type"}


def measure_labels(labels: NDArray[np.int32]) -> LabelFacts:
    """Measure a label image.

    Examples
    --------
    >>> facts = measure_labels(np.array([[1, 0, 1], [0, 0, 0], [4, 4, 4]], np.int32))
    >>> facts.values.tolist(), facts.pieces.tolist(), facts.boxes[1].tolist()
    ([1, 4], [2, 1], [2, 0, 3, 3])
    """
    from scipy import ndimage

    regions = find_regions(labels)
    nucleus = regions.value > 0
    values, rank = np.unique(regions.value[nucleus], return_inverse=True)
    rank_of_region = np.zeros(nucleus.size, np.int32)
    rank_of_region[nucleus] = rank + 1
    hole = regions.hole_in > 0
    in_label = np.searchsorted(values, regions.hole_in[hole])
    boxes = [
        (rows.start, columns.start, rows.stop, columns.stop)
        for rows, columns in ndimage.find_objects(rank_of_region[regions.image])
    ]
    contour = regions.background_contact[nucleus].sum()
    return LabelFacts(
        shape=(labels.shape[0], labels.shape[1]),
        values=values,
        areas=np.bincount(rank, regions.area[nucleus], values.size).astype(np.int64),
        pieces=np.bincount(rank, minlength=values.size),
        holes=np.bincount(in_label, minlength=values.size),
        hole_areas=np.bincount(in_label, regions.area[hole], values.size).astype(np.int64),
        boxes=np.array(boxes, np.int64).reshape(-1, 4),
        fringe_contact=float(regions.background_contact[regions.fringe].sum() / max(1, contour)),
    )


def measure_image(image: Array, labels: NDArray[np.int32]) -> ImageFacts:
    """Measure an image; its labels tell where the nuclei are.

    Examples
    --------
    >>> facts = measure_image(np.full((4, 4), 7, np.uint8), np.zeros((4, 4), np.int32))
    >>> facts.constant, facts.saturated
    (True, 0.0)
    """
    colours = colour_channels(image)
    colours = colours[..., np.newaxis] if colours.ndim == 2 else colours
    step = max(1, int(np.sqrt(labels.size / _MOST_PIXELS)))
    some, nuclei = colours[::step, ::step], labels[::step, ::step] > 0
    finite = image.dtype.kind != "f" or bool(np.isfinite(image).all())
    constant = bool((some == some[0, 0]).all()) and bool((colours == colours[0, 0]).all())
    saturated: Array = np.zeros(nuclei.shape, bool)
    top = _camera_top(some) if finite else None
    if top is not None:
        saturated = some.max(axis=2) >= top
    scale = np.iinfo(image.dtype).max if image.dtype.kind in "ui" else 1
    return ImageFacts(
        shape=image.shape,
        dtype=str(image.dtype),
        finite=finite,
        constant=constant,
        brightness=float(np.percentile(_grey(some), 99) / scale) if finite else 0.0,
        saturated=float(saturated.mean()),
        nuclei_saturated=float(saturated[nuclei].mean()) if nuclei.any() else 0.0,
        contrast=measure_contrast(some, nuclei) if finite and not constant else Contrast(),
        digest=image_digest(image),
        thumbnail=_thumbnail(colours) if finite else np.zeros((THUMBNAIL, THUMBNAIL), np.float32),
    )


def _camera_top(pixels: Array) -> float | None:
    """The image's highest value if a type or camera ends there: 2**bits - 1 from 8 bits on, or 1 for floats."""
    highest = pixels.max()
    if pixels.dtype.kind == "f":
        return 1.0 if highest == 1 else None
    if pixels.dtype.kind == "b" or highest < np.iinfo(np.uint8).max or (int(highest) + 1) & int(highest):
        return None
    return float(highest)


def _grey(colours: Array) -> NDArray[np.float32]:
    """Mean of the channels; plane by plane, since numpy.mean over a short last axis is slow."""
    total = colours[..., 0].astype(np.float32)
    for channel in range(1, colours.shape[2]):
        total += colours[..., channel]
    return np.asarray(total / colours.shape[2], np.float32)


def _thumbnail(colours: Array) -> NDArray[np.float32]:
    """Means of 32 x 32 boxes; images smaller than that repeat pixels."""
    means = _grey(colours)
    for axis in (0, 1):
        length = means.shape[axis]
        cuts = np.linspace(0, length, THUMBNAIL + 1).astype(int)
        starts = np.minimum(cuts[:-1], length - 1)
        widths = np.array([max(1, stop - start) for start, stop in pairwise(cuts)], np.float32)
        sums = np.add.reduceat(means, starts, axis=axis)
        means = np.asarray(sums / (widths[:, None] if axis == 0 else widths), np.float32)
    return means
