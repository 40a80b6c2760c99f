"""How much memory a network needs for each pixel of an image, from the sizes of its maps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import keras

from nucleiseg.engines.lean import followed_by_norm, inner_model, steps_of

__all__ = ["pixel_bytes"]

_SIDE = 256
_FLOAT = 4


def pixel_bytes(model: keras.Model) -> int:
    """Bytes for each pixel of an image that is in a network.

    The largest sum of the maps that are needed at the same time, of which those that a step takes and makes count
    twice: convolutions have copies of them in an order of their own. Steps that `nucleiseg.engines.lean` leaves out
    make nothing.

    Examples
    --------
    >>> image = keras.Input((None, None, 3))
    >>> pixel_bytes(keras.Model(image, keras.layers.Conv2D(5, 1)(image)))
    64
    """
    return math.ceil(_peak(model, (1, _SIDE, _SIDE, 3)) * _FLOAT / _SIDE**2)


def _peak(model: keras.Model, shape: Any) -> float:
    """Numbers in the maps that are there at once, those of models within the model included."""
    model = inner_model(model) or model
    steps = steps_of(model)
    tensors = [tensor for _, node in steps for tensor in node.output_tensors]
    found = keras.Model(model.inputs, tensors).compute_output_shape(shape)
    shapes = dict(zip(map(id, tensors), found if isinstance(found, list) else [found], strict=True))
    shapes[id(model.inputs[0])] = shape
    sizes = {tensor: math.prod(known) for tensor, known in shapes.items()}
    held = _held_in(model, steps)

    def of(some: Iterable[Any]) -> set[int]:
        return set().union(*(held[id(tensor)] for tensor in some))

    def total(some: Iterable[int]) -> float:
        return float(sum(sizes[tensor] for tensor in some))

    last_use = {tensor: number for number, (_, node) in enumerate(steps) for tensor in of(node.input_tensors)}
    last_use |= dict.fromkeys(of(model.outputs), len(steps))
    alive = of(model.inputs)
    peak = 0.0
    for number, (operation, node) in enumerate(steps):
        taken, made = of(node.input_tensors), of(node.output_tensors)
        inner = inner_model(operation)
        if inner is not None:
            entered = shapes[id(node.input_tensors[0])]
            peak = max(peak, total(alive) - math.prod(entered) + _peak(inner, entered))
        elif not made <= taken:
            peak = max(peak, total(alive) + total(taken) + 2 * total(made))
        alive |= made
        alive = {tensor for tensor in alive if last_use.get(tensor, -1) > number}
    return peak


def _held_in(model: keras.Model, steps: Any) -> dict[int, set[int]]:
    """By the identity of tensors, those whose numbers they hold: others, where a step copies nothing.

    A ReLU is computed in place, where nothing else needs what it gets.
    """
    users = Counter(id(tensor) for _, node in steps for tensor in node.input_tensors)
    absorbed = {id(norm) for norm in followed_by_norm(model).values()}
    held = {id(tensor): {id(tensor)} for tensor in model.inputs}
    for operation, node in steps:
        in_place = isinstance(operation, keras.layers.ReLU) and users[id(node.input_tensors[0])] == 1
        copies = not (in_place or id(operation) in absorbed or type(operation) is keras.layers.Concatenate)
        for tensor in node.output_tensors:
            inputs = (held[id(one)] for one in node.input_tensors)
            held[id(tensor)] = {id(tensor)} if copies else set().union(*inputs)
    return held
