"""From the maps of a network to nuclei, by name. Free of Keras, so that any engine can use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from nucleiseg._registry import Registry
from nucleiseg.instances.splitting import split_by_distance, split_components


class Decoded(NamedTuple):
    """What a decoder finds: probability of being nucleus (H, W) float32 in [0, 1], labels (H, W) int32 1…n.

    Examples
    --------
    >>> probability, labels = Decoded(np.array([[0.9, 0.1]], np.float32), np.array([[1, 0]], np.int32))
    >>> labels.tolist()
    [[1, 0]]
    """

    probability: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]


Decoder: TypeAlias = Callable[[npt.NDArray[np.float32], Mapping[str, float], int], Decoded]

_DEPTH_SMOOTHING = 1.5

THRESHOLDS: Mapping[str, tuple[str, ...]] = {
    "components": ("probability",),
    **dict.fromkeys(("boundary", "contact", "distance"), ("probability", "seed")),
}
"""What each of our own decoders must be told."""

_decoders: Registry[Decoder] = Registry("decoder", group="nucleiseg.decoders")
register_decoder = _decoders.register


def list_decoders() -> list[str]:
    """Names of all decoders, sorted.

    Examples
    --------
    >>> list_decoders()
    ['boundary', 'components', 'contact', 'distance']
    """
    return _decoders.names()


def get_decoder(name: str) -> Decoder:
    """The function of that name: (maps (H, W, C), thresholds, smallest area) → `Decoded`.

    Raises
    ------
    InvalidInputError
        If there is no such decoder.

    Examples
    --------
    >>> maps = np.array([[[0.9], [0.2], [0.7]]], np.float32)
    >>> get_decoder("components")(maps, {"probability": 0.5}, 0).labels.tolist()
    [[1, 0, 2]]
    """
    return _decoders.get(name)


@register_decoder("components")
def decode_components(maps: npt.NDArray[Any], thresholds: Mapping[str, float], min_area: int) -> Decoded:
    """Connected components of the first map where it is above the threshold ``probability``.

    Examples
    --------
    >>> decode_components(np.ones((2, 2, 1), np.float32), {"probability": 0.5}, 0).labels.max()
    np.int32(1)
    """
    probability = _first(maps)
    return Decoded(probability, split_components(probability, thresholds["probability"], min_area))


@register_decoder("distance")
def decode_distance(maps: npt.NDArray[Any], thresholds: Mapping[str, float], min_area: int) -> Decoded:
    """Maps of mask and depth; nuclei that touch come apart between the depth's maxima, see `split_by_distance`.

    The depth is smoothed over 1.5 pixels, less than the radius of the smallest nuclei.

    Examples
    --------
    >>> maps = np.array([[[0.9, 0.9], [0.9, 0.1], [0.9, 0.8]]], np.float32).repeat(6, axis=1)
    >>> decode_distance(maps, {"probability": 0.5, "seed": 0.5}, 0).labels.max()
    np.int32(2)
    """
    return _split(_first(maps), maps[..., 1], thresholds, min_area, _DEPTH_SMOOTHING)


@register_decoder("contact")
def decode_contact(maps: npt.NDArray[Any], thresholds: Mapping[str, float], min_area: int) -> Decoded:
    """Maps of mask, depth and contact: as `decode_distance`, with a depth that is lowered where nuclei meet.

    Examples
    --------
    >>> maps = np.array([[[0.9, 0.9, 0.0], [0.9, 0.7, 1.0], [0.9, 0.8, 0.0]]], np.float32).repeat(6, axis=1)
    >>> decode_contact(maps, {"probability": 0.5, "seed": 0.5}, 0).labels.max()
    np.int32(2)
    """
    return _split(_first(maps), maps[..., 1] * (1 - maps[..., 2]), thresholds, min_area, _DEPTH_SMOOTHING)


@register_decoder("boundary")
def decode_boundary(maps: npt.NDArray[Any], thresholds: Mapping[str, float], min_area: int) -> Decoded:
    """Maps of background, interior and boundary; every interior grows to the edge of the nucleus that it is part of.

    Examples
    --------
    >>> maps = np.array([[[0.0, 0.9, 0.1], [0.0, 0.2, 0.8], [0.0, 0.8, 0.2]]], np.float32)
    >>> decode_boundary(maps, {"probability": 0.5, "seed": 0.5}, 0).labels.max()
    np.int32(2)
    """
    probability = np.clip(maps[..., 1] + maps[..., 2], 0, 1).astype(np.float32)
    return _split(probability, maps[..., 1], thresholds, min_area)


def _first(maps: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The first map, by itself: it is looked at often, and the others need not be kept."""
    return np.ascontiguousarray(maps[..., 0], np.float32)


def _split(
    probability: npt.NDArray[np.float32],
    depth: npt.NDArray[Any],
    thresholds: Mapping[str, float],
    min_area: int,
    smoothing: float = 0.0,
) -> Decoded:
    labels = split_by_distance(probability, depth, thresholds["probability"], thresholds["seed"], min_area, smoothing)
    return Decoded(probability, labels)
