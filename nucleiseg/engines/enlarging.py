"""Layers that enlarge maps by interpolation, for images of any size: Keras's own want to know the size beforehand."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["become_any_size", "for_any_size", "interpolates"]


def interpolates(operation: Any) -> bool:
    """Whether a step of a network is one of these layers, and TensorFlow runs it, which alone leaves sizes open."""
    return (
        type(operation) is keras.layers.UpSampling2D
        and operation.interpolation != "nearest"
        and keras.backend.backend() == "tensorflow"
    )


def for_any_size(operation: Any) -> Any:
    """The same layer for a height and width that nobody knows while it is traced; what is no such layer, itself."""
    return _AnySize.from_config(operation.get_config()) if interpolates(operation) else operation


def become_any_size(layer: Any) -> None:
    """Make such a layer one for any size, where it stands: within a layer of somebody else, for example."""
    if interpolates(layer):
        layer.__class__ = _AnySize


class _AnySize(keras.layers.UpSampling2D):
    """`keras.layers.UpSampling2D`, which checks that the new size is positive, while nobody knows it yet."""

    def call(self, inputs: Any) -> Any:
        import tensorflow as tf

        last = self.data_format == "channels_last"
        maps = inputs if last else ops.transpose(inputs, (0, 2, 3, 1))
        size = tf.shape(maps)[1:3] * tf.constant(self.size)
        maps = tf.image.resize(maps, size, method=self.interpolation)
        return maps if last else ops.transpose(maps, (0, 3, 1, 2))
