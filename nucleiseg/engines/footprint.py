"""How much memory a network needs for each pixel of an image, from the sizes of its maps."""

from __future__ import annotations

import math
from typing import Any

import keras

__all__ = ["pixel_bytes"]

_SIDE = 256
_FLOAT = 4
_COPIES = 2  # convolutions bring their input and output into an order of their own


def pixel_bytes(model: keras.Model) -> int:
    """Bytes for each pixel of an image that is in a network.

    The largest sum of maps that are needed at the same time, twice, since convolutions have copies in another order.

    Examples
    --------
    >>> image = keras.Input((None, None, 3))
    >>> pixel_bytes(keras.Model(image, keras.layers.Conv2D(5, 1)(image)))
    64
    """
    return math.ceil(_COPIES * _peak(model, (1, _SIDE, _SIDE, 3)) * _FLOAT / _SIDE**2)


def _peak(model: keras.Model, shape: Any) -> float:
    """Numbers in the maps that are alive at once, those of models within the model included."""
    steps = [
        (operation, operation._inbound_nodes[0])
        for operation in model.operations
        if not isinstance(operation, keras.layers.InputLayer)
    ]
    tensors = [tensor for _, node in steps for tensor in node.output_tensors]
    shapes = keras.Model(model.inputs, tensors).compute_output_shape(shape)
    known = dict(zip(map(id, tensors), shapes if isinstance(shapes, list) else [shapes], strict=True))
    known[id(model.inputs[0])] = shape
    last_use = {id(tensor): number for number, (_, node) in enumerate(steps) for tensor in node.input_tensors}
    last_use |= {id(tensor): len(steps) for tensor in model.outputs}
    alive = {id(model.inputs[0])}
    peak = 0.0
    for number, (operation, node) in enumerate(steps):
        before = sum(math.prod(known[tensor]) for tensor in alive)
        made = sum(math.prod(known[id(tensor)]) for tensor in node.output_tensors)
        inner = getattr(operation, "_functional", operation)
        if hasattr(inner, "operations"):
            entered = known[id(node.input_tensors[0])]
            made = max(made, _peak(inner, entered) - math.prod(entered))
        peak = max(peak, before + made)
        alive |= {id(tensor) for tensor in node.output_tensors}
        alive = {tensor for tensor in alive if last_use.get(tensor, -1) > number}
    return peak
