"""From raw pixels to nuclei, within a memory budget: windows through the network, decoded, and stitched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import describe
from nucleiseg._progress import progress
from nucleiseg._settings import SegmenterSettings
from nucleiseg.engines.engine import Engine
from nucleiseg.errors import InvalidInputError
from nucleiseg.heads import get_head
from nucleiseg.images import Tile, tiles
from nucleiseg.images.sampling import sampled_range
from nucleiseg.images.scaling import Bound
from nucleiseg.inference.flowing import decoded_flow, make_flow
from nucleiseg.inference.limits import LeastConfidence, least_confidence, smallest_area
from nucleiseg.inference.maps import Maps, Network
from nucleiseg.inference.memory import Plan, make_plan, network_bytes_of
from nucleiseg.inference.options import PredictOptions
from nucleiseg.inference.reach import measure_reach
from nucleiseg.inference.settling import stitch
from nucleiseg.inference.stitching import Piece, Settled, final_numbers, make_piece
from nucleiseg.inference.watching import expect_passes
from nucleiseg.inference.windows import decoded_windows, with_context
from nucleiseg.instances import filter_labels, get_decoder
from nucleiseg.instances.decoders import Decoded, Decoder

__all__ = ["Decoding", "decoding_of", "segment", "stitched"]


@dataclass(frozen=True)
class Decoding:
    """How maps become nuclei.

    Parameters
    ----------
    decoder : function
        From `nucleiseg.instances.get_decoder`.
    thresholds : mapping of str to float
        What it cuts the maps at.
    options : PredictOptions
        Of these, what leaves out or fills nuclei.

    Examples
    --------
    >>> from nucleiseg.instances import get_decoder
    >>> decoding = Decoding(get_decoder("components"), {"probability": 0.5}, PredictOptions(min_area=2))
    >>> decoding.whole(np.array([[[0.9], [0.1], [0.7], [0.8]]], np.float32)).labels.tolist()
    [[0, 0, 1, 1]]
    """

    decoder: Decoder
    thresholds: Mapping[str, float]
    options: PredictOptions

    @property
    def area(self) -> int:
        """Nuclei with fewer pixels are left out."""
        return smallest_area(self.options.min_area, self.thresholds)

    @property
    def least_confidence(self) -> LeastConfidence:
        """Nuclei that are less sure are left out."""
        return least_confidence(self.options, self.thresholds)

    def whole(self, maps: Maps) -> Decoded:
        """The nuclei of an image."""
        options = self.options
        # Holes count towards the area once they are filled.
        found = self._decoded(maps, 0 if options.fill_holes else self.area)
        if not (options.fill_holes or options.remove_edge):
            return found
        labels = filter_labels(found.labels, self.area, remove_edge=options.remove_edge, fill_holes=options.fill_holes)
        return Decoded(found.probability, labels)

    def part(self, maps: Maps) -> Decoded:
        """The nuclei of a window; which of them count is known only when all windows are stitched.

        Holes are filled in the window, since the image as a whole has no room for it: of a nucleus that no window has
        whole they may stay open.
        """
        found = self._decoded(maps, 0)
        if not self.options.fill_holes:
            return found
        return Decoded(found.probability, filter_labels(found.labels, fill_holes=True))

    def _decoded(self, maps: Maps, area: int) -> Decoded:
        found = self.decoder(maps, self.thresholds, area)
        if not isinstance(found, Decoded):
            raise InvalidInputError(
                f"a decoder must give probability and labels, got {type(found).__name__}; return "
                "nucleiseg.instances.Decoded(probability, labels)"
            )
        size = (maps.shape[0], maps.shape[1])
        probability = self._typed(found.probability, "probability", size, "buif", np.float32)
        return Decoded(probability, self._typed(found.labels, "labels", size, "bui", np.int32))

    def _typed(self, array: Any, what: str, size: tuple[int, int], kinds: str, dtype: Any) -> npt.NDArray[Any]:
        """What `Decoded` promises. There is no room for a copy of what is right already."""
        array = np.asarray(array)
        if array.shape != size or array.dtype.kind not in kinds:
            name = getattr(self.decoder, "__name__", repr(self.decoder))
            kind = "integers" if dtype is np.int32 else "real numbers"
            raise InvalidInputError(
                f"a decoder must give {what} (H, W) of its maps in {kind}, here {size}, got {describe(array)} from "
                f"{name!r}; return nucleiseg.instances.Decoded(probability, labels) without channels, axes or margins "
                "of its own"
            )
        return np.asarray(array, dtype)


def decoding_of(settings: SegmenterSettings, options: PredictOptions) -> Decoding:
    """How a model's maps become nuclei under these options.

    Raises
    ------
    InvalidInputError
        If there is a threshold, but the model's head has none of that name.
    """
    head, thresholds = get_head(settings.head), dict(settings.thresholds)
    if options.threshold is not None:
        if "probability" not in {**head.thresholds, **thresholds}:
            names = ", ".join(map(repr, head.thresholds)) or "none"
            raise InvalidInputError(
                f"a threshold is for heads that have one named 'probability', got {options.threshold:g} for the head "
                f"{head.name!r}, which has {names}; leave threshold (--threshold) out, or choose the head's own by "
                "Segmenter.optimize_thresholds"
            )
        thresholds["probability"] = options.threshold
    return Decoding(get_decoder(head.decoder), thresholds, options)


def segment(
    image: npt.NDArray[Any],
    engine: Engine,
    scaling: str,
    decoding: Decoding,
    plan: Plan | None = None,
    bounds: tuple[Bound, Bound] | None = None,
) -> Decoded:
    """Probability and labels of an image in memory.

    Parameters
    ----------
    image : numpy.ndarray, (H, W) or (H, W, C)
        Raw pixels, any real dtype.
    engine : Engine
        Runs the network.
    scaling : str
        One of `nucleiseg.images.list_scalings`; the one that the model was trained with.
    decoding : Decoding
        With the options of the prediction.
    plan : Plan, optional
        Tiles and windows; by default what the options' budget asks for.
    bounds : tuple, optional
        The values that become 0 and 1, where the image is part of another one; by default its own range.

    Returns
    -------
    Decoded
        Probability (H, W) float32, labels (H, W) int32 1 … n.

    Examples
    --------
    >>> from nucleiseg.instances import get_decoder
    >>> class Echo:
    ...     multiple = 32
    ...     def __call__(self, images):
    ...         return images[..., :1]
    >>> decoding = Decoding(get_decoder("components"), {"probability": 0.5}, PredictOptions())
    >>> segment(np.array([[9, 0, 8, 7]]), Echo(), "minmax", decoding).labels.tolist()
    [[1, 0, 2, 2]]
    """
    options = decoding.options
    height, width = image.shape[:2]
    if plan is None:
        needed = network_bytes_of(engine, options.tta)
        reach = partial(measure_reach, engine)
        plan = make_plan((height, width), options.tiling, options.memory_bytes, reach, network_bytes=needed)
    if bounds is None:
        bounds = sampled_range(image, scaling)
    network = Network(engine, bounds, plan.network, options.tta)
    if plan.flows and plan.network is not None and plan.windows is not None:
        expect_passes(lambda: network.passes(image.shape))
        flow = make_flow((height, width), plan.network, plan.windows, engine.multiple)
        found = decoded_flow(image, flow, Network(engine, bounds, None, options.tta), decoding.part)
        return stitched((height, width), flow.every, found, decoding)
    if plan.windows is None:
        expect_passes(lambda: network.passes(image.shape))
        return decoding.whole(network(image))
    windows = tiles((height, width), plan.windows, engine.multiple)
    expect_passes(lambda: sum(network.passes(_read_shape(window, plan.context, (height, width))) for window in windows))
    parts = decoded_windows(image, windows, network, decoding.part, plan.context)
    return stitched((height, width), windows, zip(windows, parts, strict=True), decoding)


def _read_shape(window: Tile, context: int, shape: tuple[int, int]) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in with_context(window.read, context, shape)[0])


def stitched(
    shape: tuple[int, int], windows: list[Tile], found: Iterable[tuple[Tile, Decoded]], decoding: Decoding
) -> Decoded:
    """One image of what was found in each of its windows, in the order of these."""
    probability = np.empty(shape, np.float32)
    labels = np.empty(shape, np.int32)
    count = 0

    def pieces() -> Iterator[Piece]:
        nonlocal count
        for tile, part in progress(found, "tiles", len(windows)):
            probability[tile.keep] = part.probability[tile.inner]
            piece = make_piece(tile, part.labels, shape, count)
            count += piece.count
            yield piece

    settled: list[Settled] = []
    for part in stitch(pieces(), windows, shape):
        labels[part.tile.keep] = part.labels
        settled.append(part.without_pixels())
    numbers = final_numbers(count, settled, decoding.area, decoding.options.remove_edge)
    for row in labels:  # one after the other, which needs no second image
        row[:] = numbers[row]
    return Decoded(probability, labels)
