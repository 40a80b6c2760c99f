"""Runs a Keras model, on whichever backend Keras has."""

from __future__ import annotations

import math
import os
import threading
from contextlib import nullcontext
from functools import cache, cached_property, lru_cache
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from nucleiseg._allocator import give_back
from nucleiseg._forking import check_not_forked
from nucleiseg._precision import Precision
from nucleiseg._processor import favours_onednn, knows_bfloat16
from nucleiseg.engines.engine import MULTIPLE
from nucleiseg.engines.footprint import pixel_bytes
from nucleiseg.engines.lean import lean
from nucleiseg.errors import InvalidInputError
from nucleiseg.networks.precision import computed_in

_LARGE = 2**18  # pixels whose pass takes far longer than giving memory back
_SIZES = 16  # of images, whose traces are kept
_tracing = threading.RLock()  # layers compute in another precision meanwhile, which no other trace must see


class KerasEngine:
    """Runs a functional Keras model from (N, H, W, 3) to (N, H, W, C).

    On TensorFlow, one function is traced for all sizes; tracing anew for every image size takes longer than running the
    network, and is done only where a layer must know the size. JAX compiles anew for every size, which takes a second
    or two; with `nucleiseg.Tiling` there is one size. PyTorch compiles nothing. Weights may change between calls,
    unless they are to be constant.

    Parameters
    ----------
    model : keras.Model
        From `nucleiseg.networks.unet`.
    precision : "float32" or "mixed_bfloat16"
        What the inner layers compute in; the model is not changed, and weights stay in float32. Others than float32
        need Keras on TensorFlow or JAX.
    constant : bool
        Weights stay as they are, until `let_weights_change` is called. On TensorFlow, what hangs on them alone is then
        computed once: the same but for last digits, of small images sooner.

    Raises
    ------
    InvalidInputError
        If Keras runs on another backend, and a precision other than float32 is wanted.

    Examples
    --------
    >>> image = keras.Input((None, None, 3))
    >>> engine = KerasEngine(keras.Model(image, keras.layers.Conv2D(1, 1)(image)))
    >>> engine(np.zeros((1, 32, 64, 3), np.float32)).shape
    (1, 32, 64, 1)
    """

    multiple = MULTIPLE

    def __init__(self, model: keras.Model, precision: Precision = "float32", constant: bool = False) -> None:
        check_not_forked()
        backend = keras.backend.backend()
        self.model, self.precision, self.constant = model, precision, constant and backend == "tensorflow"
        self._others: dict[Precision, KerasEngine] = {}
        if backend == "tensorflow":
            self._call = _on_tensorflow(model, precision, constant)
        elif backend == "jax":
            self._call = _on_jax(model, precision)
        elif precision == "float32":
            self._call = _on_torch(model) if backend == "torch" else model.predict_on_batch
        else:
            raise InvalidInputError(
                f"precision {precision!r} needs a network that is compiled, got Keras on {backend}; set "
                "KERAS_BACKEND=tensorflow before Python starts, or set precision (--precision) to 'float32'"
            )

    @cached_property
    def _leaves_holes(self) -> bool:
        """Whether a pass takes more than its maps, in pieces that are of little use to the next: without oneDNN."""
        return keras.backend.backend() == "tensorflow" and not _by_onednn() and not _has_gpu()

    @cached_property
    def pixel_bytes(self) -> int:
        """Memory for each pixel of a batch."""
        with _tracing, computed_in(self.model, self.precision):
            needed = pixel_bytes(self.model)
        if keras.backend.backend() != "tensorflow":  # the model runs as it is, and copies what is concatenated
            return needed * 3 // 2
        return needed * 7 // 4 if self._leaves_holes else needed

    @cached_property
    def fastest_precision(self) -> Precision:
        """bfloat16 where TensorFlow runs, by oneDNN, on processors that know it; GPUs and others were not measured."""
        if keras.backend.backend() != "tensorflow" or not _by_onednn() or not knows_bfloat16():
            return "float32"
        return "float32" if _has_gpu() else "mixed_bfloat16"

    def computing_in(self, precision: Precision) -> KerasEngine:
        """Runs the same model in another precision; compiled once."""
        with _tracing:
            if precision not in self._others:
                self._others[precision] = KerasEngine(self.model, precision, self.constant)
            return self._others[precision]

    def let_weights_change(self) -> None:
        """From now on, whatever becomes of the model's weights counts at once."""
        with _tracing:
            if self.constant:
                self.constant, self._call = False, _on_tensorflow(self.model, self.precision, constant=False)
            for other in self._others.values():
                other.let_weights_change()

    def __call__(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """From float32 images (N, H, W, 3) in [0, 1] to float32 maps (N, H, W, C)."""
        check_not_forked()
        if self._leaves_holes and math.prod(images.shape[:3]) > _LARGE:
            give_back()
        return np.asarray(self._call(images))


def _by_onednn() -> bool:
    """Whether TensorFlow computes by oneDNN, which it reads from the environment when it is imported."""
    told = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower()
    return favours_onednn() if told not in ("0", "1", "false", "true") else told in ("1", "true")


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _on_tensorflow(model: keras.Model, precision: Precision, constant: bool) -> Any:
    import tensorflow as tf

    maps = lean(model, tf.init_scope if constant else nullcontext)

    def traced(images: Any) -> Any:
        with _tracing, computed_in(model, precision):
            return maps(images)

    @lru_cache(_SIZES)
    def traced_for(height: int | None, width: int | None) -> Any:
        signature = [tf.TensorSpec((None, height, width, 3), tf.float32)]
        # As in Keras itself, whose layers need no AutoGraph: its conversion would take most of the time here.
        return tf.function(traced, input_signature=signature, autograph=False).get_concrete_function()

    @cache
    def traced_for_all() -> Any:
        try:
            return traced_for(None, None)
        except Exception:  # whatever a layer brings up that must know the size
            return None

    def run(images: npt.NDArray[np.float32]) -> Any:
        one = traced_for_all() or traced_for(*images.shape[1:3])
        return one(tf.constant(images))

    return run


def _on_jax(model: keras.Model, precision: Precision) -> Any:
    import jax

    def maps(trainable: list[Any], fixed: list[Any], images: Any) -> Any:
        with _tracing, computed_in(model, precision):
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
