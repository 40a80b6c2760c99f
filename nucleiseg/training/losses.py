"""Losses by name: what Keras has, the Tversky loss, and weighted sums."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_range
from nucleiseg._registry import Registry
from nucleiseg.errors import InvalidInputError

__all__ = [
    "MaskAndDepth",
    "MaskDepthAndContact",
    "Tversky",
    "WeightedSum",
    "get",
    "list_losses",
    "register_loss",
]

_NO_DIFFERENCE = 1e-6

LossBuilder: TypeAlias = Callable[[], keras.losses.Loss]

_losses: Registry[LossBuilder] = Registry("loss", group="nucleiseg.losses")
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


class BatchLoss(keras.losses.Loss):
    """A loss that has one value for a whole batch, and keeps to the weights of pixels or images within it.

    Keras itself would multiply the one value by the mean of all weights. Subclasses have a method ``weighed``: targets,
    predictions, and weights (N, H, W, 1) or None, to a scalar.
    """

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss, a scalar; ``sample_weight`` is (N,), (N, H, W) or (N, H, W, 1), and 0 leaves a pixel out."""
        if sample_weight is None:
            return super().__call__(y_true, y_pred)
        y_true, y_pred, weights = (
            keras.ops.convert_to_tensor(values, self.dtype) for values in (y_true, y_pred, sample_weight)
        )
        while len(weights.shape) < len(y_pred.shape):
            weights = keras.ops.expand_dims(weights, -1)
        return self.weighed(y_true, y_pred, weights)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss, a scalar."""
        y_pred = keras.ops.convert_to_tensor(y_pred)
        return self.weighed(keras.ops.cast(y_true, y_pred.dtype), y_pred, None)

    def weighed(self, y_true: Any, y_pred: Any, weights: Any) -> Any:
        """The loss, a scalar."""
        raise NotImplementedError


def _sum(values: Any, weights: Any) -> Any:
    return keras.ops.sum(values if weights is None else values * weights)


@keras.saving.register_keras_serializable("nucleiseg")
class WeightedSum(BatchLoss):
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

    def weighed(self, y_true: Any, y_pred: Any, weights: Any) -> Any:
        """The sum, a scalar."""
        total = 0.0
        for loss, weight in self._parts:
            total = total + weight * loss(y_true, y_pred, sample_weight=weights)
        return total

    def get_config(self) -> dict[str, Any]:
        """Settings from which Keras can build the same loss again."""
        return {**super().get_config(), "weights": self.weights}


@keras.saving.register_keras_serializable("nucleiseg")
class Tversky(BatchLoss):
    """The Tversky loss of a whole batch: 1 - tp / (tp + alpha * fp + beta * fn), in [0, 1].

    The counts are soft: sums of probabilities. With both weights 0.5 it is the Dice loss. ``alpha`` weighs false
    positives and ``beta`` false negatives, as published; in `keras.losses.Tversky` the two are exchanged.

    Parameters
    ----------
    alpha, beta : float
        Weights of pixels that are predicted only, and of pixels that are missed. Missed pixels weigh more by default:
        nuclei are the smaller part of most images.
    name : str
        Name of the loss.

    Raises
    ------
    InvalidInputError
        If a weight is not a number from 0 to 1e6.

    References
    ----------
    .. [1] S. Salehi et al., "Tversky Loss Function for Image Segmentation Using 3D Fully Convolutional Deep Networks",
       MLMI 2017.

    Examples
    --------
    >>> one, two = [[[[1.0], [0.0]]]], [[[[1.0], [1.0]]]]
    >>> round(float(Tversky()(one, two)), 3), round(float(Tversky()(two, one)), 3)
    (0.231, 0.412)
    """

    def __init__(self, alpha: float = 0.3, beta: float = 0.7, name: str = "tversky", **keras_options: Any) -> None:
        super().__init__(name=name, **keras_options)
        self.alpha, self.beta = check_range(alpha, "alpha", 0, 1e6), check_range(beta, "beta", 0, 1e6)

    def weighed(self, y_true: Any, y_pred: Any, weights: Any) -> Any:
        """The loss, a scalar."""
        tp = _sum(y_true * y_pred, weights)
        fp, fn = _sum((1 - y_true) * y_pred, weights), _sum(y_true * (1 - y_pred), weights)
        return 1 - tp / (tp + self.alpha * fp + self.beta * fn + keras.config.epsilon())

    def get_config(self) -> dict[str, Any]:
        """Settings from which Keras can build the same loss again."""
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}


@keras.saving.register_keras_serializable("nucleiseg")
class MaskAndDepth(BatchLoss):
    """Cross-entropy of mask and depth, plus the Dice loss of the mask: for targets (N, H, W, 2).

    The depth is a number from 0 to 1; its cross-entropy is least where it is predicted exactly, though not 0 there.

    Parameters
    ----------
    name : str
        Name of the loss.

    Examples
    --------
    >>> loss = MaskAndDepth()
    >>> round(float(loss([[[[1.0, 1.0]]]], [[[[0.5, 1.0]]]])), 3)
    0.68
    """

    def __init__(self, name: str = "mask_and_depth", **keras_options: Any) -> None:
        super().__init__(name=name, **keras_options)
        self._crossentropy, self._dice = keras.losses.BinaryCrossentropy(), _dice()

    def weighed(self, y_true: Any, y_pred: Any, weights: Any) -> Any:
        """The loss, a scalar."""
        mask = self._dice(y_true[..., :1], y_pred[..., :1], sample_weight=weights)
        return self._crossentropy(y_true, y_pred, sample_weight=weights) + mask


@keras.saving.register_keras_serializable("nucleiseg")
class MaskDepthAndContact(BatchLoss):
    """Cross-entropy of mask, depth and contact, plus the Dice losses of mask and contact: for targets (N, H, W, 3).

    Contacts are few pixels, on which it depends whether nuclei come apart: their Dice loss weighs them up.

    Parameters
    ----------
    name : str
        Name of the loss.

    Examples
    --------
    >>> loss = MaskDepthAndContact()
    >>> round(float(loss([[[[1.0, 1.0, 1.0]]]], [[[[0.5, 1.0, 1.0]]]])), 3)
    0.564
    """

    def __init__(self, name: str = "mask_depth_and_contact", **keras_options: Any) -> None:
        super().__init__(name=name, **keras_options)
        self._crossentropy, self._dice = keras.losses.BinaryCrossentropy(), _dice()

    def weighed(self, y_true: Any, y_pred: Any, weights: Any) -> Any:
        """The loss, a scalar."""
        mask, contact = (
            self._dice(y_true[..., i : i + 1], y_pred[..., i : i + 1], sample_weight=weights) for i in (0, 2)
        )
        return self._crossentropy(y_true, y_pred, sample_weight=weights) + mask + 0.5 * contact


@register_loss("binary_crossentropy")
def _binary_crossentropy() -> keras.losses.Loss:
    return keras.losses.BinaryCrossentropy()


@register_loss("categorical_crossentropy")
def _categorical_crossentropy() -> keras.losses.Loss:
    return keras.losses.CategoricalCrossentropy()


@register_loss("focal")
def _focal() -> keras.losses.Loss:
    return keras.losses.BinaryFocalCrossentropy()


@register_loss("dice")
def _dice() -> keras.losses.Loss:
    return Tversky(0.5, 0.5, name="dice")


@register_loss("tversky")
def _tversky() -> keras.losses.Loss:
    return Tversky()


@register_loss("bce_dice")
def _bce_dice() -> keras.losses.Loss:
    return WeightedSum({"binary_crossentropy": 1.0, "dice": 1.0}, name="bce_dice")


@register_loss("bce_tversky")
def _bce_tversky() -> keras.losses.Loss:
    return WeightedSum({"binary_crossentropy": 1.0, "tversky": 1.0}, name="bce_tversky")


@register_loss("focal_dice")
def _focal_dice() -> keras.losses.Loss:
    return WeightedSum({"focal": 1.0, "dice": 1.0}, name="focal_dice")


@register_loss("mask_and_depth")
def _mask_and_depth() -> keras.losses.Loss:
    return MaskAndDepth()


@register_loss("mask_depth_and_contact")
def _mask_depth_and_contact() -> keras.losses.Loss:
    return MaskDepthAndContact()
