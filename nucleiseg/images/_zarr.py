"""Zarr arrays and OME-Zarr images: what is in a folder, before any of its pixels is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nucleiseg._optional import import_extra
from nucleiseg._units import MICROMETRES
from nucleiseg.errors import ImageFileError
from nucleiseg.images._pillow import check_bytes
from nucleiseg.images._scenes import check_level
from nucleiseg.images._tiff_metadata import square_size

__all__ = ["ZarrPixels", "open_zarr"]


@dataclass(frozen=True)
class ZarrPixels:
    """An array on disk, with what `nucleiseg.images.lazy.LazyImage` asks; empty axes are not known."""

    pixels: Any = field(repr=False)
    axes: str
    channels: tuple[str, ...] = ()
    full_pixel_size: float | None = None
    scale: float = 1.0


def open_zarr(path: Path, level: int) -> ZarrPixels:
    """A Zarr array, or one level of an OME-Zarr image."""
    zarr = import_extra("zarr", "zarr", "reading Zarr")
    try:
        node = zarr.open(str(path.absolute()), mode="r")  # wherever the process that reads it was started
    except Exception as error:  # zarr raises nearly anything on what is none
        raise ImageFileError(
            f"{path}: is no Zarr array or group ({_reason(error)}); pass a folder that zarr wrote"
        ) from error
    if hasattr(node, "keys"):
        found = _open_image(node, path, level)
    else:
        check_level(str(path), level, [node.shape[:2]])
        size = node.attrs.get("pixel_size")
        known = isinstance(size, (int, float)) and 0 < size < math.inf
        found = ZarrPixels(node, "", (), float(size) if known else None)
    # A part is read in whole chunks.
    check_bytes(found.pixels.chunks, found.pixels.dtype.itemsize, str(path))
    return found


def _open_image(node: Any, path: Path, level: int) -> ZarrPixels:
    attributes = dict(node.attrs)
    attributes = attributes.get("ome", attributes)  # version 0.5 keeps everything in "ome"
    if not isinstance(attributes, Mapping) or not attributes.get("multiscales"):
        raise ImageFileError(f"{path}: is a Zarr group without an OME image; pass one of its arrays: {_inside(path)}")
    try:
        return _level_of(node, attributes, path, level)
    except ImageFileError:
        raise
    except Exception as error:  # of whatever kind and shape its JSON is
        raise ImageFileError(
            f"{path}: its OME metadata can't be understood ({_reason(error)}); pass one of its arrays: {_inside(path)}"
        ) from error


def _level_of(node: Any, attributes: Mapping[str, Any], path: Path, level: int) -> ZarrPixels:
    multiscale = attributes["multiscales"][0]
    datasets = multiscale["datasets"]
    arrays = [node[dataset["path"]] for dataset in datasets]
    axes = "".join(_axis(axis) for axis in multiscale.get("axes", "tczyx"[-arrays[0].ndim :]))
    y, x = axes.index("Y"), axes.index("X")
    check_level(str(path), level, [(array.shape[y], array.shape[x]) for array in arrays])
    names = tuple(str(channel.get("label", "")) for channel in attributes.get("omero", {}).get("channels", []))
    return ZarrPixels(
        arrays[level],
        axes,
        names if all(names) else (),
        _pixel_size(multiscale, datasets[0], axes),
        arrays[0].shape[y] / arrays[level].shape[y],
    )


def _inside(path: Path) -> str:
    """Names of arrays, without opening them: they may be what is damaged."""
    return ", ".join(sorted(child.name for child in path.iterdir() if child.is_dir()))


def _axis(axis: str | Mapping[str, Any]) -> str:
    return (axis if isinstance(axis, str) else str(axis["name"])).upper()


def _pixel_size(multiscale: Mapping[str, Any], dataset: Mapping[str, Any], axes: str) -> float | None:
    """Of the full size, in µm."""
    described = multiscale.get("axes", [])
    sides = [1.0, 1.0]
    for transformation in dataset.get("coordinateTransformations", []):
        if transformation.get("type") == "scale":
            sides = [float(transformation["scale"][axes.index(axis)]) for axis in "YX"]
    units = [MICROMETRES.get(a.get("unit", "")) for a in described if not isinstance(a, str) and _axis(a) in "YX"]
    if len(units) != 2 or None in units:
        return None
    height, width = (side * unit for side, unit in zip(sides, units, strict=True) if unit is not None)
    return square_size(height, width)


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
