"""The way of one image through a network: scale, pad, run (in tiles, turned), crop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._progress import progress
from nucleiseg.engines.engine import Engine
from nucleiseg.images import Tile, Tiling, apply_range, pad_to_multiple, tiles
from nucleiseg.images.channels import colour_channels, three_channels
from nucleiseg.images.sampling import sampled_range
from nucleiseg.images.scaling import Bound
from nucleiseg.inference.memory import make_plan, network_bytes_of
from nucleiseg.inference.options import PredictOptions
from nucleiseg.inference.reach import measure_reach
from nucleiseg.inference.watching import expect_passes, one_pass

Maps = npt.NDArray[np.float32]

_TURNS = 8  # flips and quarter turns


@dataclass(frozen=True)
class Network:
    """An engine, and how one image is brought to it.

    Parameters
    ----------
    engine : Engine
        Runs the network.
    bounds : tuple
        The values that become 0 and 1, from `nucleiseg.images.scaling_range`; the same for all parts of the image.
    tiling : Tiling or pair of Tiling, optional
        What is in the network at once; None for all that is given. A pair is for rows and for columns.
    tta : bool
        Average over the eight flips and quarter turns.
    """

    engine: Engine
    bounds: tuple[Any, Any]
    tiling: Tiling | tuple[Tiling, Tiling] | None = None
    tta: bool = False

    def __call__(self, pixels: npt.NDArray[Any]) -> Maps:
        """From raw pixels (H, W) or (H, W, C), of any size, to maps (H, W, C) float32."""
        if self.tiling is None:
            return self._run(pixels)
        first, *others = self._tiles(pixels.shape, self.tiling)
        part = self._run(pixels[first.read])
        if not others:
            return part
        maps = np.empty((*pixels.shape[:2], part.shape[-1]), np.float32)
        maps[first.keep] = part[first.inner]
        for tile in progress(others, "tiles"):
            maps[tile.keep] = self._run(pixels[tile.read])[tile.inner]
        return maps

    def passes(self, shape: tuple[int, ...]) -> int:
        """How often the engine runs for pixels of a shape (H, W) or (H, W, C)."""
        parts = 1 if self.tiling is None else len(self._tiles(shape, self.tiling))
        return parts * (_TURNS if self.tta else 1)

    def _tiles(self, shape: tuple[int, ...], tiling: Tiling | tuple[Tiling, Tiling]) -> list[Tile]:
        # Maps depend on where a part begins; tiles too small to begin at a multiple are a little less exact.
        both = (tiling,) if isinstance(tiling, Tiling) else tiling
        aligned = all(along.tile - along.overlap >= self.engine.multiple for along in both)
        return tiles(shape, tiling, self.engine.multiple if aligned else 1)

    def _run(self, pixels: npt.NDArray[Any]) -> Maps:
        scaled = three_channels(apply_range(colour_channels(pixels), *self.bounds))
        if not self.tta:
            return _padded(scaled, self.engine)
        return _averaged(scaled, self.engine)


def predict_maps(
    image: npt.NDArray[Any],
    engine: Engine,
    scaling: str,
    options: PredictOptions,
    bounds: tuple[Bound, Bound] | None = None,
) -> Maps:
    """The network's maps for an image of any size, (H, W, C) float32.

    The image is scaled by its own range, not tile by tile; it is padded by reflection to what the network needs, and
    the maps are cropped to the image again.

    Parameters
    ----------
    image : numpy.ndarray, (H, W) or (H, W, C)
        Raw pixels, any real dtype.
    engine : Engine
        Runs the network.
    scaling : str
        One of `nucleiseg.images.list_scalings`; the one that the model was trained with.
    options : PredictOptions
        Tiling, memory and test-time augmentation.
    bounds : tuple, optional
        The values that become 0 and 1, where the image is part of another one; by default its own range.

    Examples
    --------
    >>> class Echo:
    ...     multiple = 32
    ...     def __call__(self, images):
    ...         return images[..., :1]
    >>> predict_maps(np.eye(5), Echo(), "minmax", PredictOptions()).shape
    (5, 5, 1)
    """
    if bounds is None:
        bounds = sampled_range(image, scaling)
    height, width = image.shape[:2]
    needed = network_bytes_of(engine, options.tta)
    reach = partial(measure_reach, engine)
    plan = make_plan((height, width), options.tiling, options.memory_bytes, reach, network_bytes=needed)
    network = Network(engine, bounds, plan.network, options.tta)
    expect_passes(lambda: network.passes(image.shape))
    return network(image)


def _averaged(image: Maps, engine: Engine) -> Maps:
    """Over flips and turns of the padded image: maps hang on where the network's grid lies, also at its far edges."""
    padded, inside = pad_to_multiple(image, engine.multiple)

    def seen(flip: slice, turns: int) -> Maps:
        return np.rot90(_run(np.rot90(padded[:, flip], turns), engine), -turns)[:, flip]

    total = np.array(seen(slice(None), 0))
    for flip, turns in islice(product((slice(None), slice(None, None, -1)), range(_TURNS // 2)), 1, None):
        total += seen(flip, turns)
    total /= np.float32(_TURNS)
    return total[inside]


def _padded(image: Maps, engine: Engine) -> Maps:
    padded, inside = pad_to_multiple(image, engine.multiple)
    return _run(padded, engine)[inside]


def _run(padded: Maps, engine: Engine) -> Maps:
    pixels = np.ascontiguousarray(padded, np.float32)[np.newaxis]
    with one_pass(pixels.shape[1] * pixels.shape[2]):
        maps: Maps = engine(pixels)[0]
    return maps
