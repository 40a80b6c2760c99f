"""Labels of one image in one file: a label image, a NumPy array, or regions drawn in QuPath or ImageJ."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._checks import check_labels
from nucleiseg.datasets.records import Array, check_unpacked
from nucleiseg.errors import DatasetError, InvalidInputError, LabelTypeError
from nucleiseg.images.decoding import MAX_PIXELS, decode_labels
from nucleiseg.images.reading import IMAGE_SUFFIXES
from nucleiseg.instances.geojson import from_geojson
from nucleiseg.instances.imagej_rois import decode_rois
from nucleiseg.instances.regions import names_in

__all__ = ["LABEL_SUFFIXES", "REGION_SUFFIXES", "decode_label_file"]

REGION_SUFFIXES = (".geojson", ".roi", ".zip")
LABEL_SUFFIXES = (*IMAGE_SUFFIXES, ".npy", ".npz", *REGION_SUFFIXES)


def decode_label_file(data: bytes, name: str, shape: tuple[int, int]) -> Array:
    """Decode the bytes of a file of labels; its kind is told by its ending.

    Parameters
    ----------
    data : bytes
        Of an image, ``.npy``, ``.npz`` with an array ``labels``, GeoJSON (``.geojson``, or ``.zip``, as QuPath
        compresses it), or ImageJ's regions (``.roi``, ``.zip``).
    name : str
        Of the file.
    shape : (height, width)
        Of the image: regions have no size of their own, and labels may be as large as an image that was let in.

    Returns
    -------
    labels : (H, W) integer array

    Raises
    ------
    DatasetError, ImageFileError
        If the file is damaged or does not hold labels.
    """
    suffix = Path(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return decode_labels(data, name, max_pixels=max(MAX_PIXELS, shape[0] * shape[1]))  # as large as the image
    try:
        zipped = _zipped_geojson(data) if suffix == ".zip" else None
        if suffix == ".geojson" or zipped is not None:
            return from_geojson(_load_json(data if zipped is None else zipped), shape)
        if suffix in REGION_SUFFIXES:
            return decode_rois(data, shape)
        array = _load_array(data)
    except InvalidInputError as error:
        raise DatasetError(f"{name}: {error}") from error
    try:
        return check_labels(array)
    except InvalidInputError as error:
        raise LabelTypeError(f"{name}: {error}") from error


def _zipped_geojson(data: bytes) -> bytes | None:
    """The GeoJSON of an archive that holds one such file; None for other archives, and what is none."""
    found: list[str] = []
    try:
        file = io.BytesIO(data)
        with zipfile.ZipFile(file) as archive:
            found = [name for name in names_in(archive) if name.lower().endswith(".geojson")]
            check_unpacked(file)
            return archive.read(found[0]) if len(found) == 1 else None
    except Exception as error:  # zipfile raises nearly anything on damaged bytes
        if not found:
            return None
        raise InvalidInputError(f"cannot be unpacked ({error}); export it again") from error


def _load_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:  # nested without end
        raise InvalidInputError(f"is no JSON ({error}); export it again") from error


def _load_array(data: bytes) -> NDArray[Any]:
    try:
        file = io.BytesIO(data)
        check_unpacked(file)
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return np.asarray(loaded["labels"])
    except Exception as error:  # a damaged zip, pickled objects, an array of another name
        raise InvalidInputError(
            f"cannot be read ({error}); save it with numpy.save(path, labels) or numpy.savez(path, labels=labels)"
        ) from error
