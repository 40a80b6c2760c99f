"""Zarr arrays and OME-Zarr images: what is in a folder, before any of its pixels is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nucleiseg._optional import import_extra
from nucleiseg._units import MICROMETRES
from nucleiseg.errors import ImageFileError
from nucleiseg.images._narrowing import meant_axes
from nucleiseg.images._pillow import check_bytes
from nucleiseg.images._scenes import at_level, check_level, find_scene, level_scale
from nucleiseg.images._stored import StoredPixels
from nucleiseg.images._tiff_metadata import square_size
from nucleiseg.images.read_options import AXES, ReadOptions

__all__ = ["is_zarr", "named_axes", "open_zarr"]

_BY_TYPE = {"channel": "C", "time": "T"}


def is_zarr(path: Path) -> bool:
    """Whether a path is a folder that zarr wrote, by its ending or what is in it."""
    named = path.suffix.lower() == ".zarr"
    return path.is_dir() and (named or any((path / name).is_file() for name in (".zarray", ".zgroup", "zarr.json")))


def open_zarr(path: Path, options: ReadOptions) -> StoredPixels:
    """A Zarr array, or one level of an OME-Zarr image, whose axes are as the options have them."""
    zarr = import_extra("zarr", "zarr", "reading Zarr")
    try:
        node = zarr.open(str(path.absolute()), mode="r")  # wherever the process that reads it was started
    except Exception as error:  # zarr raises nearly anything on what is none
        raise ImageFileError(
            f"{path}: is no Zarr array or group ({_reason(error)}); pass a folder that zarr wrote"
        ) from error
    if hasattr(node, "keys"):
        found = _open_image(node, path, options)
    else:
        find_scene(str(path), options.scene, [""], [f"{node.shape}"])
        check_level(str(path), options.level, [node.shape[:2]])
        size = node.attrs.get("pixel_size")
        known = isinstance(size, (int, float)) and 0 < size < math.inf
        found = StoredPixels(node, "", (), float(size) if known else None)
    # A part is read in whole chunks.
    check_bytes(found.pixels.chunks, found.pixels.dtype.itemsize, str(path))
    return found


def named_axes(array: Any) -> str:
    """The axes by the names that a Zarr array has for them (version 3), or xarray (version 2).

    Empty if there are none, if one of them is not known, or rows or columns are not among them.

    Examples
    --------
    >>> import zarr
    >>> named_axes(zarr.create_array({}, shape=(30, 40, 2), dtype="u1", dimension_names=["y", "x", "channel"]))
    'YXC'
    """
    names = getattr(getattr(array, "metadata", None), "dimension_names", None)
    if names is None:
        names = getattr(getattr(array, "attrs", None), "get", lambda _: None)("_ARRAY_DIMENSIONS")
    if not isinstance(names, (list, tuple)) or len(names) != len(array.shape):
        return ""
    axes = "".join(_BY_TYPE.get(str(name).lower(), str(name).upper()) for name in names)
    known = len(axes) == len(set(axes)) == len(names) and set("YX") <= set(axes) <= set(AXES)
    return axes if known else ""


def _open_image(node: Any, path: Path, options: ReadOptions) -> StoredPixels:
    attributes = dict(node.attrs)
    attributes = attributes.get("ome", attributes)  # version 0.5 keeps everything in "ome"
    if not isinstance(attributes, Mapping) or not attributes.get("multiscales"):
        raise ImageFileError(f"{path}: is a Zarr group without an OME image; pass one of its arrays: {_inside(path)}")
    try:
        return _level_of(node, attributes, path, options)
    except ImageFileError:
        raise
    except Exception as error:  # of whatever kind and shape its JSON is
        raise ImageFileError(
            f"{path}: its OME metadata can't be understood ({_reason(error)}); pass one of its arrays: {_inside(path)}"
        ) from error


def _level_of(node: Any, attributes: Mapping[str, Any], path: Path, options: ReadOptions) -> StoredPixels:
    scenes = attributes["multiscales"]
    names = [str(scene.get("name", "")) for scene in scenes]
    multiscale = scenes[find_scene(str(path), options.scene, names, list(map(repr, names)))]
    datasets = multiscale["datasets"]
    arrays = [node[dataset["path"]] for dataset in datasets]
    stored = multiscale.get("axes", "tczyx"[-arrays[0].ndim :])
    axes = "".join(map(_letter, stored))
    axes = meant_axes(axes, arrays[0].shape, options) or axes
    if not {"Y", "X"} <= set(axes):
        meant = "TZCYX"[-len(axes) :]
        raise ImageFileError(
            f"{path}: has no axes y and x, got {', '.join(map(_name, stored))}; "
            f"say what its axes are, e.g. --axes {meant} (axes={meant!r} in Python)"
        )
    y, x = axes.index("Y"), axes.index("X")
    sides = [(array.shape[y], array.shape[x]) for array in arrays]
    check_level(str(path), options.level, sides)
    scale = level_scale(str(path), options, sides)
    level = datasets[options.level]
    is_sized = any(step.get("type") == "scale" for step in level.get("coordinateTransformations", []))
    size = _pixel_size(multiscale, level if is_sized else datasets[0], axes)
    labels = tuple(str(channel.get("label", "")) for channel in attributes.get("omero", {}).get("channels", []))
    return StoredPixels(
        arrays[options.level],
        axes,
        labels if all(labels) else (),
        size if is_sized else at_level(size, scale),
        scale,
    )


def _inside(path: Path) -> str:
    """Names of arrays, without opening them: they may be what is damaged."""
    return ", ".join(sorted(child.name for child in path.iterdir() if child.is_dir()))


def _name(axis: str | Mapping[str, Any]) -> str:
    return axis if isinstance(axis, str) else str(axis["name"])


def _letter(axis: str | Mapping[str, Any]) -> str:
    """Longer names than those that OME gives are for any axis, so what they are of tells."""
    name = _name(axis)
    if len(name) == 1:
        return name.upper()
    return "?" if isinstance(axis, str) else _BY_TYPE.get(str(axis.get("type")), "?")


def _pixel_size(multiscale: Mapping[str, Any], dataset: Mapping[str, Any], axes: str) -> float | None:
    """Of one level, in µm."""
    described = multiscale.get("axes", [])
    # What is done to all levels comes on top of what is done to one.
    steps = [*dataset.get("coordinateTransformations", []), *multiscale.get("coordinateTransformations", [])]
    sides = []
    for axis in "YX":
        where = axes.index(axis)
        if not described or isinstance(described[where], str):
            return None
        side = MICROMETRES.get(described[where].get("unit", ""))
        if side is None:
            return None
        for step in steps:
            if step.get("type") == "scale":
                side *= float(step["scale"][where])
        sides.append(side)
    return square_size(*sides)


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
