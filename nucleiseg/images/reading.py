"""Read image files (PNG, JPEG, BMP, TIFF) into arrays, and find them on disk."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nucleiseg.errors import ImageFileError, InvalidInputError
from nucleiseg.images.decoding import MAX_PIXELS, decode_image, decode_labels

__all__ = ["IMAGE_SUFFIXES", "find_images", "read_image", "read_labels"]

Array = NDArray[Any]

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Array:
    """Read one image file as it is: no scaling, no change of type.

    Parameters
    ----------
    path : str or path
        A PNG, JPEG, BMP or TIFF file.
    max_pixels : int
        Refuse files with more pixels (height times width) than this.

    Returns
    -------
    image : (H, W) or (H, W, C) array
        In the file's own type: bool (1 bit), uint8, uint16, int32, float32 and so on. Palette images become RGB or
        RGBA. A TIFF with up to 4 channels, before or after the rows and columns, becomes (H, W, C).

    Raises
    ------
    ImageFileError
        If the file is missing, empty, cut short, no image, too large, or a stack of planes.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "grey.png"
    >>> Image.new("L", (4, 3), 7).save(path)
    >>> image = read_image(path)
    >>> image.shape, image.dtype, int(image.max())
    ((3, 4), dtype('uint8'), 7)
    """
    return decode_image(_read_bytes(path), os.fspath(path), max_pixels=max_pixels)


def read_labels(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Array:
    """Read a label or mask image file; see `decode_labels`.

    Returns
    -------
    labels : (H, W) array
        Whole numbers or bool, in the file's own type.

    Raises
    ------
    ImageFileError
        As `read_image`, and for colours or fractions.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels.png"
    >>> Image.new("L", (4, 3), 7).save(path)
    >>> read_labels(path).shape
    (3, 4)
    """
    return decode_labels(_read_bytes(path), os.fspath(path), max_pixels=max_pixels)


def find_images(inputs: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Image files named by files, folders and patterns.

    Parameters
    ----------
    inputs : sequence of str or path
        Files; folders, of which the image files count (sorted by name, without subfolders); and glob patterns such as
        ``"plate7/*.tif"`` (``**`` stands for any depth).

    Returns
    -------
    paths : list of Path
        In the order of the inputs, each file once. Files that are named are returned whatever their suffix.

    Raises
    ------
    InvalidInputError
        If an input gives no image.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("b.png", "a.tif", "notes.txt"):
    ...     (folder / name).touch()
    >>> [path.name for path in find_images([folder])]
    ['a.tif', 'b.png']
    """
    found: dict[Path, Path] = {}
    for item in [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs:
        path = Path(item)
        if path.is_dir():
            paths = sorted(child for child in path.iterdir() if _is_image_name(child))
        elif path.is_file():
            paths = [path]
        else:
            # Path.glob takes no absolute patterns.
            matches = map(Path, glob.glob(str(item), recursive=True))  # noqa: PTH207
            paths = sorted(match for match in matches if _is_image_name(match))
        if not paths:
            raise InvalidInputError(
                f"no images found in {str(item)!r}; pass image files, folders of them or patterns such as "
                f"'plate7/*.tif' (known endings: {', '.join(IMAGE_SUFFIXES)})"
            )
        for path in paths:
            found.setdefault(path.resolve(), path)
    if not found:
        raise InvalidInputError("no images given; pass at least one image file, folder or pattern")
    return list(found.values())


def _is_image_name(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    path = Path(path)
    if path.is_dir():
        raise ImageFileError(f"{path}: is a folder, not an image; pass the files in it")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageFileError(f"{path}: unknown ending {path.suffix!r}; use one of {', '.join(IMAGE_SUFFIXES)}")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageFileError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
