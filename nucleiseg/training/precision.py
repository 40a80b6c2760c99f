"""Training with half as many bits for each number within the network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from nucleiseg.training.phases import layers_of

__all__ = ["computed_in"]


@contextlib.contextmanager
def computed_in(model: keras.Model, precision: str) -> Iterator[None]:
    """Have the layers of a model compute in a precision for a while; its weights stay as they are, in single precision.

    The first layer with weights, which sees the image, and the last, which gives the probabilities, compute as before:
    a byte's steps and probabilities near 1 are finer than the 8 bits of bfloat16.

    Parameters
    ----------
    model : keras.Model
        Changed in place, and changed back in the end, whatever happens. It must be compiled within.
    precision : str
        Name of a Keras policy, ``"float32"`` or ``"mixed_bfloat16"``.

    References
    ----------
    .. [1] D. Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", arXiv:1905.12322, 2019.

    Examples
    --------
    >>> image = keras.Input((4, 4, 1))
    >>> first, second, third = (keras.layers.Conv2D(1, 1) for _ in range(3))
    >>> model = keras.Model(image, third(second(first(image))))
    >>> with computed_in(model, "mixed_bfloat16"):
    ...     [layer.compute_dtype for layer in (first, second, third)]
    ['float32', 'bfloat16', 'float32']
    >>> second.compute_dtype
    'float32'
    """
    layers = list(layers_of(model))
    weighted = [number for number, layer in enumerate(layers) if layer.weights and not isinstance(layer, keras.Model)]
    inner = [] if not weighted else layers[weighted[0] + 1 : -1]
    before = [(layer, layer.dtype_policy) for layer in inner if not isinstance(layer, keras.Model)]
    try:
        for layer, _ in before:
            layer.dtype_policy = precision
        yield
    finally:
        for layer, policy in before:
            layer.dtype_policy = policy
