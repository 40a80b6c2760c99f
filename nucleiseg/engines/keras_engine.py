"""Runs a Keras model, on whichever backend Keras has."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from nucleiseg._forking import check_not_forked
from nucleiseg.engines.engine import MULTIPLE
from nucleiseg.engines.footprint import pixel_bytes
from nucleiseg.engines.lean import lean


class KerasEngine:
    """Runs a functional Keras model from (N, H, W, 3) to (N, H, W, C).

    On TensorFlow, one function is traced for all sizes; tracing anew for every image size takes longer than running the
    network. JAX compiles anew for every size, which takes a second or two; with `nucleiseg.Tiling` there is one size.
    PyTorch compiles nothing. Weights may change between calls.

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

    multiple = MULTIPLE

    def __init__(self, model: keras.Model) -> None:
        check_not_forked()
        self.model = model
        self._call = _RUNNERS.get(keras.backend.backend(), _on_any)(model)

    @cached_property
    def pixel_bytes(self) -> int:
        """Memory for each pixel of a batch."""
        needed = pixel_bytes(self.model)
        # Elsewhere the model runs as it is, and copies what is concatenated.
        return needed if keras.backend.backend() == "tensorflow" else needed * 3 // 2

    def __call__(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """From float32 images (N, H, W, 3) in [0, 1] to float32 maps (N, H, W, C)."""
        check_not_forked()
        return np.asarray(self._call(images))


def _on_tensorflow(model: keras.Model) -> Any:
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, None, 3), tf.float32)]
    return tf.function(lean(model), input_signature=signature)


def _on_jax(model: keras.Model) -> Any:
    import jax

    def maps(trainable: list[Any], fixed: list[Any], images: Any) -> Any:
        return model.stateless_call(trainable, fixed, images, training=False)[0]

    run = jax.jit(maps)
    # Not predict_on_batch, which keeps its state in the model: only one thread at a time could call it.
    return lambda images: run(
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
        images,
    )


def _on_torch(model: keras.Model) -> Any:
    import torch

    def run(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))

    return run


def _on_any(model: keras.Model) -> Any:
    return model.predict_on_batch


_RUNNERS: dict[str, Callable[[keras.Model], Any]] = {
    "tensorflow": _on_tensorflow,
    "jax": _on_jax,
    "torch": _on_torch,
}
