"""Read image files (PNG, JPEG, BMP, TIFF, and microscopes' own formats) into arrays, and find them on disk."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nucleiseg._files import check_reachable
from nucleiseg.errors import ImageFileError, InvalidInputError
from nucleiseg.images._scenes import check_level, find_scene
from nucleiseg.images._stacks import Stack
from nucleiseg.images._zarr import is_zarr
from nucleiseg.images.decoding import decode_image, decode_labels, is_tiff, undecodable
from nucleiseg.images.micrograph import Micrograph, flatten
from nucleiseg.images.read_options import MAX_PIXELS, ReadOptions

__all__ = ["IMAGE_SUFFIXES", "MICROSCOPE_SUFFIXES", "find_images", "read_image", "read_labels", "read_micrograph"]

Array = NDArray[Any]

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".lsm", ".stk")  # the last two are TIFFs
MICROSCOPE_SUFFIXES = (".czi", ".lif", ".nd2", ".svs")
# Other images, which Fiji or a browser opens and nucleiseg does not.
UNREAD_SUFFIXES = (
    *(".dv", ".ims", ".lof", ".mrxs", ".ndpi", ".oib", ".oif", ".oir", ".scn", ".sld", ".vsi", ".zvi"),
    *(".avi", ".dcm", ".gif", ".heic", ".jp2", ".mp4", ".webp"),
)
"""Whole-slide and microscopes' own formats, which need the extra ``nucleiseg[microscopy]``."""

_MOST_FOLDERS = 1000  # that are looked into for images, where there are none in the folder that was named


def read_micrograph(path: str | os.PathLike[str], options: ReadOptions | None = None) -> Micrograph:
    """Read one image with all of its channels: no scaling, no change of type.

    Channels, planes and the size of a pixel are known for OME-TIFF, ImageJ's TIFF, Zeiss CZI, Nikon ND2, Leica LIF and
    Aperio SVS. The last four need more packages: ``pip install "nucleiseg[microscopy]"``. Of Zeiss LSM and MetaMorph
    STK the axes are known, but neither names nor sizes.

    Parameters
    ----------
    path : str or path
        A PNG, JPEG, BMP, TIFF (LSM and STK are some, too), CZI, ND2, LIF or SVS file.
    options : ReadOptions, optional
        Channel, planes, scene, level, pixel size, and how many pixels at most.

    Returns
    -------
    Micrograph
        Raw pixels of all channels, the part to look at, names of the channels, size of a pixel.

    Raises
    ------
    ImageFileError
        If the file is missing, empty, cut short, no image or too large; if it is left open which part of it to look at
        (the message lists the choices), or there is no such part; if a package is missing (the message names it).

    Examples
    --------
    >>> import tempfile, pathlib, numpy, tifffile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "two.ome.tif"
    >>> names = {"axes": "CYX", "Channel": {"Name": ["actin", "DAPI"]}}
    >>> tifffile.imwrite(path, numpy.zeros((2, 30, 40), "uint16"), metadata=names)
    >>> picture = read_micrograph(path, ReadOptions(channel="DAPI"))
    >>> picture.channels, picture.pixels.shape, picture.shown.shape
    (('actin', 'DAPI'), (30, 40, 2), (30, 40))
    """
    options = options or ReadOptions()
    return flatten(_read_stack(Path(path), options), options)


def read_image(path: str | os.PathLike[str], options: ReadOptions | None = None) -> Array:
    """Read the part of an image file that shows the nuclei: no scaling, no change of type.

    Parameters
    ----------
    path : str or path
        As for `read_micrograph`.
    options : ReadOptions, optional
        Channel, planes, scene, level, and how many pixels at most.

    Returns
    -------
    image : (H, W) or (H, W, C) array
        In the file's own type: bool (1 bit), uint8, uint16, int32, float32 and so on. Palette images become RGB or
        RGBA, save 8-bit TIFFs of ImageJ, whose lookup tables are for the screen. A colour TIFF becomes (H, W, C),
        wherever it has its channels.

    Raises
    ------
    ImageFileError
        As `read_micrograph`.

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
    return read_micrograph(path, options).shown


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
        If an input gives no image, or the system won't look at it.

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
        if not glob.has_magic(str(item)):
            check_reachable(path, InvalidInputError)
        try:
            if path.is_dir():
                paths = sorted(child for child in path.iterdir() if _is_image_name(child))
            elif path.is_file():
                paths = [path]
            else:
                paths = sorted({match for match in _matches(str(item)) if _is_image_name(match)})
        except OSError as error:  # a folder may be looked at, but not listed
            raise InvalidInputError(
                f"{path}: cannot be listed ({error.strerror}); check the path and the permissions of its folders"
            ) from error
        if not paths:
            raise InvalidInputError(_why_none(str(item)))
        for path in paths:
            found.setdefault(path.resolve(), path)
    if not found:
        raise InvalidInputError("no images given; pass at least one image file, folder or pattern")
    return list(found.values())


def find_unread(folder: str) -> list[Path]:
    """Images in a folder that `find_images` leaves out, since nucleiseg does not read their format.

    Examples
    --------
    >>> find_unread("no such folder")
    []
    """
    try:
        return [path for path in Path(folder).iterdir() if path.suffix.lower() in UNREAD_SUFFIXES]
    except OSError:
        return []


def _why_none(item: str) -> str:
    path = Path(item)
    if not (glob.has_magic(item) or path.exists()):
        return f"{item}: no such file or folder; check the path"
    remedy = (
        "which is read part by part; pass one Zarr, and a .zarr or .tif file as --output "
        "(in Python nucleiseg.predict_large, or Segmenter.predict for a small one)"
    )
    if is_zarr(path):
        return f"{item} is a Zarr, {remedy}"
    below = itertools.islice(_folders(path), _MOST_FOLDERS) if path.is_dir() else ()
    image = next((child for folder in below for child in sorted(folder.iterdir()) if _is_image_name(child)), None)
    if image is not None:
        pattern = Path(glob.escape(item), "**", f"*{image.suffix}")
        return (
            f"no images found in {item!r} itself, and subfolders are not searched, of which {str(image.parent)!r} "
            f'holds some; pass "{pattern}" with the quotation marks to search them all'
        )
    store = next(filter(is_zarr, _matches(item) if glob.has_magic(item) else sorted(path.glob("*"))), None)
    if store is not None:
        return f"no image files found in {item!r}, only Zarr such as {store}, {remedy}"
    return (
        f"no images found in {item!r}; pass image files, folders of them or patterns such as 'plate7/*.tif' "
        f"(known endings: {', '.join(IMAGE_SUFFIXES + MICROSCOPE_SUFFIXES)})"
    )


def _matches(pattern: str) -> Iterator[Path]:
    """As `glob.glob` with ``**`` for any depth, but links that lead in circles are walked once, not for ever."""
    parts = Path(pattern).parts
    if "**" not in parts:
        # Path.glob takes no absolute patterns.
        yield from map(Path, glob.glob(pattern))  # noqa: PTH207
        return
    where = parts.index("**")
    for root in glob.glob(str(Path(*parts[:where]))) if where else ["."]:  # noqa: PTH207
        for folder in _folders(Path(root)):
            yield from _matches(str(Path(glob.escape(str(folder)), *(parts[where + 1 :] or ("*",)))))


def _folders(root: Path) -> Iterator[Path]:
    """A folder and all below it, each once, less hidden ones and those that can't be read."""
    seen = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        with contextlib.suppress(OSError):
            status = folder.stat()
            inside = sorted(folder.iterdir())
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield folder
                waiting += [child for child in reversed(inside) if child.is_dir() and not child.name.startswith(".")]


def _is_image_name(path: Path) -> bool:
    known = path.suffix.lower() in IMAGE_SUFFIXES + MICROSCOPE_SUFFIXES
    return known and not path.name.startswith(".") and (path.is_file() or _leads_nowhere(path))


def _leads_nowhere(path: Path) -> bool:
    """A link to what has gone, which is an image, too: that it can't be read is told. Those in circles never were."""
    try:
        path.stat()
    except FileNotFoundError:
        return path.is_symlink()
    except OSError:
        return False
    return False


def _read_stack(path: Path, options: ReadOptions) -> Stack:
    name, suffix = str(path), path.suffix.lower()
    start = _read_bytes(path, IMAGE_SUFFIXES + MICROSCOPE_SUFFIXES, most=4)
    try:
        if is_tiff(start):
            from nucleiseg.images._tiff import read_tiff

            return read_tiff(path, name, options)
        if suffix in MICROSCOPE_SUFFIXES and start:
            from nucleiseg.images._microscopes import read_microscope

            return read_microscope(path, options)
    except ImageFileError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise undecodable(name, error) from error
    data = _read_bytes(path, IMAGE_SUFFIXES + MICROSCOPE_SUFFIXES)
    image = decode_image(data, name, max_pixels=options.max_pixels)
    find_scene(name, options.scene, [path.stem], [str(image.shape)])
    check_level(name, options.level, [(image.shape[0], image.shape[1])])
    return Stack(image, "YX" if image.ndim == 2 else "YXS", name)


def _read_bytes(path: str | os.PathLike[str], suffixes: tuple[str, ...] = IMAGE_SUFFIXES, most: int = -1) -> bytes:
    path = Path(path)
    check_reachable(path, ImageFileError)
    if path.is_dir():
        raise ImageFileError(f"{path}: is a folder, not an image; pass the files in it")
    if path.suffix.lower() not in suffixes:
        raise ImageFileError(f"{path}: unknown ending {path.suffix!r}; use one of {', '.join(suffixes)}")
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        raise ImageFileError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
