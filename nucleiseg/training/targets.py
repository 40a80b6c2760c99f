"""What a network is trained to put out, made from labels: by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nucleiseg._registry import Registry
from nucleiseg.images import binarize

Target: TypeAlias = Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]

_targets: Registry[Target] = Registry("target", group="nucleiseg.targets")
register_target = _targets.register


def list_targets() -> list[str]:
    """Names of all targets, sorted.

    Examples
    --------
    >>> list_targets()
    ['mask']
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


@register_target("mask")
def mask_target(labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """1 inside nuclei, 0 elsewhere: (H, W, 1).

    Examples
    --------
    >>> mask_target(np.array([[0, 1, 2]])).ravel().tolist()
    [0.0, 1.0, 1.0]
    """
    return binarize(labels, "labels").astype(np.float32)
