"""Computing with half as many bits for each number within a network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras

__all__ = ["computed_in", "layers_of"]

_TRACED = ("train_function", "test_function", "predict_function")


@contextlib.contextmanager
def computed_in(model: keras.Model, precision: str) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Have the layers of a model compute in a precision for a while; its weights stay as they are, in single precision.

    The first layer with weights, which sees the image (or a normalisation of it), and the last, which gives the
    probabilities, compute as before: a byte's steps and probabilities near 1 are finer than the 8 bits of bfloat16. (In
    prediction, the last convolves what it gets in fewer bits as it is, see `nucleiseg.engines.lean`; the probabilities
    are in single precision.) So do layers that are not Keras's own, whose code may know single precision only, and
    those that were built with another policy on purpose.

    Parameters
    ----------
    model : keras.Model
        Changed in place, and changed back in the end, whatever happens. What Keras has traced is put aside meanwhile.
    precision : str
        Name of a Keras policy such as ``"mixed_bfloat16"``; ``"float32"`` leaves the model alone.

    Yields
    ------
    function
        Gives a context in which the model is as before: for those who save it, or predict with it, meanwhile.

    References
    ----------
    .. [1] D. Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", arXiv:1905.12322, 2019.

    Examples
    --------
    >>> image = keras.Input((4, 4, 1))
    >>> first, second, third = (keras.layers.Conv2D(1, 1) for _ in range(3))
    >>> model = keras.Model(image, third(second(first(image))))
    >>> with computed_in(model, "mixed_bfloat16") as as_before:
    ...     print([layer.compute_dtype for layer in (first, second, third)])
    ...     with as_before():
    ...         print(second.compute_dtype)
    ['float32', 'bfloat16', 'float32']
    float32
    >>> second.compute_dtype
    'float32'
    """
    if precision == "float32":
        yield contextlib.nullcontext
        return
    layers = list(layers_of(model))
    first = next((number for number, layer in enumerate(layers) if _sees_the_image(layer)), len(layers))
    before = [(layer, layer.dtype_policy) for layer in layers[first + 1 : -1] if _knows_precisions(layer)]
    with _policies(model, [(layer, precision) for layer, _ in before]):
        yield lambda: _policies(model, before)


def _sees_the_image(layer: keras.layers.Layer) -> bool:
    """Whether it is a layer with weights. A normalisation has some, too, but the image is still seen behind it."""
    return bool(layer.weights) and not isinstance(layer, (keras.Model, keras.layers.Normalization))


def _knows_precisions(layer: keras.layers.Layer) -> bool:
    own = type(layer).__module__.split(".")[0] == "keras" and not isinstance(layer, (keras.Model, keras.layers.Lambda))
    return own and layer.dtype_policy.name == "float32"


@contextlib.contextmanager
def _policies(model: keras.Model, wanted: Sequence[tuple[keras.layers.Layer, Any]]) -> Iterator[None]:
    """Give layers other policies for a while, and the model other traces: a trace keeps the policies of its time."""
    before = [(layer, layer.dtype_policy) for layer, _ in wanted]
    traced = {name: getattr(model, name) for name in _TRACED}
    try:
        for name in _TRACED:
            setattr(model, name, None)
        for layer, policy in wanted:
            layer.dtype_policy = policy
        yield
    finally:
        for layer, policy in before:
            layer.dtype_policy = policy
        for name, function in traced.items():
            setattr(model, name, function)


def layers_of(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """All layers, those of nested models too."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)
