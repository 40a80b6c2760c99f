"""The parts of a U-Net, found by the structure of the model and not by the names of its layers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nucleiseg.errors import InvalidInputError
from nucleiseg.plotting._graph import Call, Graph, Shape, trace

# As the architectures of Keras name them: block_3_expand, block2a_dwconv, conv4_block6_out, expanded_conv_2_add.
BLOCK_NAME = re.compile(r".*?(block_?\d+[a-z]?|expanded_conv(_\d+)?)(?![a-z0-9])")


@dataclass(frozen=True)
class Stage:
    """Layers that follow each other and end in one size."""

    calls: tuple[Call, ...]
    stride: int  # pixels of the input image for each pixel of the output, along an axis
    skip: Call | None = None  # in a decoder: the layer that joins the encoder's output of this size

    @property
    def shape(self) -> Shape:
        """Shape of the output."""
        return self.calls[-1].shape

    @property
    def parameters(self) -> int:
        """Number of parameters of all layers."""
        return sum(call.parameters for call in self.calls)

    def blocks(self) -> list[tuple[Call, ...]]:
        """The calls in groups: neighbours whose names start with the same block, or with none.

        A call without a block's name is part of the block it lies within.
        """
        names = [block_name(call) for call in self.calls]
        last = {name: index for index, name in enumerate(names)}
        groups: list[list[Call]] = []
        current = None
        for index, (call, name) in enumerate(zip(self.calls, names, strict=True)):
            within = current and not name and index < last[current]
            if not within and name != current:
                groups.append([])
                current = name
            groups[-1].append(call)
        return [tuple(group) for group in groups]


@dataclass(frozen=True)
class UNet:
    """A model in the parts that a diagram shows."""

    input_shape: Shape
    before: tuple[Call, ...]  # between the input and the encoder
    encoder: Call
    stages: tuple[Stage, ...]
    decoder: tuple[Stage, ...]
    head: tuple[Call, ...]


def block_name(call: Call) -> str:
    """The part of a layer's name that it shares with its block, such as ``block_3``; empty if there is none."""
    found = BLOCK_NAME.match(call.name)
    return found.group() if found else ""


def find_encoder(model: Any) -> tuple[Any, Shape | None]:
    """The model's encoder, the first nested model with several outputs or the model itself, and its input shape."""
    graph = trace(model)
    if len(graph.outputs) > 1:
        return model, None
    call = graph.calls[_encoder_position(graph)]
    position, index = call.inputs[0]
    return call.layer, graph.calls[position].shapes[index]


def encoder_stages(encoder: Any, input_shape: Shape | None = None) -> tuple[Shape, tuple[Stage, ...]]:
    """The shape of an encoder's input, and its layers divided at its outputs, finest first."""
    graph = trace(encoder, input_shape)
    height = graph.calls[0].shape[0]
    stages: list[Stage] = []
    start = 0
    for position, index in graph.outputs:
        shape = graph.calls[position].shapes[index]
        calls = tuple(call for call in graph.calls[start : position + 1] if call.kind != "InputLayer")
        if not calls or (stages and shape[0] >= stages[-1].shape[0]):
            shapes = [graph.calls[place].shapes[which] for place, which in graph.outputs]
            raise _not_a_unet(f"an encoder's outputs must follow each other from fine to coarse, got shapes {shapes}")
        stages.append(Stage(calls, stride=height // shape[0]))
        start = position + 1
    return graph.calls[0].shape, tuple(stages)


def find_unet(model: Any) -> UNet:
    """Divide a U-Net into its parts."""
    graph = trace(model)
    if len(graph.outputs) != 1:
        raise _not_a_unet(f"a U-Net must have one output, got {len(graph.outputs)}")
    position = _encoder_position(graph)
    encoder = graph.calls[position]
    source, index = encoder.inputs[0]
    path = _decoder_path(graph, position)
    # The last layer with parameters makes the output; without one, the last layer does.
    with_parameters = [place for place, (call, joins) in enumerate(path) if call.parameters and not joins]
    first_of_head = with_parameters[-1] if with_parameters else len(path) - 1
    stages = encoder_stages(encoder.layer, graph.calls[source].shapes[index])[1]
    decoder = _decoder_stages(path[:first_of_head], height=graph.calls[0].shape[0])
    strides = [stage.stride for stage in decoder]
    if not strides or any(later >= earlier for earlier, later in itertools.pairwise(strides)):
        raise _not_a_unet(f"the layers after the encoder must lead from coarse to fine, got strides {strides}")
    return UNet(
        input_shape=graph.calls[0].shape,
        before=tuple(call for call in graph.calls[:position] if call.kind != "InputLayer"),
        encoder=encoder,
        stages=stages,
        decoder=decoder,
        head=tuple(call for call, _ in path[first_of_head:]),
    )


def _encoder_position(graph: Graph) -> int:
    for position, call in enumerate(graph.calls):
        if call.nested and len(call.shapes) > 1 and len(call.inputs) == 1:
            return position
    raise _not_a_unet("the model must hold an encoder, a nested model with several outputs, got none")


def _decoder_path(graph: Graph, encoder: int) -> list[tuple[Call, bool]]:
    """The calls from the encoder to the output, and whether each joins a skip connection to the path."""
    # A skip connection starts at the encoder, at the image or at something between the two.
    origins = {encoder, *_ancestors(graph, encoder)}
    path = []
    position, _ = graph.outputs[0]
    while position != encoder:
        call = graph.calls[position]
        onward = [source for source, _ in call.inputs if source not in origins]
        joins = len(call.inputs) == 2 and len(onward) == 1
        around = _way_around(graph, onward) if call.kind == "Add" else None
        if around is not None:
            near, far = around
            inside = {far, *_ancestors(graph, far)} - {near, *_ancestors(graph, near)} - origins
            path += [(call, False), *_within(graph, inside, origins)]
            position = near
            continue
        if not joins and [source for source, _ in call.inputs] not in (onward[:1], [encoder]):
            raise _not_a_unet(f"one path must lead from encoder to output, got a branch at layer {call.name!r}")
        path.append((call, joins))
        position = onward[0] if onward else encoder
    return path[::-1]


def _way_around(graph: Graph, sources: list[int]) -> tuple[int, int] | None:
    """Where a residual block begins, and the last layer within it, by what is added at its end; None if it is none."""
    if len(sources) == 2:
        for near, far in itertools.permutations(sources):
            if near in _ancestors(graph, far):
                return near, far
    return None


def _within(graph: Graph, block: set[int], origins: set[int]) -> Iterator[tuple[Call, bool]]:
    """The calls of a residual block, the last one first, and whether each joins a skip connection."""
    for position in sorted(block, reverse=True):
        call = graph.calls[position]
        yield call, any(source in origins for source, _ in call.inputs)


def _ancestors(graph: Graph, position: int) -> set[int]:
    found: set[int] = set()
    waiting = [position]
    while waiting:
        for source, _ in graph.calls[waiting.pop()].inputs:
            if source not in found:
                found.add(source)
                waiting.append(source)
    return found


def _decoder_stages(path: list[tuple[Call, bool]], height: int) -> tuple[Stage, ...]:
    """The calls in groups of one output size."""
    groups: list[list[tuple[Call, bool]]] = []
    for call, joins in path:
        if not groups or call.shape[0] != groups[-1][-1][0].shape[0]:
            groups.append([])
        groups[-1].append((call, joins))
    return tuple(
        Stage(
            calls=tuple(call for call, joins in group if not joins),
            stride=height // group[0][0].shape[0],
            skip=next((call for call, joins in group if joins), None),
        )
        for group in groups
    )


def _not_a_unet(reason: str) -> InvalidInputError:
    return InvalidInputError(
        f'{reason}; nucleiseg.plotting.plot_architecture(model, path, detail="layers") draws any functional model'
    )
