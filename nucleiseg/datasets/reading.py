"""Find out how a dataset lies on disk, and open it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from nucleiseg._files import check_reachable
from nucleiseg.datasets.arrays import read_npy, read_npz
from nucleiseg.datasets.cache import Cache, cache_folder
from nucleiseg.datasets.coco import find_coco
from nucleiseg.datasets.dataset import Dataset
from nucleiseg.datasets.kaggle import find_kaggle_folder, find_kaggle_zip
from nucleiseg.datasets.paired import find_label_folder, find_pairs
from nucleiseg.datasets.records import Record, Unpaired
from nucleiseg.datasets.run_length_csv import find_run_lengths
from nucleiseg.errors import DatasetError
from nucleiseg.images.read_options import ReadOptions

__all__ = ["open_dataset", "read"]

_LAYOUTS = (
    "known layouts are: Kaggle, folder or zip, <id>/images/<id>.png and <id>/masks/*.png, 'stage1_train.zip'; "
    "paired folders, images/a.png and labels/a.png (or masks/), 'folder' or 'images' with --labels labels; "
    "regions, labels/a.geojson of QuPath or labels/a.zip of ImageJ; "
    "run lengths, a CSV with ImageId,EncodedPixels, 'images' with --labels runs.csv; "
    "COCO, 'images' with --labels annotations.json; "
    "arrays, 'data.npz' or 'images.npy' with --labels labels.npy (in Python read('images.npy', labels='labels.npy'))"
)


def read(
    path: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    cache: bool | str | os.PathLike[str] = True,
    reading: ReadOptions | None = None,
) -> Dataset:
    """Open a dataset; its layout is found out, its images are read when they are asked for.

    Parameters
    ----------
    path : str or path
        One of

        - the Data Science Bowl's layout, ``<id>/images/<id>.png`` with one mask for each nucleus in ``<id>/masks``, as
          a folder or as a zip, which is not unpacked. Label k is the k-th mask by name; where masks overlap the later
          one wins;
        - a folder with ``images`` and ``labels`` (or ``masks``), or a folder of images with ``labels`` another one,
          paired by name; ``a_labels.tif`` and ``a_mask.png`` belong to ``a.png``, or to an image of that very name,
          and ``a_labels.tif`` to ``a.ome.tif``, too. Both may be one folder.
          What ``nucleiseg predict`` wrote beside the images is left out.
          Files with only the values 0 and 1, 255 or 65535 are masks: their connected components become the labels.
          Instead of label images there may be ``a.npy`` or ``a.npz`` (with an array ``labels``), polygons of QuPath,
          ``a.geojson``, and regions of ImageJ, ``a_rois.zip`` or ``a.roi``;
        - a folder of images with ``labels`` a CSV of run lengths (``ImageId,EncodedPixels``); or the CSV by itself, if
          the images lie beside it or in ``images`` beside it;
        - the same with a JSON file in COCO's format, of run lengths or polygons: all categories count, crowds do not;
        - ``data.npz`` with the arrays ``images`` and ``labels``, or ``images.npy`` with ``labels`` another ``.npy``.
    labels : str or path, optional
        Where the labels are, if not below ``path``.
    cache : bool, str or path
        Keep decoded samples on disk, where reading them again takes a fraction of the time (and several times the
        space of compressed images): in the user's cache folder (or that of the environment variable
        ``NUCLEISEG_CACHE``), or in the folder given here. Files that change are decoded anew. See `clear_cache`.
    reading : ReadOptions, optional
        Which channel and planes of the image files show the nuclei, for paired folders, run lengths and COCO.

    Returns
    -------
    dataset : Dataset
        In the order of the ids.

    Raises
    ------
    DatasetError
        If the layout is unknown, images and labels do not pair up, or the layout has no channels and planes to choose
        from. Files that are damaged raise `DatasetError` or `ImageFileError` when they are read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.npz"
    >>> np.savez(path, images=np.zeros((2, 8, 8), np.uint8), labels=np.zeros((2, 8, 8), int))
    >>> read(path)
    Dataset(2 samples: 0000, 0001)
    """
    return open_dataset(path, labels, cache, reading=reading)


def open_dataset(
    path: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None,
    cache: bool | str | os.PathLike[str],
    unpaired: list[Unpaired] | None = None,
    reading: ReadOptions | None = None,
) -> Dataset:
    """See `read`; with a list, samples without an image or labels are noted there and left out."""
    source = Path(path).absolute()
    label_source = None if labels is None else Path(labels).absolute()
    for place in (source, label_source):
        if place is None:
            continue
        check_reachable(place, DatasetError)
        if not place.exists():
            raise DatasetError(f"{place}: no such file or folder; check the path")
    reading = None if reading == ReadOptions() else reading
    suffixes = (source.suffix.lower(), None if label_source is None else label_source.suffix.lower())
    if suffixes == (".npz", None):
        _refuse(reading, source)
        return read_npz(source)
    if suffixes == (".npy", ".npy") and label_source is not None:
        _refuse(reading, source)
        return read_npy(source, label_source)
    records = _find_records(source, label_source, unpaired, reading)
    if not records and unpaired:
        raise DatasetError(unpaired[0].message)
    if not records:
        given = str(source) if label_source is None else f"{source} with labels {label_source}"
        raise DatasetError(f"{given}: unknown layout; {_LAYOUTS}")
    if cache is False:
        return Dataset(records)
    return Dataset(records, cache=Cache(cache_folder() if cache is True else Path(cache).absolute()))


def _find_records(
    source: Path, labels: Path | None, unpaired: list[Unpaired] | None, reading: ReadOptions | None
) -> Sequence[Record] | None:
    if labels is not None:
        if source.is_dir() and labels.suffix.lower() == ".csv":
            return find_run_lengths(source, labels, unpaired, reading)
        if source.is_dir() and labels.suffix.lower() == ".json":
            return find_coco(source, labels, unpaired, reading)
        return find_pairs(source, labels, unpaired, reading) if source.is_dir() and labels.is_dir() else None
    if source.is_dir():
        paired = find_label_folder(source)
        if paired is not None:
            return find_pairs(source / "images", paired, unpaired, reading)
        _refuse(reading, source)
        return find_kaggle_folder(source, unpaired)
    if source.suffix.lower() == ".zip":
        _refuse(reading, source)
        return find_kaggle_zip(source, unpaired)
    if source.suffix.lower() in (".csv", ".json"):
        images = source.parent / "images"
        find = find_coco if source.suffix.lower() == ".json" else find_run_lengths
        return find(images if images.is_dir() else source.parent, source, unpaired, reading)
    return None


def _refuse(reading: ReadOptions | None, source: Path) -> None:
    if reading is not None:
        raise DatasetError(
            f"{source}: channels, planes and limits can be chosen in folders of image files only, got {reading}; "
            "choose before saving such arrays or pictures, or put the files into paired folders, images/ and labels/"
        )
