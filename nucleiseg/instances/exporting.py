"""Masks and pictures as files that other programs read; and which files are our own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_labels, describe
from nucleiseg._files import SOFTWARE, atomic_path, check_suffix
from nucleiseg._png import write_bands
from nucleiseg.errors import InvalidInputError

__all__ = ["is_own_file", "write_mask", "write_picture", "write_picture_bands"]

_AT_ONCE = 2**20  # pixels


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
    step = max(1, _AT_ONCE // values.shape[1])  # rows, since large masks are as large as the image
    parts = (values[top : top + step] for top in range(0, len(values), step))
    write_picture_bands(path, values.shape, (np.where(part > 0, np.uint8(255), np.uint8(0)) for part in parts))


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
    write_picture_bands(path, pixels.shape, [pixels])


def write_picture_bands(
    path: str | os.PathLike[str], shape: tuple[int, ...], bands: Iterable[npt.NDArray[np.uint8]]
) -> None:
    """As `write_picture`, of a picture that is never in memory as a whole, in grey or colour; see `write_bands`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_picture_bands(f"{folder}/a.png", (2, 3), (np.zeros((1, 3), np.uint8) for _ in range(2)))
    ...     is_own_file(f"{folder}/a.png")
    True
    """
    check_suffix(path, ".png")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        write_bands(file, shape, bands, SOFTWARE)


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
                return bool(tiff.pages.first.software == SOFTWARE)
        with Path(path).open("rb") as png:
            return f"tEXtSoftware\0{SOFTWARE}".encode() in png.read(256)  # our text comes before the pixels
    except Exception:  # tifffile raises nearly anything on damaged files
        return False
