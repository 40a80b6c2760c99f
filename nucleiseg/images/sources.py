"""Whatever shows an image, a file, an array or a store that is read part by part, as one image in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nucleiseg._checks import refuse_samples
from nucleiseg._files import check_reachable
from nucleiseg.errors import ImageFileError, InvalidInputError
from nucleiseg.images._zarr import is_zarr
from nucleiseg.images.lazy import LazyImage, open_lazy
from nucleiseg.images.micrograph import Micrograph, as_micrograph
from nucleiseg.images.read_options import ReadOptions
from nucleiseg.images.reading import read_micrograph

__all__ = ["open_micrograph"]


def open_micrograph(image: Any, options: ReadOptions | None = None) -> Micrograph:
    """Read an image into memory, wherever it is.

    Parameters
    ----------
    image : array-like, path, LazyImage or Micrograph
        As for `read_micrograph` and `as_micrograph`; a folder that is a Zarr array or an OME-Zarr image, a Zarr or Dask
        array, and what `open_lazy` gives, are read as a whole. A `Micrograph` stays as it is.
    options : ReadOptions, optional
        Channel, planes, level, pixel size, most pixels. Those of a `LazyImage` are its own.

    Returns
    -------
    Micrograph
        Raw pixels of all channels, and the part to look at.

    Raises
    ------
    ImageFileError
        If a file or folder is no image, or it is left open which part of it to look at.
    InvalidInputError
        The same about an array; or the image is too large, for which there is `nucleiseg.predict_large`.

    Examples
    --------
    >>> import numpy
    >>> from nucleiseg.images import open_lazy
    >>> open_micrograph(open_lazy(numpy.zeros((30, 40)), ReadOptions(pixel_size=0.5))).pixel_size
    0.5
    """
    lazy: LazyImage
    refuse_samples(image)
    if isinstance(image, Micrograph):
        return image
    if isinstance(image, (str, os.PathLike)):
        path = Path(image)
        check_reachable(path, ImageFileError)
        if not path.is_dir():
            return read_micrograph(path, options)
        if not is_zarr(path):
            raise ImageFileError(f"{path}: is a folder, not an image; pass the files in it, or a Zarr")
        lazy = open_lazy(path, options)
    elif not isinstance(image, LazyImage):
        if not _is_lazy(image):
            return as_micrograph(image, options)
        lazy = open_lazy(image, options)
    else:
        lazy = image
    height, width = lazy.shape
    most = lazy.options.max_pixels
    if height * width > most:
        raise InvalidInputError(
            f"an image in memory has at most {most:,} pixels, got {lazy.name} with {height:,} x {width:,}; "
            "use nucleiseg.predict_large (in a terminal: --output LABELS.zarr), which reads it part by part, "
            "a smaller level, or allow more with --max-pixels (max_pixels in Python)"
        )
    return lazy.read(slice(0, height), slice(0, width))


def _is_lazy(image: Any) -> bool:
    """Zarr and Dask arrays: they have chunks."""
    return hasattr(image, "chunks") and hasattr(image, "shape") and hasattr(image, "dtype")
