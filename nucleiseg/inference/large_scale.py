"""The scale of an image that is read part by part: decided once, by what is found in a few parts of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from nucleiseg._settings import SegmenterSettings
from nucleiseg.engines.engine import Engine
from nucleiseg.images import Micrograph
from nucleiseg.images.lazy import LazyImage
from nucleiseg.images.sampling import sample_pixels
from nucleiseg.inference.limits import smallest_area
from nucleiseg.inference.options import PredictOptions
from nucleiseg.inference.rescaling import first_factor, segment_at_scale

__all__ = ["at_one_scale"]

_LOOKED_AT = 1024  # pixels, height and width: few enough for any budget
_ENOUGH = 20  # nuclei in a part that tell the scale


def at_one_scale(
    image: LazyImage,
    engine: Engine,
    settings: SegmenterSettings,
    options: PredictOptions,
    sample: npt.NDArray[Any] | None = None,
) -> tuple[PredictOptions, float]:
    """The options with the areas that go with a scale, and that scale, for the whole image.

    Where it is left open, the middle of the image is looked at as `Segmenter.predict` looks at an image, and if there
    are hardly any nuclei, the middles of its quarters; the part with the most of them decides.

    Parameters
    ----------
    image : LazyImage
        Of which five parts of 1,024 x 1,024 pixels are read at most.
    engine : Engine
        Runs the network.
    settings : SegmenterSettings
        Of the model.
    options : PredictOptions
        Its ``scale``, ``diameter`` or ``diameter_um`` are obeyed.
    sample : numpy.ndarray, optional
        What `sample_pixels` takes of the image, where that is known: it decides the range of every part.
    """
    options = options.in_pixels(image.pixel_size)
    factor = first_factor(options, settings)
    if options.diameter is None and options.scale == "auto" and settings.passport is not None:
        factor = _found_factor(image, engine, settings, options, sample_pixels(image) if sample is None else sample)
    area = options.min_area
    if area is None and factor != 1:  # the model's own is in pixels that the network sees
        area = round(smallest_area(None, settings.thresholds) / factor**2)
    return replace(options, scale=factor, diameter=None, min_area=area), factor


def _found_factor(
    image: LazyImage,
    engine: Engine,
    settings: SegmenterSettings,
    options: PredictOptions,
    sample: npt.NDArray[Any],
) -> float:
    most, factor = 0, 1.0
    options = replace(options, min_confidence=0.0)  # which leaves nuclei out once the scale is known
    for rows, columns in _parts(image.shape):
        shown = image[rows, columns]
        source = Micrograph(shown, shown, (), image.pixel_size)
        found = segment_at_scale(source, engine, settings, options, sample)
        if found.count > most:
            most, factor = found.count, found.scale
        if most >= _ENOUGH:
            break
    return factor


def _parts(shape: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """The middle of an image, and of its quarters if it is larger than a part."""
    small = max(shape) <= _LOOKED_AT
    for down, right in ((2, 2),) if small else ((2, 2), (1, 1), (1, 3), (3, 1), (3, 3)):
        rows, columns = (
            slice(start, start + min(length, _LOOKED_AT))
            for length, start in (
                (length, min(max(length * quarter // 4 - _LOOKED_AT // 2, 0), max(length - _LOOKED_AT, 0)))
                for length, quarter in zip(shape, (down, right), strict=True)
            )
        )
        yield rows, columns
