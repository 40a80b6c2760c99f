"""What is found in an image that the network sees larger or smaller than it is, within a memory budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg.engines.engine import Engine
from nucleiseg.images.sampling import LARGEST, PATCH, sample_pixels
from nucleiseg.images.scaling import Bound, scaling_range
from nucleiseg.inference.limits import smallest_area
from nucleiseg.inference.maps import Maps, Network, predict_maps
from nucleiseg.inference.options import PredictOptions
from nucleiseg.inference.resizing import resize_labels, resize_maps
from nucleiseg.inference.room import options_for_whole, windows_in_memory
from nucleiseg.inference.scaled_plan import aligned_windows
from nucleiseg.inference.segmenting import Decoding, segment, stitched
from nucleiseg.inference.watching import expect_passes
from nucleiseg.inference.windows import decoded_windows, with_context
from nucleiseg.instances import filter_labels
from nucleiseg.instances.decoders import Decoded
from nucleiseg.instances.splitting import number_by_first

__all__ = ["part_range", "predict_resized", "resized_range", "segment_resized"]


def segment_resized(
    image: npt.NDArray[Any],
    engine: Engine,
    scaling: str,
    decoding: Decoding,
    factor: float,
    bounds: tuple[Bound, Bound] | None = None,
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
    bounds : tuple, optional
        The `resized_range` of another image, of which this one is a part; by default its own.

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
        return segment(image, engine, scaling, decoding, bounds=bounds)
    size = (image.shape[0], image.shape[1])
    area = smallest_area(decoding.options.min_area, decoding.thresholds, factor)
    decoding = replace(decoding, options=replace(decoding.options, min_area=area))
    options = options_for_whole(size, engine, decoding.options, factor)
    if options is None:
        return _in_windows(image, engine, scaling, decoding, factor, bounds)
    decoding = replace(decoding, options=options)
    bounds = resized_range(image, scaling, factor) if bounds is None else bounds
    if factor < 1:
        return decoding.whole(predict_resized(image, engine, scaling, decoding.options, factor, bounds))
    # The area counts on the image's own pixels, not on those of the magnified one.
    decoding = replace(decoding, options=replace(options, min_area=0))
    probability, labels = segment(_resize(image, factor), engine, scaling, decoding, bounds=bounds)
    labels = resize_labels(labels, size)
    # Here another row may be the first one of a nucleus, and one of a pixel may be gone.
    number_by_first(labels)
    if area:
        labels = filter_labels(labels, area)
    return Decoded(np.clip(resize_maps(probability, size), 0, 1), labels)


def predict_resized(
    image: npt.NDArray[Any],
    engine: Engine,
    scaling: str,
    options: PredictOptions,
    factor: float,
    bounds: tuple[Bound, Bound] | None = None,
) -> Maps:
    """Maps of an image that the network sees at another size, on the finer of the two grids: (h, w, C) float32.

    Parameters
    ----------
    image, engine, scaling, options
        As for `nucleiseg.inference.maps.predict_maps`.
    factor : float
        By how much it is magnified.
    bounds : tuple, optional
        As for `segment_resized`.
    """
    if factor == 1:
        return predict_maps(image, engine, scaling, options, bounds)
    bounds = resized_range(image, scaling, factor) if bounds is None else bounds
    maps = predict_maps(_resize(image, factor), engine, scaling, options, bounds)
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
    # Where the type tells the range: resized pixels are no whole numbers any more. Magnified ones are between those
    # that there are.
    if scaling != "dtype" and factor < 1:
        # That of a large image is made of patches; row by row of them, it needs little memory.
        rows = PATCH if sample.shape[0] * sample.shape[1] >= LARGEST else len(sample)
        sample = np.concatenate([_resize(sample[top : top + rows], factor) for top in range(0, len(sample), rows)])
    return scaling_range(sample, scaling)


def part_range(
    part: npt.NDArray[Any], whole: npt.NDArray[Any], scaling: str, factor: float
) -> tuple[Bound, Bound] | None:
    """The `resized_range` of an image of which a part is looked at; None if that is the image itself.

    Examples
    --------
    >>> image = np.eye(8)
    >>> part_range(image[4:, :4], image, "minmax", 1.0), part_range(image, image, "minmax", 1.0)
    ((0.0, 1.0), None)
    """
    return None if part is whole else resized_range(whole, scaling, factor)


def _in_windows(
    image: npt.NDArray[Any],
    engine: Engine,
    scaling: str,
    decoding: Decoding,
    factor: float,
    bounds: tuple[Bound, Bound] | None,
) -> Decoded:
    options = decoding.options
    size = (image.shape[0], image.shape[1])
    plan = windows_in_memory(size, engine, options, factor)
    if bounds is None:
        bounds = resized_range(image, scaling, factor)
    network = Network(engine, bounds, plan.network, options.tta)
    windows = aligned_windows(size, plan, engine.multiple, factor)

    def passes(window: Any) -> int:
        read = with_context(window.read, plan.context, size)[0]
        return network.passes(tuple(max(1, round((part.stop - part.start) * factor)) for part in read))

    expect_passes(lambda: sum(map(passes, windows)))
    parts = decoded_windows(image, windows, network, decoding.part, plan.context, factor)
    return stitched(size, windows, zip(windows, parts, strict=True), decoding)
