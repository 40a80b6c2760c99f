"""What a network is trained to put out, made from labels: by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nucleiseg._checks import describe
from nucleiseg._registry import Registry
from nucleiseg.errors import InvalidInputError
from nucleiseg.images import binarize

Target: TypeAlias = Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]

BETWEEN_NUCLEI = 5.0

_CONTACT_REACH = 2

_targets: Registry[Target] = Registry("target", group="nucleiseg.targets")
register_target = _targets.register


def list_targets() -> list[str]:
    """Names of all targets, sorted.

    Examples
    --------
    >>> list_targets()
    ['boundary', 'contact', 'distance', 'mask']
    """
    return _targets.names()


def get_target(name: str) -> Target:
    """The function of that name: labels (H, W) → float32 target (H, W, C).

    Raises
    ------
    InvalidInputError
        If there is no such target.

    Examples
    --------
    >>> get_target("mask")(np.array([[0, 3]])).tolist()
    [[[0.0], [1.0]]]
    """
    return _targets.get(name)


def check_target(target: str | Target, channels: int = 1) -> npt.NDArray[np.float32]:
    """Refuse a target that a network of so many maps can't learn, before threads of TensorFlow bury the error in pages.

    It is tried on labels of 32 × 32 pixels with two nuclei that touch.

    Returns
    -------
    numpy.ndarray, (32, 32, C)
        What it made of them.

    Raises
    ------
    InvalidInputError
        If it gives no (H, W, C), or fewer maps than the network: TensorFlow would repeat them without a word. More may
        be meant for the loss, such as weights.

    Examples
    --------
    >>> check_target("distance", 2).shape
    (32, 32, 2)
    """
    labels = np.zeros((32, 32), np.int32)
    labels[4:12, 4:12], labels[12:20, 4:12] = 1, 2
    function = get_target(target) if isinstance(target, str) else target
    name = repr(target) if isinstance(target, str) else getattr(target, "__name__", repr(target))
    made = np.asarray(function(labels))
    if made.ndim != 3 or made.shape[:2] != labels.shape or made.dtype.kind not in "buif":
        raise InvalidInputError(
            f"the target {name} must give numbers (H, W, C) for labels (H, W), got {describe(made)} for "
            f"{labels.shape}; a single map needs a last axis, too: map[..., np.newaxis]"
        )
    if made.shape[2] < channels:
        raise InvalidInputError(
            f"the target {name} must have as many maps as the network at least, got {made.shape[2]} for {channels}; "
            "use a head that has these channels"
        )
    return made.astype(np.float32)


@register_target("mask")
def mask_target(labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """1 inside nuclei, 0 elsewhere: (H, W, 1).

    Examples
    --------
    >>> mask_target(np.array([[0, 1, 2]])).ravel().tolist()
    [0.0, 1.0, 1.0]
    """
    return binarize(labels, "labels").astype(np.float32)


@register_target("distance")
def distance_target(labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The mask, and how deep inside its nucleus a pixel lies: (H, W, 2).

    The depth is the distance to the nearest pixel outside of the nucleus, divided by the largest in this nucleus: 1 at
    its centre, above 0 inside, 0 in the background. Where a nucleus is cut by the image's border, that is no edge.

    Examples
    --------
    >>> distance_target(np.array([[0, 1, 1, 1, 0]]))[..., 1].tolist()
    [[0.0, 0.5, 1.0, 0.5, 0.0]]
    """
    mask = mask_target(labels)
    depth = _depth(labels)
    names, index = np.unique(labels, return_inverse=True)
    deepest = ndimage.maximum(depth, index.reshape(labels.shape), np.arange(len(names)))
    relative = depth / np.maximum(np.asarray(deepest, np.float32)[index.reshape(labels.shape)], 1)
    return np.concatenate([mask, relative[..., np.newaxis].astype(np.float32)], axis=-1)


@register_target("contact")
def contact_target(labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The mask, the depth as in `distance_target`, and where two nuclei meet: (H, W, 3).

    They meet at a pixel, inside or outside of them, that has pixels of both at most two rows and columns away: narrow
    gaps count, since a network that closes one joins two nuclei.

    Examples
    --------
    >>> contact_target(np.array([[1, 1, 1, 1, 0, 2, 2, 2]]))[..., 2].tolist()
    [[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]]
    """
    names, index = np.unique(labels, return_inverse=True)
    numbers = index.reshape(labels.shape) + int(names[0] > 0)  # small and without gaps, 0 where there is no nucleus
    size = 2 * _CONTACT_REACH + 1
    highest = ndimage.maximum_filter(numbers, size, mode="nearest")
    lowest = ndimage.minimum_filter(np.where(numbers > 0, numbers, len(names) + 1), size, mode="nearest")
    contact = (highest > lowest).astype(np.float32)
    return np.concatenate([distance_target(labels), contact[..., np.newaxis]], axis=-1)


@register_target("boundary")
def boundary_target(labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Background, interior and boundary, one of them above 0: (H, W, 3).

    The boundary is a nucleus's own outermost pixels, two deep where another nucleus touches it. The value is the weight
    in a cross-entropy: 1, and 5 for boundaries between nuclei, few pixels on which it depends whether they come apart.

    Examples
    --------
    >>> boundary_target(np.array([[0, 1, 1, 1, 2, 2, 2, 2]])).argmax(-1).tolist()
    [[0, 2, 2, 2, 2, 2, 1, 1]]
    """
    inside = labels > 0
    near_another = _differs(labels, inside, reach=2)
    boundary = _outermost(labels) | (inside & near_another)
    target = np.stack([~inside, inside & ~boundary, boundary], axis=-1).astype(np.float32)
    target[near_another, 2] *= BETWEEN_NUCLEI
    return target


def _depth(labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Distance to the nearest pixel that is not of the same nucleus; 0 in the background."""
    inside = labels > 0
    if inside.all() and (labels == labels.flat[0]).all():
        return np.ones(labels.shape, np.float32)  # one nucleus everywhere: no edge to measure from
    # Distances from the outermost pixels of the nuclei, which part those that touch, plus the step to the outside.
    depth = ndimage.distance_transform_edt(inside & ~_outermost(labels)) + 1
    return np.where(inside, depth, 0).astype(np.float32)


def _outermost(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Pixels of nuclei beside one that is not of the same nucleus; the rim of the image is no such place."""
    inside = labels > 0
    return inside & _differs(labels, np.ones_like(inside), reach=1)


def _differs(labels: npt.NDArray[Any], counts: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.bool_]:
    """Pixels of nuclei that have, at most ``reach`` steps along a row or column, a counted pixel of another label."""
    found = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        for step in range(1, reach + 1):
            if labels.shape[axis] <= step:
                continue
            low = [slice(None)] * 2
            high = [slice(None)] * 2
            low[axis], high[axis] = slice(None, -step), slice(step, None)
            one, other = tuple(low), tuple(high)
            unequal = labels[one] != labels[other]
            found[one] |= unequal & counts[other]
            found[other] |= unequal & counts[one]
    return found & (labels > 0)
