"""Runs a Keras model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from nucleiseg._forking import check_not_forked


class KerasEngine:
    """Runs a functional Keras model from (N, H, W, 3) to (N, H, W, C).

    On the TensorFlow backend, one function is traced for all sizes; tracing anew for every image size takes longer than
    running the network. Weights may change between calls.

    Parameters
    ----------
    model : keras.Model
        From `nucleiseg.networks.unet`.

    Examples
    --------
    >>> image = keras.Input((None, None, 3))
    >>> engine = KerasEngine(keras.Model(image, keras.layers.Conv2D(1, 1)(image)))
    >>> engine(np.zeros((1, 32, 64, 3), np.float32)).shape
    (1, 32, 64, 1)
    """

    multiple = 32

    def __init__(self, model: keras.Model) -> None:
        check_not_forked()
        self._model = model
        self._call = _compiled(model)

    def __call__(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """From float32 images (N, H, W, 3) in [0, 1] to float32 maps (N, H, W, C)."""
        check_not_forked()
        return np.asarray(self._call(images))


def _compiled(model: keras.Model) -> Any:
    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, None, 3), tf.float32)]
    return tf.function(lambda images: model(images, training=False), input_signature=signature)
