"""Paired folders: one of images, one of label images or masks, paired by name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nucleiseg.datasets.image_files import READABLE_SUFFIXES, read_pixels
from nucleiseg.datasets.label_files import LABEL_SUFFIXES, REGION_SUFFIXES, decode_label_file
from nucleiseg.datasets.records import (
    Array,
    SourceNotes,
    Unpaired,
    check_pair,
    complain,
    file_stamp,
    read_file,
    shorten,
)
from nucleiseg.errors import DatasetError
from nucleiseg.images.read_options import ReadOptions
from nucleiseg.images.reading import IMAGE_SUFFIXES
from nucleiseg.instances.exporting import is_own_file
from nucleiseg.instances.splitting import split_components

__all__ = [
    "PairRecord",
    "by_name",
    "find_label_folder",
    "find_pairs",
    "find_two_labels",
    "is_mask",
    "label_name",
    "labelled",
    "labels_not_mask",
    "list_images",
    "pick_files",
    "stem_of",
    "without_results",
]

_ENDING = re.compile(r"_((imagej_)?labels?|(cp_)?masks?|rois?|RoiSet)(\.ome)?$")
_OF_MASKS = (1, 255, 65535)  # what says "nucleus" in masks: one bit, and the highest of 8 and of 16
_LABELS = "_labels"
_LABEL_TIFFS = ("_labels.tif", "_labels.ome.tif")
# What predict writes beside <stem>_labels.tif, and for a whole folder.
_BESIDE_LABELS = ("_mask", "_overlay", "_colours", "_imagej_labels", "_labels.ome")
_OF_FOLDER = ("contact_sheet", "histograms")


@dataclass(frozen=True)
class PairRecord:
    """One image file and one file of labels."""

    id: str
    image: str
    labels: str
    reading: ReadOptions | None = None

    def stamp(self) -> str:
        """Paths, sizes and times of the two files."""
        return f"{file_stamp(self.image)}\n{file_stamp(self.labels)}"

    def files(self, labels: Sequence[int] = ()) -> tuple[str, ...]:
        """The file of the labels, or the image's."""
        return (self.labels if labels else self.image,)

    def read(self, notes: SourceNotes | None = None) -> tuple[Array, NDArray[np.int32]]:
        """The image, and the labels; those of a binary mask are its connected components."""
        data = read_file(self.labels)
        image = read_pixels(self.image, self.reading)
        found = decode_label_file(data, self.labels, (image.shape[0], image.shape[1]))
        image, labels = check_pair(self.id, image, found)
        split = not self.labels.lower().endswith(REGION_SUFFIXES) and is_mask(labels)
        if notes is not None:
            notes.split_mask, notes.lossy = split, data.startswith(b"\xff\xd8\xff")
        return image, split_components(labels != 0) if split else labels


def _parted(image_paths: Sequence[Path], label_paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Images and labels that lie in one folder: ``a_mask.png`` are labels where there is an ``a``; all else stays."""
    stems = set(map(stem_of, image_paths))
    labels = [path for path in label_paths if labelled(path, stems) or path.suffix.lower() in REGION_SUFFIXES]
    label_stems = {path.stem for path in labels}
    images = [path for path in image_paths if path not in labels and not _is_by_product(path, label_stems)]
    return images, labels


def labelled(path: Path, images: Collection[str]) -> str | None:
    """The image beside which a file is named as its labels, as ``a_mask.png`` beside ``a``; None if it is not."""
    short = label_name(path)
    names = (short, f"{short}.ome") if short != stem_of(path) else ()
    return next((name for name in names if name in images), None)


def label_name(path: Path) -> str:
    """The name of the image that labels belong to: ``a`` for ``a_labels.tif``, ``a_mask.png``, ``a_rois.zip``."""
    return _ENDING.sub("", stem_of(path))


def stem_of(path: Path) -> str:
    """The name of a file without its ending; letters with accents as one sign, which macOS takes apart."""
    return unicodedata.normalize("NFC", path.stem)


def find_label_folder(folder: Path) -> Path | None:
    """The folder of labels beside a folder ``images``, if both are there."""
    if not (folder / "images").is_dir():
        return None
    return next((folder / name for name in ("labels", "masks") if (folder / name).is_dir()), None)


def find_pairs(
    images: Path, labels: Path, unpaired: list[Unpaired] | None = None, reading: ReadOptions | None = None
) -> list[PairRecord]:
    """Images and labels of the same name; endings such as ``_labels``, ``_mask`` and ``.ome`` need not be alike.

    What `nucleiseg predict` wrote beside the images is left out. Where both lie in one folder, labels are what has
    such an ending.
    """
    image_paths = without_results(list_images(images, READABLE_SUFFIXES))
    label_paths = _list_label_files(labels, LABEL_SUFFIXES)
    if images.samefile(labels):
        image_paths, label_paths = _parted(image_paths, label_paths)
    image_files = by_name(images, image_paths, stem_of)
    # Endings on all labels: x_mask.png belongs to x and x_mask_mask.png to x_mask, which the very names would mix up.
    if sorted(map(label_name, label_paths)) == sorted(image_files):
        label_files = by_name(labels, label_paths, label_name)
    else:
        label_files = by_name(labels, label_paths, lambda path: _image_name(path, image_files))
    for one, other, what in ((image_files, label_files, "labels"), (label_files, image_files, "an image")):
        missing = sorted(one.keys() - other.keys())
        if missing:
            complain(
                missing,
                f"{images} and {labels}: each image needs labels of the same name (and the reverse), "
                f"{len(missing)} lack {what}: {shorten(missing)}; add them, or move these files elsewhere",
                unpaired,
            )
    return [
        PairRecord(name, str(path), str(label_files[name]), reading)
        for name, path in image_files.items()
        if name in label_files
    ]


def list_images(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """Image files (or files with other endings) of a folder, by name."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: is not a folder; check the path")
    files = pick_files(folder.iterdir(), suffixes)
    if not files:
        raise DatasetError(f"{folder}: holds no images; put files ending in {', '.join(suffixes)} there")
    return files


def pick_files(paths: Iterable[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """Files with such endings, sorted, less hidden ones: macOS keeps ``._a.png`` beside ``a.png`` on foreign disks."""
    return sorted(path for path in paths if path.suffix.lower() in suffixes and not path.name.startswith("."))


def by_name(folder: Path, paths: Sequence[Path], name_of: Callable[[Path], str]) -> dict[str, Path]:
    """Files below a folder by their names, of which no two may be alike."""
    named: dict[str, list[Path]] = {}
    for path in paths:
        named.setdefault(name_of(path), []).append(path)
    twice = [
        " and ".join(path.relative_to(folder).as_posix() for path in alike)
        for alike in named.values()
        if len(alike) > 1
    ]
    if twice:
        raise DatasetError(
            f"{folder}: several files have one name apart from their endings: {shorten(twice)}; keep one of each"
        )
    return {name: path for name, (path,) in named.items()}


def find_two_labels(truth: Path, prediction: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Files of labels in two folders, each by the name of their image, which may end in ``_mask`` or so itself.

    Pictures that `nucleiseg predict` wrote beside labels are left out.

    Raises
    ------
    DatasetError
        If there is no such folder, it holds no labels, or several of its files have one name.
    """
    true_paths, predicted_paths = (_list_label_files(folder, IMAGE_SUFFIXES) for folder in (truth, prediction))
    predicted_names = [label_name(path) for path in predicted_paths]
    # Endings on all labels: else x_mask.png and x_mask_mask.png would be mixed up, as in pairs with images.
    if sorted(map(label_name, true_paths)) == sorted(predicted_names):
        return by_name(truth, true_paths, label_name), by_name(prediction, predicted_paths, label_name)
    true_files = by_name(truth, true_paths, lambda path: _image_name(path, predicted_names))
    return true_files, by_name(prediction, predicted_paths, lambda path: _image_name(path, true_files))


def is_mask(labels: NDArray[np.integer | np.bool_]) -> bool:
    """Whether labels only say where nuclei are, by 1, 255 or 65535, so that each connected part is one."""
    highest = labels.max(initial=0)
    return highest in _OF_MASKS and bool(np.isin(labels, (0, highest)).all())


def labels_not_mask(labels: NDArray[np.integer | np.bool_]) -> NDArray[np.integer | np.bool_]:
    """The same nuclei, so that no reader takes them for a mask: 2 where 1, 255 or 65535 is the only number.

    Examples
    --------
    >>> labels_not_mask(np.array([0, 1])).tolist(), labels_not_mask(np.array([1, 2])).tolist()
    ([0, 2], [1, 2])
    """
    return np.where(labels > 0, 2, 0) if is_mask(labels) else labels


def _list_label_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    paths = list_images(folder, suffixes)
    stems = {path.stem for path in paths if path.suffix.lower() in IMAGE_SUFFIXES}
    return [path for path in paths if not _is_by_product(path, stems)]


def without_results(paths: Sequence[Path]) -> list[Path]:
    """Images, less labels and pictures that `nucleiseg predict` wrote beside them; all if there is nothing else."""
    labels = {path for path in paths if path.name.endswith(_LABEL_TIFFS) and is_own_file(path)}
    stems = {path.stem for path in labels}
    results = {path for path in paths if _is_by_product(path, stems) and is_own_file(path)} | labels
    return [path for path in paths if path not in results] or list(paths)


def _image_name(path: Path, images: Collection[str]) -> str:
    """The image that labels belong to: of the very name, which may end in ``_mask`` itself, or else without endings."""
    short = label_name(path)
    tries = (stem_of(path), f"{stem_of(path)}.ome", short, f"{short}.ome")
    return next((name for name in tries if name in images), short)


def _is_by_product(path: Path, stems: set[str]) -> bool:
    """Whether `nucleiseg predict` wrote this picture beside labels that are there too."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    if path.stem in _OF_FOLDER:
        return any(other.endswith(_LABELS) for other in stems)
    return any(path.stem.endswith(end) and path.stem.removesuffix(end) + _LABELS in stems for end in _BESIDE_LABELS)
