"""GPU memory is taken as it is needed, so that other programs, and other processes of ours, have some."""

from __future__ import annotations

import contextlib
import os

__all__ = ["grow_gpu_memory"]

_VARIABLE = "TF_FORCE_GPU_ALLOW_GROWTH"


def grow_gpu_memory() -> None:
    """Have TensorFlow take GPU memory as it needs it, instead of nearly all at once; does nothing for other backends.

    Must come before the first network: once TensorFlow has taken its GPUs, or somebody has divided their memory, it
    stays as it is. TensorFlow's own variable ``TF_FORCE_GPU_ALLOW_GROWTH`` is obeyed if it is set.

    Examples
    --------
    >>> grow_gpu_memory()
    """
    import keras

    if keras.backend.backend() != "tensorflow" or _VARIABLE in os.environ:
        return
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        # RuntimeError: they are in use already. ValueError: their memory was divided up.
        with contextlib.suppress(RuntimeError, ValueError):
            tf.config.experimental.set_memory_growth(gpu, True)
