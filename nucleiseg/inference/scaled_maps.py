"""A network's maps of an image at the scale at which a prediction would look at it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy.typing as npt

from nucleiseg._settings import SegmenterSettings
from nucleiseg.engines.engine import Engine
from nucleiseg.images import Micrograph
from nucleiseg.inference.maps import Maps
from nucleiseg.inference.options import PredictOptions
from nucleiseg.inference.resized import part_range, predict_resized
from nucleiseg.inference.room import has_room_for_maps
from nucleiseg.inference.scale_choice import choose_scale
from nucleiseg.inference.segmenting import decoding_of
from nucleiseg.inference.windows import decode_window
from nucleiseg.instances.decoders import Decoded

__all__ = ["maps_at_scale"]


def maps_at_scale(
    source: Micrograph, engine: Engine, settings: SegmenterSettings, options: PredictOptions
) -> tuple[Maps, float]:
    """Maps of an image, and by how much the network saw it magnified, as `segment_at_scale` decides it.

    Where the scale is left open, what the model's thresholds find so far decides it. An image that is seen at its own
    size is looked at once.

    Parameters
    ----------
    source, engine, settings, options
        As for `nucleiseg.inference.rescaling.segment_at_scale`.

    Returns
    -------
    maps : numpy.ndarray, (h, w, C)
        float32, on the finer of two grids: that of the image, and that of what the network saw.
    factor : float
        By how much it was magnified.
    """
    options = options.in_pixels(source.pixel_size)
    everything = replace(options, min_area=0, remove_edge=False, fill_holes=False, threshold=None)
    decoding = decoding_of(settings, everything)
    seen: dict[float, Maps] = {}

    def look(factor: float, pixels: npt.NDArray[Any] = source.shown) -> Decoded:
        bounds = part_range(pixels, source.shown, settings.scaling, factor)
        maps = predict_resized(pixels, engine, settings.scaling, options, factor, bounds)
        if pixels is source.shown:
            seen[factor] = maps
        return decode_window(maps, decoding.whole, (pixels.shape[0], pixels.shape[1]))

    fits = partial(has_room_for_maps, engine=engine)
    factor, _, _ = choose_scale(source.shown, look, settings, options, fits)
    if factor not in seen:
        seen[factor] = predict_resized(source.shown, engine, settings.scaling, options, factor)
    return seen[factor], factor
