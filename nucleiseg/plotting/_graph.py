"""The layers of a functional Keras model as plain records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nucleiseg.errors import InvalidInputError

EXAMPLE_SIZE = 256  # pixels; height and width of the example input where a model leaves them open

Shape = tuple[int, ...]
Place = tuple[int, int]  # (position of a call in its graph, which of its outputs)


@dataclass(frozen=True)
class Call:
    """One call of a layer within a model; shapes are without the batch axis."""

    layer: Any
    name: str
    kind: str
    shapes: tuple[Shape, ...]
    inputs: tuple[Place, ...]
    parameters: int

    @property
    def shape(self) -> Shape:
        """Shape of the first output."""
        return self.shapes[0]

    @property
    def nested(self) -> bool:
        """Whether the layer is itself a model made of layers."""
        return bool(getattr(self.layer, "layers", None) and getattr(self.layer, "inputs", None))


@dataclass(frozen=True)
class Graph:
    """The calls of a model, each after those that it depends on, and where its outputs come from."""

    calls: tuple[Call, ...]
    outputs: tuple[Place, ...]


def trace(model: Any, input_shape: Shape | None = None) -> Graph:
    """Every call of a layer in a functional model.

    Everything that the first output needs comes first, then what the second needs besides, and so on.

    Parameters
    ----------
    model : keras.Model
        A functional model with one image input.
    input_shape : tuple of int, optional
        Height, width and channels of the example input. By default what the model fixes, 256 pixels where it does not.
    """
    import keras

    _check_functional(model)
    nodes = _ordered_nodes(model.outputs)
    position = {id(node): index for index, node in enumerate(nodes)}
    if input_shape is None:
        height, width, channels = model.inputs[0].shape[1:]
        input_shape = (height or EXAMPLE_SIZE, width or EXAMPLE_SIZE, channels)
    tensors = [tensor for node in nodes for tensor in node.output_tensors]
    example = keras.KerasTensor((1, *input_shape))
    shapes = iter(
        [tuple(spec.shape[1:]) for spec in keras.Function(model.inputs, tensors).compute_output_spec([example])]
    )
    counted: set[int] = set()

    def place(tensor: Any) -> Place:
        node, index = _origin(tensor)
        return position[id(node)], index

    calls = []
    for node in nodes:
        layer = node.operation
        # A layer that is called twice has its parameters once.
        weights = [] if id(layer) in counted else getattr(layer, "weights", [])
        counted.add(id(layer))
        calls.append(
            Call(
                layer=layer,
                name=layer.name,
                kind=type(layer).__name__,
                shapes=tuple(next(shapes) for _ in node.output_tensors),
                inputs=tuple(place(tensor) for tensor in node.input_tensors),
                parameters=count_parameters(weights),
            )
        )
    return Graph(tuple(calls), tuple(place(tensor) for tensor in model.outputs))


def count_parameters(weights: Iterable[Any]) -> int:
    """How many numbers some weights hold."""
    total = 0
    for weight in weights:
        size = 1
        for side in weight.shape:
            size *= side
        total += size
    return total


def leaf_layers(layer: Any) -> list[Any]:
    """The layers inside a nested model, at any depth and without inputs; the layer itself if it is no model."""
    inner = getattr(layer, "layers", None)
    if not inner:
        return [layer]
    return [leaf for part in inner for leaf in leaf_layers(part) if type(leaf).__name__ != "InputLayer"]


def kinds(calls: Iterable[Call]) -> list[tuple[str, int]]:
    """The kinds of layers that some calls consist of and how many of each, most frequent first."""
    return Counter(type(leaf).__name__ for call in calls for leaf in leaf_layers(call.layer)).most_common()


def _check_functional(model: Any) -> None:
    inputs = getattr(model, "inputs", None)
    if not inputs or not getattr(model, "outputs", None) or not hasattr(model, "layers"):
        raise InvalidInputError(
            f"model must be a functional keras.Model, got {type(model).__name__}; "
            "build it as keras.Model(inputs, outputs)"
        )
    shapes = [tuple(tensor.shape) for tensor in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][-1] is None:
        raise InvalidInputError(
            f"model must have one image input (batch, H, W, C) with a fixed C, got {shapes}; pass the part that has one"
        )


def _origin(tensor: Any) -> tuple[Any, int]:
    """The call that made a symbolic tensor, and which of its outputs the tensor is.

    A tensor's own record is used, not ``layer.output``: a layer shared by two models has several of those.
    """
    operation, node_index, tensor_index = tensor._keras_history
    return operation._inbound_nodes[node_index], tensor_index


def _ordered_nodes(outputs: Iterable[Any]) -> list[Any]:
    """All calls that the outputs depend on, each after its inputs, in the order in which the outputs need them."""
    done: set[int] = set()
    ordered = []
    for output in outputs:
        # Depth first with a list of its own, since deep networks would exceed Python's recursion limit.
        waiting = [(_origin(output)[0], False)]
        while waiting:
            node, inputs_done = waiting.pop()
            if id(node) in done:
                continue
            if inputs_done:
                done.add(id(node))
                ordered.append(node)
            else:
                waiting.append((node, True))
                waiting.extend((_origin(tensor)[0], False) for tensor in reversed(node.input_tensors))
    return ordered
