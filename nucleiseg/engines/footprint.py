"""How much memory a network needs for each pixel of an image, from the sizes of its maps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from nucleiseg.engines.lean import WIDE, followed_by_norm, inner_model, joins_channels, steps_of

__all__ = ["pixel_bytes"]

_SIDE = 256
_BYTES = {"bfloat16": 2}
_FLOAT = 4
_UNKNOWN = 2048


def pixel_bytes(model: keras.Model) -> int:
    """Bytes for each pixel of an image that is in a network.

    The largest sum of the maps that are needed at the same time, of which those that a step takes and makes count
    twice: convolutions have copies of them in an order of their own. Steps that `nucleiseg.engines.lean` leaves out
    make nothing. Maps are of the precision that layers compute in now, see `nucleiseg.networks.precision.computed_in`.
    Where a layer can't tell the size of its maps, it is twice what the U-Net of VGG16 needs, the most of ours.

    Examples
    --------
    >>> image = keras.Input((None, None, 3))
    >>> pixel_bytes(keras.Model(image, keras.layers.Conv2D(5, 1)(image)))
    64
    """
    try:
        return math.ceil(_peak(model, [(1, _SIDE, _SIDE, 3)], [_FLOAT]) / _SIDE**2)
    except Exception:  # whatever a layer that is not Keras's own brings up when it is asked for shapes
        return _UNKNOWN


def _peak(model: keras.Model, entering: Sequence[Any], given: Sequence[int]) -> float:
    """Bytes of the maps that are there at once, those of models within the model included.

    For each input, its shape comes in, and how many bytes each of its numbers has.
    """
    model = inner_model(model) or model
    steps = steps_of(model)
    inputs = list(map(id, model.inputs))
    shapes = _shapes(model, steps, entering)
    makers = _makers(steps)
    widths = {tensor: _width(makers[tensor]) for tensor in shapes if tensor in makers}
    widths |= dict(zip(inputs, given, strict=True))
    sizes = {tensor: math.prod(known) * widths[tensor] for tensor, known in shapes.items()}
    held = _held_in(model, steps)

    def of(some: Iterable[Any]) -> set[int]:
        return set().union(*(held[id(tensor)] for tensor in some))

    def total(some: Iterable[int]) -> float:
        return float(sum(sizes[tensor] for tensor in some))

    def cast(some: Iterable[int], operation: Any) -> float:
        """Copies in single precision that a layer makes of what it gets in fewer bits."""
        few = (tensor for tensor in some if shapes[tensor][-1] < WIDE and widths[tensor] < _width(operation))
        return float(sum(sizes[tensor] / widths[tensor] * _FLOAT for tensor in few))

    last_use = {tensor: number for number, (_, node) in enumerate(steps) for tensor in of(node.input_tensors)}
    last_use |= dict.fromkeys(of(model.outputs), len(steps))
    alive = of(model.inputs)
    peak = 0.0
    for number, (operation, node) in enumerate(steps):
        taken, made = of(node.input_tensors), of(node.output_tensors)
        inner = inner_model(operation)
        if inner is not None:
            entered = list(map(id, node.input_tensors))
            within = _peak(inner, [shapes[one] for one in entered], [widths[one] for one in entered])
            peak = max(peak, total(alive - taken) + within)
        elif not made <= taken:
            peak = max(peak, total(alive) + cast(taken, operation) + total(taken) + 2 * total(made))
        alive |= made
        alive = {tensor for tensor in alive if last_use.get(tensor, -1) > number}
    return peak


def _shapes(model: keras.Model, steps: Any, entering: Sequence[Any]) -> dict[int, Any]:
    """By the identity of tensors, their shapes."""
    tensors = [tensor for _, node in steps for tensor in node.output_tensors]
    images = [keras.KerasTensor(shape, one.dtype) for one, shape in zip(model.inputs, entering, strict=True)]
    found = keras.tree.flatten(keras.Model(model.inputs, tensors).compute_output_spec(images))
    return {
        id(one): tuple(known.shape) for one, known in zip([*model.inputs, *tensors], [*images, *found], strict=True)
    }


def _makers(steps: Any) -> dict[int, Any]:
    """By the identity of tensors, the layer that makes each, which may be one within a nested model."""
    found = {}
    for operation, node in steps:
        inner = inner_model(operation)
        within = {} if inner is None else _makers(steps_of(inner))
        made = [None] * len(node.output_tensors) if inner is None else inner.outputs
        for tensor, same in zip(node.output_tensors, made, strict=True):
            found[id(tensor)] = within.get(id(same), operation)
    return found


def _width(layer: Any) -> int:
    """Bytes of each number that a layer makes."""
    return _BYTES.get(getattr(layer, "compute_dtype", ""), _FLOAT)


def _held_in(model: keras.Model, steps: Any) -> dict[int, set[int]]:
    """By the identity of tensors, those whose numbers they hold: others, where a step copies nothing.

    A ReLU is computed in place, where nothing else needs what it gets.
    """
    users = Counter(id(tensor) for _, node in steps for tensor in node.input_tensors)
    absorbed = {id(norm) for norm in followed_by_norm(model).values()}
    held = {id(tensor): {id(tensor)} for tensor in model.inputs}
    for operation, node in steps:
        in_place = isinstance(operation, keras.layers.ReLU) and users[id(node.input_tensors[0])] == 1
        joins = joins_channels(operation, node.output_tensors[0])
        copies = not (in_place or joins or id(operation) in absorbed)
        for tensor in node.output_tensors:
            inputs = (held[id(one)] for one in node.input_tensors)
            held[id(tensor)] = {id(tensor)} if copies else set().union(*inputs)
    return held
