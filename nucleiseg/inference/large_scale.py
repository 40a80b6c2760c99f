"""The scale of an image that is read part by part: decided once, by what is found in a few parts of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy.typing as npt

from nucleiseg._settings import SegmenterSettings
from nucleiseg._warnings import warn_caller
from nucleiseg.engines.engine import Engine
from nucleiseg.errors import PredictionWarning
from nucleiseg.images import Micrograph
from nucleiseg.images.lazy import LazyImage
from nucleiseg.images.sampling import sample_pixels
from nucleiseg.inference.limits import smallest_area
from nucleiseg.inference.looking import ENOUGH, parts_of
from nucleiseg.inference.options import PredictOptions
from nucleiseg.inference.rescaling import segment_at_scale
from nucleiseg.inference.room import has_room, nearest_scale, shortage_of_windows
from nucleiseg.inference.scale_choice import count_believed, first_factor
from nucleiseg.instances.decoders import Decoded

__all__ = ["at_one_scale"]


def at_one_scale(
    image: LazyImage,
    engine: Engine,
    settings: SegmenterSettings,
    options: PredictOptions,
    sample: npt.NDArray[Any] | None = None,
) -> tuple[PredictOptions, float]:
    """The options with the areas that go with a scale, and that scale, for the whole image.

    Where it is left open, the middle of the image is looked at as `Segmenter.predict` looks at an image, and if hardly
    any nuclei are trusted there, the middles of its quarters; the part with the most of them decides. Where memory
    does not suffice for what they decide, the nearest scale that fits is taken.

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

    Warns
    -----
    PredictionWarning
        If memory does not suffice for the scale that suits the nuclei, or to look for it.
    """
    options = options.in_pixels(image.pixel_size)
    factor = first_factor(options, settings)
    if options.diameter is None and options.scale == "auto" and settings.passport is not None:
        sample = sample_pixels(image) if sample is None else sample
        factor, wanted = _found_factor(image, engine, settings, options, sample)
        if factor != wanted:
            _warn(image, engine, options, factor, wanted)
    # Without a scale it stays open, as options are compared when an interrupted prediction goes on.
    area = options.min_area if factor == 1 else smallest_area(options.min_area, settings.thresholds, factor)
    return replace(options, scale=factor, diameter=None, min_area=area), factor


def _found_factor(
    image: LazyImage,
    engine: Engine,
    settings: SegmenterSettings,
    options: PredictOptions,
    sample: npt.NDArray[Any],
) -> tuple[float, float | None]:
    """The scale for the whole image, and the one that suits its nuclei; None for that if it can't be looked for."""
    most, factor, wanted = 0, 1.0, 1.0
    options = replace(options, min_confidence=0.0)  # which leaves nuclei out once the scale is known
    for rows, columns in parts_of(image.shape):
        if not has_room((rows.stop - rows.start, columns.stop - columns.start), 1.0, engine, options):
            return 1.0, None
        shown = image[rows, columns]
        source = Micrograph(shown, shown, (), image.pixel_size)
        found = segment_at_scale(source, engine, settings, options, sample)
        believed = count_believed(Decoded(found.probability, found.labels), found.scale, settings)
        if believed > most:
            most, factor, wanted = believed, found.scale, found.wanted_scale or found.scale
        if most >= ENOUGH:
            break
    return nearest_scale(factor, 1.0, lambda one: not shortage_of_windows(image.shape, one, engine, options)), wanted


def _warn(image: LazyImage, engine: Engine, options: PredictOptions, factor: float, wanted: float | None) -> None:
    suits, shortage = "which one suits its nuclei can't be told", None
    if wanted is not None:
        suits = f"that of {wanted:.3g}, which suits its nuclei, does not fit"
        shortage = shortage_of_windows(image.shape, wanted, engine, options)
    why = shortage or f"max_memory is too small to look for it: {options.memory_bytes:,} bytes; give more, or the scale"
    text = f"{image.name}: segmented at a scale of {factor:.3g}; {suits}: {why}"
    warn_caller(text, PredictionWarning)
