"""The makers' own formats: Zeiss CZI, Nikon ND2, Leica LIF, each through a package that is imported only here."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nucleiseg.errors import ImageFileError
from nucleiseg.images._pillow import check_bytes, check_pixels
from nucleiseg.images._scenes import at_level, check_level, find_scene
from nucleiseg.images._stacks import Stack
from nucleiseg.images._tiff_metadata import square_size
from nucleiseg.images.read_options import ReadOptions

__all__ = ["read_microscope"]

_MICROMETRES_PER_METRE = 1e6


def read_czi(path: str, options: ReadOptions) -> Stack:
    """A scene of a CZI file; its tiles are put together, and its levels halve the size."""
    with _package("pylibCZIrw", "pylibCZIrw.czi", path).open_czi(path) as file:
        boxes = file.scenes_bounding_rectangle_no_pyramid or {None: file.total_bounding_rectangle_no_pyramid}
        numbers = list(boxes)
        shapes = [f"({box.h}, {box.w})" for box in boxes.values()]
        scene = numbers[find_scene(path, options.scene, [str(number) for number in numbers], shapes)]
        roi, zoom = boxes[scene], 0.5**options.level
        height, width = round(roi.h * zoom), round(roi.w * zoom)
        if not height or not width:
            raise ImageFileError(f"{path}: has no level {options.level}, where no pixel is left; choose a smaller one")
        check_pixels(height, width, path, options.max_pixels, levels=min(roi.h, roi.w).bit_length())
        ranges = {axis: range(*span) for axis, span in file.total_bounding_box.items() if axis not in "YX"}
        planes = [dict(zip(ranges, place, strict=True)) for place in itertools.product(*ranges.values())]
        check_bytes((len(planes), height, width, 3), 4, path)
        layers = [file.read(roi=tuple(roi), plane=plane, scene=scene, zoom=zoom) for plane in planes]
        metadata = (file.metadata or {}).get("ImageDocument")
    lengths = [len(span) for span in ranges.values()]
    pixels = np.stack(layers).reshape(*lengths, *layers[0].shape)
    if pixels.shape[-1] == 3:
        pixels = pixels[..., ::-1]  # blue comes first
    channels = _nested(metadata, "Metadata.Information.Image.Dimensions.Channels.Channel")
    names = [channel.get("@Name") or "" for channel in channels]
    distances = {side.get("@Id"): side.get("Value") for side in _nested(metadata, "Metadata.Scaling.Items.Distance")}
    metres = [float(distances.get(axis) or 0) * _MICROMETRES_PER_METRE for axis in "YX"]
    axes = "".join(ranges) + "YXS"
    complete = _complete(names, len(ranges.get("C", "C")))
    return Stack(pixels, axes, path, complete, at_level(square_size(*metres), 1 / zoom), 1 / zoom)


def read_nd2(path: str, options: ReadOptions) -> Stack:
    """A stage position of an ND2 file."""
    with _package("nd2", "nd2", path).ND2File(path) as file:
        sizes = dict(file.sizes)
        positions = [f"position {number}" for number in range(sizes.pop("P", 1))]
        scene = find_scene(path, options.scene, positions, positions)
        check_level(path, options.level, [(sizes["Y"], sizes["X"])])
        check_pixels(sizes["Y"], sizes["X"], path, options.max_pixels)
        check_bytes(tuple(sizes.values()), file.dtype.itemsize, path)
        pixels = file.asarray(position=scene if "P" in file.sizes else None)
        channels = list(file.metadata.channels or ())
    size = None
    if channels and all(channels[0].volume.axesCalibrated[:2]):
        width, height = channels[0].volume.axesCalibration[:2]
        size = square_size(height, width)
    names = _complete([channel.channel.name for channel in channels], sizes.get("C", 1))
    return Stack(pixels.reshape(tuple(sizes.values())), "".join(sizes), path, names, size)


def read_lif(path: str, options: ReadOptions) -> Stack:
    """An image of a LIF file."""
    with _package("liffile", "liffile", path).LifFile(path) as file:
        shapes = [f"{image.name!r} {image.shape}" for image in file.images]
        image = file.images[find_scene(path, options.scene, [image.name for image in file.images], shapes)]
        sizes = dict(image.sizes)
        if not {"Y", "X"} <= set(sizes):
            raise ImageFileError(f"{path}: {image.name!r} has no rows and columns but {sizes}; choose another scene")
        check_level(path, options.level, [(sizes["Y"], sizes["X"])])
        check_pixels(sizes["Y"], sizes["X"], path, options.max_pixels)
        check_bytes(tuple(sizes.values()), image.dtype.itemsize, path)
        pixels = np.asarray(image.asarray())
        steps = [float(np.ptp(image.coords[axis])) / max(sizes[axis] - 1, 1) for axis in "YX" if axis in image.coords]
        names = [str(name) for name in image.coords.get("C", ()) if isinstance(name, str)]
    size = square_size(*(step * _MICROMETRES_PER_METRE for step in steps)) if len(steps) == 2 else None
    axes = "".join(axis if len(axis) == 1 else "?" for axis in sizes)
    return Stack(pixels, axes, path, _complete(names, sizes.get("C", 1)), size)


_READERS: dict[str, Callable[[str, ReadOptions], Stack]] = {".czi": read_czi, ".nd2": read_nd2, ".lif": read_lif}


def read_microscope(path: Path, options: ReadOptions) -> Stack:
    """One image of a file in a maker's format, told by its ending."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ImageFileError(f"{path}: is no {path.suffix[1:].upper()} file; convert it to TIFF")
    return reader(str(path), options)


def _complete(names: Sequence[str], count: int) -> tuple[str, ...]:
    """A name for each channel: numbers where names are lacking, since these are never red, green and blue."""
    return tuple(names) if len(names) == count and all(names) else tuple(str(i) for i in range(count))


def _nested(metadata: Any, path: str) -> list[dict[str, Any]]:
    """The elements at a place in parsed XML, where one element is a mapping and several are a list."""
    for key in path.split("."):
        metadata = metadata.get(key) if isinstance(metadata, dict) else None
    found = metadata if isinstance(metadata, list) else [metadata]
    return [element for element in found if isinstance(element, dict)]


def _package(package: str, module: str, path: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImageFileError(
            f"{path}: reading it needs the package {package} ({error}); run 'pip install \"nucleiseg[microscopy]\"' "
            f"or 'pip install {package}'"
        ) from error
