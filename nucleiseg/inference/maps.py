"""The way of one image through a network: scale, pad, run (in tiles, turned), crop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg.engines.engine import Engine
from nucleiseg.images import pad_to_multiple, rescale, tiles, to_rgb
from nucleiseg.inference.options import PredictOptions


def predict_maps(
    image: npt.NDArray[Any], engine: Engine, scaling: str, options: PredictOptions
) -> npt.NDArray[np.float32]:
    """The network's maps for an image of any size, (H, W, C) float32.

    The image is scaled once, by its own range, before it is cut into tiles; it is padded by reflection to what the
    network needs, and the maps are cropped to the image again.

    Parameters
    ----------
    image : numpy.ndarray, (H, W) or (H, W, C)
        Raw pixels, any real dtype.
    engine : Engine
        Runs the network.
    scaling : str
        One of `nucleiseg.images.list_scalings`; the one that the model was trained with.
    options : PredictOptions
        Tiling and test-time augmentation.

    Examples
    --------
    >>> class Echo:
    ...     multiple = 32
    ...     def __call__(self, images):
    ...         return images[..., :1]
    >>> predict_maps(np.eye(5), Echo(), "minmax", PredictOptions()).shape
    (5, 5, 1)
    """
    scaled = to_rgb(rescale(image, scaling))
    if options.tiling is None:
        return _whole(scaled, engine, options.tta)
    first, *others = tiles(scaled.shape, options.tiling)
    part = _whole(scaled[first.read], engine, options.tta)
    maps = np.empty((*scaled.shape[:2], part.shape[-1]), np.float32)
    maps[first.keep] = part[first.inner]
    for tile in others:
        maps[tile.keep] = _whole(scaled[tile.read], engine, options.tta)[tile.inner]
    return maps


def _whole(image: npt.NDArray[np.float32], engine: Engine, tta: bool) -> npt.NDArray[np.float32]:
    if not tta:
        return _padded(image, engine)
    total: npt.NDArray[np.float32] = sum(_turned_back(image, engine))  # type: ignore[assignment]
    return total / np.float32(8)


def _turned_back(image: npt.NDArray[np.float32], engine: Engine) -> Iterator[npt.NDArray[np.float32]]:
    for flip in (slice(None), slice(None, None, -1)):
        for turns in range(4):
            maps = _padded(np.rot90(image[:, flip], turns), engine)
            yield np.rot90(maps, -turns)[:, flip]


def _padded(image: npt.NDArray[np.float32], engine: Engine) -> npt.NDArray[np.float32]:
    padded, inside = pad_to_multiple(image, engine.multiple)
    maps: npt.NDArray[np.float32] = engine(np.ascontiguousarray(padded, np.float32)[np.newaxis])[0][inside]
    return maps
