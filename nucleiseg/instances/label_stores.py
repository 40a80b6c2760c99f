"""Label images that are too large for memory: Zarr, OME-Zarr and tiled TIFF, written a band of rows at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_pixel_size
from nucleiseg._files import SOFTWARE, atomic_path, flush
from nucleiseg._optional import import_extra
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances.label_tiffs import ome_metadata, scale_for_imagej

__all__ = ["LABEL_STORES", "check_label_store", "write_label_store"]

LABEL_STORES = (".zarr", ".tif", ".tiff")
CHUNK = 512

Bands = Callable[[slice], npt.NDArray[np.int32]]


def check_label_store(path: str | os.PathLike[str]) -> Path:
    """A path that `write_label_store` may write to.

    Raises
    ------
    InvalidInputError
        If the suffix is unknown, or there is something that nucleiseg has not written.
    MissingPackageError
        If zarr is needed and not installed.

    Examples
    --------
    >>> check_label_store("labels.tif").name
    'labels.tif'
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in LABEL_STORES:
        raise InvalidInputError(
            f"the labels of a large image must go to {' or '.join(LABEL_STORES)}, got {str(path)!r}; "
            f"use {target.stem}.zarr"
        )
    if suffix == ".zarr":
        import_extra("zarr", "zarr", "writing Zarr")
    if target.exists() and not _is_own(target):
        raise InvalidInputError(
            f"{target} would be replaced, but nucleiseg did not write it; choose another name or remove it"
        )
    return target


def write_label_store(
    path: str | os.PathLike[str], shape: tuple[int, int], bands: Bands, pixel_size: float | None = None
) -> None:
    """Write labels; they appear complete or not at all.

    Parameters
    ----------
    path : path
        ``.ome.zarr`` becomes an OME-Zarr image (version 0.4) of labels, which stands alone: it is not listed in the
        ``labels`` group of another image. ``.zarr`` becomes a Zarr array, ``.tif`` a tiled BigTIFF with deflate,
        which is an OME-TIFF if its name ends in ``.ome.tif``.
    shape : tuple of int
        Height and width.
    bands : function
        From a slice of rows to their labels, int32 (rows, W). Called from top to bottom.
    pixel_size : float, optional
        In µm.

    Raises
    ------
    InvalidInputError, MissingPackageError
        As `check_label_store`; if the pixel size is not above 0.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> path = Path(tempfile.mkdtemp()) / "labels.tif"
    >>> labels = np.eye(600, dtype=np.int32)
    >>> write_label_store(path, labels.shape, lambda rows: labels[rows])
    >>> bool((tifffile.imread(path) == labels).all())
    True
    """
    target, pixel_size = check_label_store(path), check_pixel_size(pixel_size)
    if target.suffix.lower() == ".zarr":
        _write_zarr(target, shape, bands, pixel_size)
    else:
        _write_tiff(target, shape, bands, pixel_size)


def _rows(height: int) -> Iterator[slice]:
    for start in range(0, height, CHUNK):
        yield slice(start, min(start + CHUNK, height))


def _write_zarr(target: Path, shape: tuple[int, int], bands: Bands, pixel_size: float | None) -> None:
    zarr = import_extra("zarr", "zarr", "writing Zarr")
    as_ome = target.name.lower().endswith(".ome.zarr")
    unfinished = target.with_name(f".tmp-{target.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    layout = {"shape": shape, "dtype": "int32", "chunks": (CHUNK, CHUNK)}
    try:
        if as_ome:
            group = zarr.open_group(str(unfinished), mode="w", zarr_format=2)
            array = group.create_array("0", chunk_key_encoding={"name": "v2", "separator": "/"}, **layout)
            group.attrs.update(_ome_attributes(target.name, pixel_size))
            group.attrs["software"] = SOFTWARE
        else:
            array = zarr.create_array(str(unfinished), **layout)
            array.attrs.update({"software": SOFTWARE, "axes": "YX"})
            if pixel_size is not None:
                array.attrs["pixel_size"] = pixel_size
        for rows in _rows(shape[0]):
            array[rows] = bands(rows)
        flush(unfinished)
        if target.exists():
            shutil.rmtree(target)
        unfinished.replace(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _ome_attributes(name: str, pixel_size: float | None) -> dict[str, Any]:
    unit = {} if pixel_size is None else {"unit": "micrometer"}
    scale = [pixel_size or 1.0] * 2
    return {
        "multiscales": [
            {
                "version": "0.4",
                "name": name,
                "axes": [{"name": axis, "type": "space", **unit} for axis in "yx"],
                "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}],
            }
        ],
        "image-label": {"version": "0.4"},
    }


def _write_tiff(target: Path, shape: tuple[int, int], bands: Bands, pixel_size: float | None) -> None:
    import tifffile

    def blocks() -> Iterator[npt.NDArray[np.int32]]:
        for rows in _rows(shape[0]):
            band = bands(rows)
            for start in range(0, shape[1], CHUNK):
                yield np.ascontiguousarray(band[:, start : start + CHUNK])

    as_ome = target.name.lower().endswith((".ome.tif", ".ome.tiff"))
    described: dict[str, Any] = {"metadata": ome_metadata(pixel_size) if as_ome else None}
    if pixel_size is not None and not as_ome:
        described = scale_for_imagej(pixel_size)
    with (
        atomic_path(target, lasting=True) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=True, ome=as_ome) as writer,
    ):
        writer.write(
            blocks(),
            shape=shape,
            dtype=np.int32,
            tile=(CHUNK, CHUNK),
            compression="zlib",
            photometric="minisblack",
            software=SOFTWARE,
            **described,
        )


def _is_own(target: Path) -> bool:
    if target.is_file():
        from nucleiseg.instances.exporting import is_own_file

        return is_own_file(target)
    for name in (".zattrs", "zarr.json"):
        if (target / name).is_file() and f'"software": "{SOFTWARE}"' in (target / name).read_text(encoding="utf-8"):
            return True
    return False
