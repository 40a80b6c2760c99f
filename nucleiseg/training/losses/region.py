"""Losses that have one value for a whole batch: the Tversky loss, and weighted sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from nucleiseg._checks import check_range
from nucleiseg.errors import InvalidInputError
from nucleiseg.training.loss_table import get

__all__ = ["BatchLoss", "Tversky", "WeightedSum"]


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
