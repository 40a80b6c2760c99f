"""Labels as TIFF files: for everyone, for ImageJ and as OME-TIFF."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_labels, check_pixel_size
from nucleiseg._files import SOFTWARE, atomic_path, check_suffix
from nucleiseg.errors import InvalidInputError

__all__ = ["ome_metadata", "scale_for_imagej", "write_imagej_labels", "write_labels", "write_ome_labels"]

_EXACT_IN_FLOAT32 = 2**24
_LARGE = 2048**2  # pixels, beyond which neither a copy nor the whole file is held in memory
_STRIP = 2**18  # bytes, as tifffile has them


def write_labels(path: str | os.PathLike[str], labels: npt.ArrayLike, pixel_size: float | None = None) -> None:
    """Write labels as a TIFF, losslessly compressed (deflate).

    Parameters
    ----------
    path : str or path
        Ends in ``.tif`` or ``.tiff``. An existing file is replaced once the new one is complete.
    labels : array-like of int, (H, W)
        0 background. Written as uint16, or as uint32 if a label is above 65,535.
    pixel_size : float, optional
        Height and width of a pixel in µm, noted in the way that ImageJ and Fiji do.

    Raises
    ------
    InvalidInputError
        If the labels are not (H, W) integers from 0 to 4,294,967,295, the path has another suffix, or the pixel size
        is not above 0.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_labels(f"{folder}/labels.tif", [[0, 1], [0, 70000]])
    ...     tifffile.imread(f"{folder}/labels.tif").tolist()
    [[0, 1], [0, 70000]]
    """
    values = _check(path, labels, np.iinfo(np.uint32).max, "fit a TIFF")
    size = check_pixel_size(pixel_size)
    _write(path, values, _smallest(values), **({} if size is None else scale_for_imagej(size)))


def write_imagej_labels(path: str | os.PathLike[str], labels: npt.ArrayLike, pixel_size: float | None = None) -> None:
    """Write labels as a TIFF in the types that ImageJ and Fiji work with, their full range shown.

    Parameters
    ----------
    path : str or path
        Ends in ``.tif`` or ``.tiff``. An existing file is replaced once the new one is complete.
    labels : array-like of int, (H, W)
        0 background. Written as uint16, or as float32 if a label is above 65,535: ImageJ has no larger integers.
    pixel_size : float, optional
        Height and width of a pixel in µm.

    Raises
    ------
    InvalidInputError
        As `write_labels`, and for labels above 16,777,216, which float32 cannot tell apart.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_imagej_labels(f"{folder}/labels.tif", [[0, 1], [0, 70000]], pixel_size=0.5)
    ...     tifffile.imread(f"{folder}/labels.tif").dtype
    dtype('float32')
    """
    values = _check(path, labels, _EXACT_IN_FLOAT32, "be exact in ImageJ")
    size = check_pixel_size(pixel_size)
    highest = int(values.max())
    metadata: dict[str, Any] = {"axes": "YX", "min": 0.0, "max": float(max(highest, 1))}
    scale: dict[str, Any] = {}
    if size is not None:
        metadata["unit"] = "micron"
        scale = {"resolution": (1 / size, 1 / size)}
    dtype = np.uint16 if highest <= np.iinfo(np.uint16).max else np.float32
    _write(path, values, dtype, imagej=True, metadata=metadata, **scale)


def write_ome_labels(path: str | os.PathLike[str], labels: npt.ArrayLike, pixel_size: float | None = None) -> None:
    """Write labels as an OME-TIFF.

    Parameters
    ----------
    path : str or path
        Ends in ``.ome.tif`` or ``.ome.tiff``. An existing file is replaced once the new one is complete.
    labels : array-like of int, (H, W)
        0 background. Written as uint16, or as uint32 if a label is above 65,535.
    pixel_size : float, optional
        Height and width of a pixel in µm.

    Raises
    ------
    InvalidInputError
        As `write_labels`.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_ome_labels(f"{folder}/labels.ome.tif", [[0, 1], [0, 70000]], pixel_size=0.5)
    ...     tifffile.imread(f"{folder}/labels.ome.tif").tolist()
    [[0, 1], [0, 70000]]
    """
    check_suffix(path, ".ome.tif", ".ome.tiff")
    values = _check(path, labels, np.iinfo(np.uint32).max, "fit a TIFF")
    _write(path, values, _smallest(values), ome=True, metadata=ome_metadata(check_pixel_size(pixel_size)))


def scale_for_imagej(size: float) -> dict[str, Any]:
    """What tifffile is to write for ImageJ and Fiji to know the size of a pixel, in µm.

    Examples
    --------
    >>> scale_for_imagej(0.5)["resolution"]
    (2.0, 2.0)
    """
    # What ImageJ's own format has; tifffile would allow it 16-bit integers only, and no file of more than 4 GB.
    described: dict[str, Any] = {"description": "ImageJ=1.54f\nunit=micron\n", "metadata": None}
    # No inch: the description has the unit.
    return described | {"resolution": (1 / size, 1 / size), "resolutionunit": 1}


def ome_metadata(size: float | None) -> dict[str, Any]:
    """What tifffile is to write for labels as OME-TIFF, with the size of a pixel in µm where it is known.

    Examples
    --------
    >>> ome_metadata(None)
    {'axes': 'YX', 'Name': 'labels'}
    """
    metadata: dict[str, Any] = {"axes": "YX", "Name": "labels"}
    if size is not None:
        metadata |= {f"PhysicalSize{axis}": size for axis in "XY"}
        metadata |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    return metadata


def _check(path: str | os.PathLike[str], labels: npt.ArrayLike, limit: int, what: str) -> npt.NDArray[Any]:
    values = check_labels(labels)
    highest = int(values.max())
    if highest > limit:
        raise InvalidInputError(
            f"labels must be at most {limit} to {what}, got {highest}; "
            "number them anew, e.g. with skimage.segmentation.relabel_sequential"
        )
    check_suffix(path, ".tif", ".tiff")
    return values


def _smallest(values: npt.NDArray[Any]) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if values.max() <= np.iinfo(np.uint16).max else np.uint32


def _write(path: str | os.PathLike[str], values: npt.NDArray[Any], dtype: npt.DTypeLike, **how: Any) -> None:
    import tifffile

    how |= {"compression": "zlib", "photometric": "minisblack", "software": SOFTWARE}
    with atomic_path(path) as temporary:
        if values.size > _LARGE:
            rows = max(1, _STRIP // (values.shape[1] * np.dtype(dtype).itemsize))
            # The order of bytes is said, since the strips are packed here: tifffile would take whole pages.
            how |= {"shape": values.shape, "dtype": dtype, "rowsperstrip": rows, "byteorder": "<"}
            tifffile.imwrite(temporary, _packed_strips(values, np.dtype(dtype).newbyteorder("<"), rows), **how)
            return
        packed = BytesIO()  # a file is written piece by piece, which takes longer
        tifffile.imwrite(packed, values.astype(dtype), **how)
        temporary.write_bytes(packed.getbuffer())


def _packed_strips(values: npt.NDArray[Any], dtype: np.dtype[Any], rows: int) -> Iterator[bytes]:
    for top in range(0, len(values), rows):
        yield zlib.compress(values[top : top + rows].astype(dtype).tobytes())
