"""Adding images with labels, such as corrected ones, to a dataset on disk."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_image, check_labels, check_pixel_size, check_same_size
from nucleiseg._files import SOFTWARE, atomic_path, cut_stem
from nucleiseg.datasets.paired import label_name, labels_not_mask
from nucleiseg.errors import DatasetError, InvalidInputError
from nucleiseg.images.channels import has_alpha
from nucleiseg.instances.label_tiffs import write_labels

__all__ = ["write_pair"]

_MOST = np.iinfo(np.int32).max  # what datasets hold


def write_pair(
    folder: str | os.PathLike[str],
    image: npt.ArrayLike,
    labels: npt.ArrayLike,
    stem: str = "image",
    pixel_size: float | None = None,
) -> tuple[Path, Path]:
    """Add an image and its labels to a dataset of paired folders, ``images`` and ``labels``.

    Parameters
    ----------
    folder : path
        Of the dataset, which `read` and ``nucleiseg train`` take. It is made if needed.
    image : array-like, (H, W) or (H, W, C)
        Raw pixels: grey, RGB or RGBA, of any real dtype. Alpha is left out.
    labels : array-like of int, (H, W)
        0 background.
    stem : str
        What the files are called, without an ending; characters that file systems don't allow become ``_``, and
        very long names are cut. If the dataset has the same pixels under that name, their labels are replaced. If it
        has another image of that name, a number is added, and both stay.
    pixel_size : float, optional
        Height and width of a pixel in µm, noted in both files.

    Returns
    -------
    tuple of Path
        The files of the image and of the labels. Each appears complete or not at all.

    Raises
    ------
    InvalidInputError
        If image or labels are none, or differ in size.
    DatasetError
        If the folder holds something else than such a dataset.

    Examples
    --------
    >>> import tempfile
    >>> from nucleiseg import datasets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_pair(folder, np.zeros((4, 5), np.uint8), np.eye(4, 5, dtype=int), "well A01")
    ...     datasets.read(folder, cache=False)
    Dataset(1 sample: well_A01)
    """
    pixels, values = check_image(image), check_labels(labels)
    check_same_size(values, pixels, ("labels", "image"))
    if values.max() > _MOST:
        raise InvalidInputError(
            f"labels must be at most {_MOST}, got {values.max()}; number them anew, e.g. with "
            "skimage.segmentation.relabel_sequential"
        )
    size = check_pixel_size(pixel_size)
    pixels = _storable(pixels)
    values = labels_not_mask(values)
    root = Path(folder)
    _check_folder(root)
    name = _free_name(root, _clean(stem), pixels)
    paths = root / "images" / f"{name}.tif", root / "labels" / f"{name}.tif"
    # Both are written before either is put in place, so that hardly anything can leave one without the other.
    with atomic_path(paths[0]) as image_file, atomic_path(paths[1]) as label_file:
        _write_image(image_file, pixels, size)
        write_labels(label_file, values, size)
    return paths


def _storable(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What TIFF files hold and all programs read: grey or RGB, bool as 0 and 255."""
    if has_alpha(pixels):
        pixels = pixels[..., :-1]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind == "f" and pixels.dtype.itemsize != 8:
        return pixels.astype(np.float32)
    return pixels


def _check_folder(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise DatasetError(f"{root}: is a file; choose a folder for the dataset")
    if (root / "masks").is_dir() and not (root / "labels").is_dir():
        raise DatasetError(f"{root}: holds masks, which labels beside them would hide; choose another folder")


def _clean(stem: str) -> str:
    """A name for files of images and labels: readers take endings such as ``_mask`` off those of labels."""
    name = cut_stem(re.sub(r"[^\w-]+", "_", stem)).strip("_") or "image"
    while label_name(Path(f"{name}.tif")) != name:
        name = f"{name}-1"
    return name


def _free_name(root: Path, name: str, pixels: npt.NDArray[Any]) -> str:
    """The name, with a number if another image has it. Names that differ only in case count as the same."""
    files = [path for part in ("images", "labels") if (root / part).is_dir() for path in (root / part).iterdir()]
    taken: dict[str, list[Path]] = {}
    for path in files:
        for key in {path.stem.lower(), label_name(path).lower()}:
            taken.setdefault(key, []).append(path)
    number, candidate = 1, name
    while candidate.lower() in taken and not _is_same(taken[candidate.lower()], root, candidate, pixels):
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _is_same(found: list[Path], root: Path, name: str, pixels: npt.NDArray[Any]) -> bool:
    """Whether what has the name is a pair that this module wrote, of these very pixels."""
    ours = {root / part / f"{name}.tif" for part in ("images", "labels")}
    image = root / "images" / f"{name}.tif"
    if not set(found) <= ours or image not in found:
        return False
    import tifffile

    try:
        stored = tifffile.imread(image)
    except (OSError, ValueError, tifffile.TiffFileError):  # the last is a ValueError in later versions
        return False
    return bool(stored.dtype == pixels.dtype and np.array_equal(stored, pixels, equal_nan=pixels.dtype.kind == "f"))


def _write_image(path: Path, pixels: npt.NDArray[Any], size: float | None) -> None:
    import tifffile

    how: dict[str, Any] = {"photometric": "rgb" if pixels.ndim == 3 else "minisblack", "metadata": None}
    if size is not None:  # as in label files: the way of ImageJ, which tifffile would allow few types only
        how |= {"description": "ImageJ=1.54f\nunit=micron\n", "resolution": (1 / size, 1 / size), "resolutionunit": 1}
    tifffile.imwrite(path, pixels, compression="zlib", software=SOFTWARE, **how)
