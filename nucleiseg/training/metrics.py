"""Pixel accuracy, IoU and Dice as Keras metrics that pool counts.

A mean over batches of a ratio depends on how images fall into batches; counts summed over all batches, and one ratio of
them at the end, do not. A pixel is nucleus where its target is above .5: 1 of a mask, the weights 1 and 5 of the target
`boundary`, and of targets that are no whole numbers (smoothed, or from `nucleiseg.teach`) the larger part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from nucleiseg._checks import check_count, check_range
from nucleiseg.errors import InvalidInputError

__all__ = ["Dice", "IoU", "PixelAccuracy"]


_NUCLEUS = 0.5


class _PooledCounts(keras.metrics.Metric):
    """True and false positives and negatives, summed over all batches."""

    def __init__(self, threshold: float, name: str, channels: Sequence[int] | None, **keras_options: Any) -> None:
        super().__init__(name=name, **keras_options)
        self.threshold = check_range(threshold, "threshold", 0, 1)
        self.channels = None if channels is None else tuple(check_count(channel, "channels", 0) for channel in channels)
        self.tp, self.fp, self.fn, self.tn = (
            self.add_weight(name=count, initializer="zeros") for count in ("tp", "fp", "fn", "tn")
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # noqa: ARG002
        """Add the counts of a batch; all its pixels weigh the same (``sample_weight`` is ignored)."""
        ops = keras.ops
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        _check_same_shape(y_true, y_pred, self.channels)
        y_true = ops.cast(y_true, "float32")  # booleans and bytes can't be added up
        if self.channels is not None:
            y_true, y_pred = (sum(maps[..., channel] for channel in self.channels) for maps in (y_true, y_pred))
        true, positive = ops.greater(y_true, _NUCLEUS), ops.greater(y_pred, self.threshold)
        negative = ops.logical_not(positive)
        for count, pixels in (
            (self.tp, ops.logical_and(true, positive)),
            (self.fp, ops.logical_and(ops.logical_not(true), positive)),
            (self.fn, ops.logical_and(true, negative)),
            (self.tn, ops.logical_and(ops.logical_not(true), negative)),
        ):
            count.assign_add(ops.sum(ops.cast(pixels, count.dtype)))

    def get_config(self) -> dict[str, Any]:
        """Settings from which Keras can build the same metric again."""
        return {**super().get_config(), "threshold": self.threshold, "channels": self.channels}


def _check_same_shape(y_true: Any, y_pred: Any, channels: Sequence[int] | None) -> None:
    """Refuse what would be broadcast: one mask without a channel axis would be compared crosswise, without an error.

    Where channels are picked, the target may have further maps for its loss.
    """
    true, predicted = y_true.shape, y_pred.shape
    if getattr(true, "rank", 0) is None or getattr(predicted, "rank", 0) is None:  # not known inside a tf.function
        return
    true, predicted = tuple(true), tuple(predicted)
    compared = slice(None) if channels is None else slice(-1)
    if len(true) != len(predicted) or any(
        a != b for a, b in zip(true[compared], predicted[compared], strict=True) if a and b
    ):
        raise InvalidInputError(
            f"y_true and y_pred must have the same shape{'' if channels is None else ' but for their channels'}, got "
            f"{true} and {predicted}; masks need a channel axis, which nucleiseg.images.binarize adds"
        )
    needed = 1 + max(channels or (), default=-1)
    if any(shape and shape[-1] is not None and shape[-1] < needed for shape in (true, predicted)):
        raise InvalidInputError(
            f"y_true and y_pred must both have the channels {channels}, counted from 0, got the shapes {true} and "
            f"{predicted}; pass the channels that they have"
        )


def _ratio(part: Any, whole: Any) -> Any:
    """Part of the whole; 1 where there is nothing to get wrong."""
    ops = keras.ops
    return ops.where(whole > 0, part / ops.maximum(whole, 1.0), 1.0)


@keras.saving.register_keras_serializable("nucleiseg")
class PixelAccuracy(_PooledCounts):
    """Part of all pixels that are right: (tp + tn) / all, in [0, 1]; 1 before the first batch.

    Parameters
    ----------
    threshold : float
        Predictions above it count as nucleus; targets above .5 do.
    name : str
        Name in logs.
    channels : sequence of int, optional
        The maps whose sum is the probability of being nucleus; None takes every map as one of its own.

    Examples
    --------
    >>> metric = PixelAccuracy()
    >>> metric.update_state([[0, 1, 1, 1]], [[0.2, 0.9, 0.8, 0.1]])
    >>> float(metric.result())
    0.75
    """

    def __init__(
        self,
        threshold: float = 0.5,
        name: str = "pixel_accuracy",
        channels: Sequence[int] | None = None,
        **keras_options: Any,
    ) -> None:
        super().__init__(threshold, name, channels, **keras_options)

    def result(self) -> Any:
        """The accuracy so far."""
        return _ratio(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn)


@keras.saving.register_keras_serializable("nucleiseg")
class IoU(_PooledCounts):
    """Intersection over union of true and predicted nuclei: tp / (tp + fp + fn), in [0, 1]; 1 where both are empty.

    Parameters
    ----------
    threshold : float
        Predictions above it count as nucleus; targets above .5 do.
    name : str
        Name in logs.
    channels : sequence of int, optional
        The maps whose sum is the probability of being nucleus; None takes every map as one of its own.

    Examples
    --------
    >>> metric = IoU()
    >>> metric.update_state([[0, 1, 1, 1]], [[0.9, 0.9, 0.8, 0.1]])
    >>> float(metric.result())
    0.5
    """

    def __init__(
        self,
        threshold: float = 0.5,
        name: str = "iou",
        channels: Sequence[int] | None = None,
        **keras_options: Any,
    ) -> None:
        super().__init__(threshold, name, channels, **keras_options)

    def result(self) -> Any:
        """The IoU so far."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)


@keras.saving.register_keras_serializable("nucleiseg")
class Dice(_PooledCounts):
    """Dice coefficient of true and predicted nuclei: 2 tp / (2 tp + fp + fn), in [0, 1]; 1 where both are empty.

    Parameters
    ----------
    threshold : float
        Predictions above it count as nucleus; targets above .5 do.
    name : str
        Name in logs.
    channels : sequence of int, optional
        The maps whose sum is the probability of being nucleus; None takes every map as one of its own.

    Examples
    --------
    >>> metric = Dice()
    >>> metric.update_state([[0, 1, 1, 1]], [[0.9, 0.9, 0.8, 0.1]])
    >>> round(float(metric.result()), 3)
    0.667
    """

    def __init__(
        self,
        threshold: float = 0.5,
        name: str = "dice",
        channels: Sequence[int] | None = None,
        **keras_options: Any,
    ) -> None:
        super().__init__(threshold, name, channels, **keras_options)

    def result(self) -> Any:
        """The Dice coefficient so far."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)
