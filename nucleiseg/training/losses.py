"""Losses by name: what Keras has, and weighted sums of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras

from nucleiseg._checks import check_range
from nucleiseg._registry import Registry
from nucleiseg.errors import InvalidInputError

LossBuilder: TypeAlias = Callable[[], keras.losses.Loss]

_losses: Registry[LossBuilder] = Registry("loss", group="nucleiseg.losses")
register_loss = _losses.register


def list_losses() -> list[str]:
    """Names of all losses, sorted.

    Examples
    --------
    >>> list_losses()
    ['bce_dice', 'bce_tversky', 'binary_crossentropy', 'dice', 'focal', 'focal_dice', 'tversky']
    """
    return _losses.names()


def get(name: str) -> keras.losses.Loss:
    """A new Keras loss of that name.

    The region losses (Dice, Tversky) pool the pixels of a whole batch, so that an image without nuclei does not make
    them jump.

    Raises
    ------
    InvalidInputError
        If there is no such loss.

    Examples
    --------
    >>> float(get("dice")([[[[1.0]]]], [[[[1.0]]]]))
    0.0
    """
    return _losses.get(name)()


@keras.saving.register_keras_serializable("nucleiseg")
class WeightedSum(keras.losses.Loss):
    """A weighted sum of losses.

    Parameters
    ----------
    weights : mapping of str to float
        Names from `list_losses` and their positive weights.
    name : str
        Name of the loss.

    Raises
    ------
    InvalidInputError
        If there is nothing to sum, a name is unknown, or a weight is not a number from 0 to 1e6.

    Examples
    --------
    >>> loss = WeightedSum({"binary_crossentropy": 1.0, "dice": 0.5})
    >>> round(float(loss([[[[1.0]]]], [[[[0.5]]]])), 4)
    0.8598
    """

    def __init__(self, weights: Mapping[str, float], name: str = "weighted_sum", **keras_options: Any) -> None:
        super().__init__(name=name, **keras_options)
        if not weights:
            raise InvalidInputError("a weighted sum needs at least one loss, got none; pass {'dice': 1.0}, for example")
        self.weights = {
            part: check_range(weight, f"the weight of {part!r}", 0, 1e6) for part, weight in weights.items()
        }
        self._parts = [(get(part), weight) for part, weight in self.weights.items()]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The sum, a scalar."""
        total = 0.0
        for loss, weight in self._parts:
            total = total + weight * loss(y_true, y_pred)
        return total

    def get_config(self) -> dict[str, Any]:
        """Settings from which Keras can build the same loss again."""
        return {**super().get_config(), "weights": self.weights}


@register_loss("binary_crossentropy")
def _binary_crossentropy() -> keras.losses.Loss:
    return keras.losses.BinaryCrossentropy()


@register_loss("focal")
def _focal() -> keras.losses.Loss:
    return keras.losses.BinaryFocalCrossentropy()


@register_loss("dice")
def _dice() -> keras.losses.Loss:
    return keras.losses.Dice()


@register_loss("tversky")
def _tversky() -> keras.losses.Loss:
    # Missed pixels weigh more than false ones: nuclei are the smaller part of most images.
    return keras.losses.Tversky(alpha=0.3, beta=0.7)


@register_loss("bce_dice")
def _bce_dice() -> keras.losses.Loss:
    return WeightedSum({"binary_crossentropy": 1.0, "dice": 1.0}, name="bce_dice")


@register_loss("bce_tversky")
def _bce_tversky() -> keras.losses.Loss:
    return WeightedSum({"binary_crossentropy": 1.0, "tversky": 1.0}, name="bce_tversky")


@register_loss("focal_dice")
def _focal_dice() -> keras.losses.Loss:
    return WeightedSum({"focal": 1.0, "dice": 1.0}, name="focal_dice")
