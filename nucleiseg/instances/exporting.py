"""Labels, masks and pictures as files that other programs read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_labels, describe
from nucleiseg._files import atomic_path
from nucleiseg.errors import InvalidInputError

__all__ = ["is_own_file", "write_labels", "write_mask", "write_picture"]

# What every file says it was written by, so that it can be told from others of the same name.
_SOFTWARE = "nucleiseg"


def write_labels(path: str | os.PathLike[str], labels: npt.ArrayLike) -> None:
    """Write labels as a TIFF, losslessly compressed (deflate).

    Parameters
    ----------
    path : str or path
        Ends in ``.tif`` or ``.tiff``. An existing file is replaced once the new one is complete.
    labels : array-like of int, (H, W)
        0 background. Written as uint16, or as uint32 if a label is above 65,535.

    Raises
    ------
    InvalidInputError
        If the labels are not (H, W) integers from 0 to 4,294,967,295, or the path has another suffix.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_labels(f"{folder}/labels.tif", [[0, 1], [0, 70000]])
    ...     tifffile.imread(f"{folder}/labels.tif").tolist()
    [[0, 1], [0, 70000]]
    """
    values = check_labels(labels)
    highest = int(values.max())
    if highest > np.iinfo(np.uint32).max:
        raise InvalidInputError(
            f"labels must be at most {np.iinfo(np.uint32).max} to fit a TIFF, got {highest}; "
            "number them anew, e.g. with skimage.segmentation.relabel_sequential"
        )
    _check_suffix(path, ".tif", ".tiff")

    import tifffile

    dtype = np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary, values.astype(dtype), compression="zlib", photometric="minisblack", software=_SOFTWARE
        )


def write_mask(path: str | os.PathLike[str], mask: npt.ArrayLike) -> None:
    """Write where the nuclei are as an 8-bit PNG: 255 in nuclei, 0 elsewhere.

    Parameters
    ----------
    path : str or path
        Ends in ``.png``. An existing file is replaced once the new one is complete.
    mask : array-like of bool or int, (H, W)
        Not 0 in nuclei: a mask of 0 and 1, of 0 and 255, or labels.

    Raises
    ------
    InvalidInputError
        If the mask is not (H, W), bool or integers from 0, or the path has another suffix.

    Examples
    --------
    >>> import tempfile, PIL.Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_mask(f"{folder}/mask.png", [[False, True]])
    ...     np.asarray(PIL.Image.open(f"{folder}/mask.png")).tolist()
    [[0, 255]]
    """
    values = check_labels(mask, "mask")
    _write_png(path, np.where(values > 0, 255, 0).astype(np.uint8))


def write_picture(path: str | os.PathLike[str], picture: npt.ArrayLike) -> None:
    """Write a colour picture as an 8-bit RGB PNG.

    Parameters
    ----------
    path : str or path
        Ends in ``.png``. An existing file is replaced once the new one is complete.
    picture : array-like of uint8, (H, W, 3)
        Red, green and blue, as `nucleiseg.images.overlay` returns them.

    Raises
    ------
    InvalidInputError
        If the picture has another shape or dtype, or the path another suffix.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_picture(f"{folder}/overlay.png", np.zeros((2, 3, 3), np.uint8))
    ...     [path.name for path in Path(folder).iterdir()]
    ['overlay.png']
    """
    pixels = np.asarray(picture)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0 or pixels.dtype != np.uint8:
        raise InvalidInputError(
            f"picture must be uint8 (H, W, 3), got {describe(pixels)}; "
            "use nucleiseg.images.overlay on a microscope image"
        )
    _write_png(path, pixels)


def _write_png(path: str | os.PathLike[str], pixels: npt.NDArray[np.uint8]) -> None:
    _check_suffix(path, ".png")

    from PIL import Image, PngImagePlugin

    mark = PngImagePlugin.PngInfo()
    mark.add_text("Software", _SOFTWARE)
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", pnginfo=mark)


def is_own_file(path: str | os.PathLike[str]) -> bool:
    """Whether a picture was written by `write_labels`, `write_mask` or `write_picture`, and not by another program.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_mask(f"{folder}/a_mask.png", [[False, True]])
    ...     is_own_file(f"{folder}/a_mask.png")
    True
    """
    import tifffile

    try:
        if Path(path).suffix.lower() in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as tiff:
                return bool(tiff.pages.first.software == _SOFTWARE)
        with Path(path).open("rb") as png:
            return f"tEXtSoftware\0{_SOFTWARE}".encode() in png.read(256)  # our text comes before the pixels
    except (OSError, ValueError, tifffile.TiffFileError):
        return False


def _check_suffix(path: str | os.PathLike[str], *suffixes: str) -> None:
    if Path(path).suffix.lower() not in suffixes:
        raise InvalidInputError(
            f"path must end in {' or '.join(suffixes)}, got {str(path)!r}; use a name such as 'well_A01{suffixes[0]}'"
        )
