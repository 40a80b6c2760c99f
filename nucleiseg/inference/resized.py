"""What is found in an image that the network sees larger or smaller than it is, within a memory budget."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg.engines.engine import Engine
from nucleiseg.images.sampling import sample_pixels
from nucleiseg.images.scaling import Bound, scaling_range
from nucleiseg.inference.maps import Maps, Network, predict_maps
from nucleiseg.inference.memory import RESULT_BYTES, WINDOW_BYTES, network_bytes_of, usable
from nucleiseg.inference.options import PredictOptions
from nucleiseg.inference.reach import measure_reach
from nucleiseg.inference.resizing import resize_labels, resize_maps
from nucleiseg.inference.scaled_plan import aligned_windows, make_scaled_plan
from nucleiseg.inference.segmenting import Decoding, segment, stitched
from nucleiseg.inference.watching import expect_passes
from nucleiseg.inference.windows import decoded_windows, with_context
from nucleiseg.instances.decoders import Decoded

__all__ = ["predict_resized", "resized_range", "segment_resized"]

# For each pixel of the resized image, beside what its segmentation takes: raw and as floats, probability and labels.
_RESIZED_BYTES = 40


def segment_resized(
    image: npt.NDArray[Any], engine: Engine, scaling: str, decoding: Decoding, factor: float
) -> Decoded:
    """Probability and labels of an image in memory, on its own pixels, as the network sees it at another size.

    What is found is decoded on the finer of the two grids, where outlines are smoother and small nuclei come apart.

    Parameters
    ----------
    image : numpy.ndarray, (H, W) or (H, W, C)
        Raw pixels, any real dtype.
    engine, scaling, decoding
        As for `nucleiseg.inference.segmenting.segment`.
    factor : float
        By how much it is magnified.

    Examples
    --------
    >>> from nucleiseg.inference.options import PredictOptions
    >>> from nucleiseg.instances import get_decoder
    >>> class Echo:
    ...     multiple = 32
    ...     def __call__(self, images):
    ...         return images[..., :1]
    >>> decoding = Decoding(get_decoder("components"), {"probability": 0.5}, PredictOptions())
    >>> segment_resized(np.array([[9, 0, 0, 8]]), Echo(), "minmax", decoding, 2.0).labels.tolist()
    [[1, 0, 0, 2]]
    """
    if factor == 1:
        return segment(image, engine, scaling, decoding)
    options = decoding.options
    size = (image.shape[0], image.shape[1])
    if options.tiling is not None:
        pixels = size[0] * size[1] * max(1.0, factor**2)
        held = round(pixels * (_RESIZED_BYTES if factor > 1 else WINDOW_BYTES))
        if 2 * held > usable(options.memory_bytes):
            return _in_windows(image, engine, scaling, decoding, factor)
        decoding = replace(decoding, options=replace(options, max_memory=options.memory_bytes - held))
    if factor < 1:
        return decoding.whole(predict_resized(image, engine, scaling, decoding.options, factor))
    probability, labels = segment(_resize(image, factor), engine, scaling, decoding)
    return Decoded(np.clip(resize_maps(probability, size), 0, 1), resize_labels(labels, size))


def predict_resized(
    image: npt.NDArray[Any], engine: Engine, scaling: str, options: PredictOptions, factor: float
) -> Maps:
    """Maps of an image that the network sees at another size, on the finer of the two grids: (h, w, C) float32.

    Parameters
    ----------
    image, engine, scaling, options
        As for `nucleiseg.inference.maps.predict_maps`.
    factor : float
        By how much it is magnified.
    """
    if factor == 1:
        return predict_maps(image, engine, scaling, options)
    maps = predict_maps(_resize(image, factor), engine, scaling, options)
    return np.clip(resize_maps(maps, (image.shape[0], image.shape[1])), 0, 1) if factor < 1 else maps


def _resize(image: npt.NDArray[Any], factor: float) -> npt.NDArray[np.float32]:
    height, width = image.shape[:2]
    return resize_maps(image, (max(1, round(height * factor)), max(1, round(width * factor))))


def resized_range(image: Any, scaling: str, factor: float) -> tuple[Bound, Bound]:
    """The values that become 0 and 1: smoothed, as it is where it is shrunk, an image has another range.

    Parameters
    ----------
    image : array-like, (H, W) or (H, W, C)
        Anything with a ``shape`` that gives an array for ``image[rows, columns]``.
    scaling : str
        One of `nucleiseg.images.list_scalings`.
    factor : float
        By how much it is magnified.

    Examples
    --------
    >>> resized_range(np.eye(8), "minmax", 1.0), resized_range(np.eye(8), "minmax", 0.25)[1] < 0.7
    ((0.0, 1.0), True)
    """
    sample = sample_pixels(image)
    if factor < 1:  # magnified, pixels are between those that there are
        sample = _resize(sample, factor)
    return scaling_range(sample, scaling)


def _in_windows(image: npt.NDArray[Any], engine: Engine, scaling: str, decoding: Decoding, factor: float) -> Decoded:
    options = decoding.options
    size = (image.shape[0], image.shape[1])
    plan = make_scaled_plan(
        size,
        options.tiling,
        options.memory_bytes,
        partial(measure_reach, engine),
        factor,
        network_bytes_of(engine),
        held=RESULT_BYTES * size[0] * size[1],
    )
    network = Network(engine, resized_range(image, scaling, factor), plan.network, options.tta)
    windows = aligned_windows(size, plan, engine.multiple, factor)

    def passes(window: Any) -> int:
        read = with_context(window.read, plan.context, size)[0]
        return network.passes(tuple(max(1, round((part.stop - part.start) * factor)) for part in read))

    expect_passes(lambda: sum(map(passes, windows)))
    parts = decoded_windows(image, windows, network, decoding.part, plan.context, factor)
    return stitched(size, windows, zip(windows, parts, strict=True), decoding)
