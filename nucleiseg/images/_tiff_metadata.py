"""What TIFF files of OME, ImageJ and Aperio say about their channels and their pixels' size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import tifffile

from nucleiseg._units import MICROMETRES

__all__ = ["channel_names", "has_no_alpha", "has_stains", "pixel_size", "square_size"]

_MOST_UNLIKE = 0.01
_POSITION = re.compile(r"^(?:[czt]:\d+/\d+\s*)+(?:-\s*|$)")


def channel_names(file: tifffile.TiffFile, series: int, axes: str, shape: Sequence[int]) -> tuple[str, ...]:
    """Names along C, empty if the file has none for each."""
    count = shape[axes.index("C")] if "C" in axes else 1
    if file.is_ome:
        image = _ome_image(file, series)
        found = [] if image is None else [c.get("Name") or "" for c in image.iterfind("{*}Pixels/{*}Channel")]
    else:
        found = _labels_of_channels((file.imagej_metadata or {}).get("Labels"))
    return tuple(found) if len(found) == count and all(found) else ()


def _labels_of_channels(labels: object) -> list[str]:
    """Names that ImageJ has for the slices; a single slice has a text that is no list."""
    if not isinstance(labels, (list, tuple)):
        return []
    found = [_POSITION.sub("", str(label)) for label in labels]
    # Programs write where a slice lies, and the name of the file, which names no channel.
    return [] if len(found) > 1 and len(set(found)) == 1 else found


def pixel_size(file: tifffile.TiffFile, series: int) -> float | None:
    """Height and width of a pixel in µm, where the file says so and they are the same."""
    if file.is_ome:
        return _ome_size(_ome_image(file, series))
    if file.is_imagej:
        return _imagej_size(file)
    if file.is_svs and (found := re.search(r"\bMPP\s*=\s*([0-9.]+)", file.pages.first.description)):
        size = _number(found[1])
        return None if size is None else square_size(size, size)
    return None


def square_size(height: float, width: float) -> float | None:
    """The size of a square pixel; None for others, since nothing here is made for them."""
    if not (0 < height < float("inf") and 0 < width < float("inf")):
        return None
    return width if abs(height - width) <= _MOST_UNLIKE * width else None


def _ome_image(file: tifffile.TiffFile, series: int) -> ElementTree.Element | None:
    try:
        images = ElementTree.fromstring(file.ome_metadata or "").findall("{*}Image")
    except ElementTree.ParseError:
        return None
    return images[series] if series < len(images) else None


def _ome_size(image: ElementTree.Element | None) -> float | None:
    pixels = None if image is None else image.find("{*}Pixels")
    if pixels is None:
        return None
    sides = []
    for axis in "YX":
        unit = MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm").lower())
        length = _number(pixels.get(f"PhysicalSize{axis}", ""))
        if unit is None or length is None:
            return None
        sides.append(length * unit)
    return square_size(*sides)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # such as "0,325"; the pixels are read all the same
        return None


def _imagej_size(file: tifffile.TiffFile) -> float | None:
    name = str((file.imagej_metadata or {}).get("unit", "")).lower()
    # ImageJ takes dots per inch, meant for printing, for the size of a pixel.
    unit = None if name == "inch" else MICROMETRES.get(name)
    tags = file.pages.first.tags
    if unit is None or "XResolution" not in tags or "YResolution" not in tags:
        return None
    sides = []
    for axis in "YX":
        pixels, units = tags[f"{axis}Resolution"].value
        if pixels == 0:
            return None
        sides.append(unit * units / pixels)
    return square_size(*sides)


def has_no_alpha(page: tifffile.TiffPage) -> bool:
    """Whether none of a page's samples is transparency, however many they are."""
    alphas = {tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA}
    return page.photometric != tifffile.PHOTOMETRIC.RGB and not alphas & set(page.extrasamples)


def has_stains(file: tifffile.TiffFile) -> bool:
    """Whether the channels are stains, not red, green and blue, which a file that knows of channels holds as samples.

    However ImageJ shows them: its mode says what is on the screen, not what was stained.
    """
    return bool(file.is_lsm or file.is_ome or "channels" in (file.imagej_metadata or {}))
