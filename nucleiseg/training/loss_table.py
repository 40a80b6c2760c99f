"""Losses by name. Keras is imported when one is made, not when it is looked for: a misspelt one is refused at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from nucleiseg._registry import Registry
from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    import keras

__all__ = ["check_loss", "get", "list_losses", "register_loss"]

_NO_DIFFERENCE = 1e-6

LossBuilder: TypeAlias = Callable[[], "keras.losses.Loss"]

_BUILT_IN = (
    "bce_dice",
    "bce_tversky",
    "binary_crossentropy",
    "categorical_crossentropy",
    "dice",
    "focal",
    "focal_dice",
    "mask_and_depth",
    "mask_depth_and_contact",
    "tversky",
)

_losses: Registry[LossBuilder] = Registry(
    "loss", group="nucleiseg.losses", places={name: f"nucleiseg.training.losses.builders:{name}" for name in _BUILT_IN}
)
register_loss = _losses.register


def list_losses() -> list[str]:
    """Names of all losses, sorted.

    Examples
    --------
    >>> list_losses()
    ['bce_dice', 'bce_tversky', 'binary_crossentropy', 'categorical_crossentropy', 'dice', 'focal', 'focal_dice',
     'mask_and_depth', 'mask_depth_and_contact', 'tversky']
    """
    return _losses.names()


def get(name: str) -> keras.losses.Loss:
    """A new Keras loss of that name.

    The region losses (Dice, Tversky) pool the pixels of a whole batch, so that an image without nuclei does not make
    them jump.

    Raises
    ------
    InvalidInputError
        If there is no such loss, or it was registered as the loss itself.

    Examples
    --------
    >>> round(float(get("dice")([[[[1.0]]]], [[[[1.0]]]])), 6)
    0.0
    """
    builder = _losses.get(name)
    try:
        inspect.signature(builder).bind()
    except TypeError as error:
        raise InvalidInputError(
            f"a loss is registered as a function without parameters that gives it, which {name!r} is not ({error}); "
            f"register it by register_loss({name!r})(lambda: my_loss)"
        ) from error
    except ValueError:  # written in C, which tells no parameters
        pass
    return builder()


def check_loss(name: str, target: npt.NDArray[np.float32], channels: int) -> None:
    """Refuse a loss by which a network of so many maps can't learn this target (H, W, C): it would train for nothing.

    TensorFlow would compute the cross-entropy of classes for a single map, for example: 0, whatever it holds.

    Raises
    ------
    InvalidInputError
        If there is no such loss, it fails on these shapes, is no finite number, or does not tell the target from its
        opposite.

    Examples
    --------
    >>> check_loss("dice", np.eye(4, dtype=np.float32)[..., np.newaxis], 1)
    """
    loss, maps = get(name), np.clip(target[np.newaxis, ..., :channels], 0.01, 0.99)
    try:
        values = [float(np.mean(loss(target[np.newaxis], found))) for found in (maps, 1 - maps)]
    except Exception as error:  # whatever Keras, its backend or somebody else's function raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidInputError(
            f"the loss {name!r} fails for {channels} maps of a network and {target.shape[-1]} of the target "
            f"({reason}); choose one that suits the head, or leave loss out for the head's own"
        ) from error
    if not np.isfinite(values).all() or abs(values[0] - values[1]) < _NO_DIFFERENCE:
        raise InvalidInputError(
            f"the loss {name!r} teaches a network of {channels} maps nothing: it is {values[0]:.4g} for the target and "
            f"{values[1]:.4g} for its opposite; choose one that suits the head, or leave loss out for the head's own"
        )
