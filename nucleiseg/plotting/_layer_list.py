"""Every layer of a model as one line of a table, in two columns on a long page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleiseg.plotting._canvas import BLUE, GREY, LINE, PALE_ORANGE, SHADE, Drawing
from nucleiseg.plotting._graph import Graph, Shape, trace
from nucleiseg.plotting._wording import parameters_of, shape_text, short

# Inches.
COLUMN = 6.15
GUTTER, MARGIN = 0.4, 0.15
TOP, FOOT, LINE_HEIGHT = 1.2, 0.5, 0.205
LONG = 40  # lines; a longer list is set in two columns
SIZE = 8.5  # points
# Where each cell starts or, for numbers, ends.
NUMBER, NAME, KIND, FROM, SHAPE, PARAMETERS = 0.32, 0.42, 2.42, 3.78, 4.55, COLUMN - 0.05
LEGEND = '"from": numbers of the layers before, if not the line above; coloured: outputs of the encoder'
INDENT = 0.12  # of the layers of a nested model


@dataclass(frozen=True)
class Line:
    """A line of the list: a layer with its number, or the heading of a nested model (number 0)."""

    number: int
    name: str
    kind: str
    depth: int
    shape: Shape = ()
    parameters: int = 0
    inputs: tuple[int, ...] = ()


def list_lines(model: Any, input_shape: Shape | None = None) -> tuple[list[Line], set[int]]:
    """The layers of a model, those of nested models at their place, and the numbers of an encoder's outputs."""
    lines: list[Line] = []
    taps: set[int] = set()
    _add(trace(model, input_shape), None, 0, lines, taps)
    return lines, taps


def _add(graph: Graph, sources: list[int] | None, depth: int, lines: list[Line], taps: set[int]) -> list[int]:
    """Append the lines of a graph; return the numbers of the layers that its outputs come from."""
    numbers: list[list[int]] = []  # for each call, the number of the layer behind each of its outputs
    for call in graph.calls:
        inputs = [numbers[position][index] for position, index in call.inputs]
        if call.kind == "InputLayer" and sources is not None:
            numbers.append(sources)
        elif call.nested and len(call.inputs) == 1:
            lines.append(Line(0, call.name, call.kind, depth, parameters=call.parameters))
            position, index = call.inputs[0]
            inner = trace(call.layer, graph.calls[position].shapes[index])
            numbers.append(_add(inner, inputs, depth + 1, lines, taps))
        else:
            number = 1 + max((line.number for line in lines), default=0)
            lines.append(Line(number, call.name, call.kind, depth, call.shape, call.parameters, tuple(inputs)))
            numbers.append([number] * len(call.shapes))
    outputs = [numbers[position][index] for position, index in graph.outputs]
    if len(outputs) > 1:
        taps.update(outputs)
    return outputs


def draw_layers(model: Any, input_shape: Shape | None, title: str, path: Path) -> Path:
    """Draw the list of all layers."""
    lines, taps = list_lines(model, input_shape)
    columns = 1 if len(lines) <= LONG else 2
    length = math.ceil(len(lines) / columns)
    width = 2 * MARGIN + columns * COLUMN + (columns - 1) * GUTTER
    drawing = Drawing(width, TOP + LINE_HEIGHT * length + FOOT)
    drawing.text(MARGIN, 0.35, title, 15, bold=True, width=width - 2 * MARGIN)
    note = f"shapes for an input of {shape_text(lines[0].shape)}; {LEGEND}"
    drawing.text(MARGIN, 0.67, note, 9, color=GREY, width=width - 2 * MARGIN)
    for column in range(columns):
        x = MARGIN + column * (COLUMN + GUTTER)
        _draw_heading(drawing, x)
        for row in range(length):
            index = column * length + row
            if index < len(lines):
                _draw_line(drawing, x, TOP + LINE_HEIGHT * (row + 0.5), lines[index], lines[index].number in taps)
    drawing.text(MARGIN, TOP + LINE_HEIGHT * length + FOOT / 2, parameters_of(model), 9.5, bold=True)
    return drawing.save(path)


def _draw_heading(drawing: Drawing, x: float) -> None:
    y = TOP - 0.13
    drawing.text(x + NAME, y, "layer", 8.5, bold=True)
    drawing.text(x + KIND, y, "kind", 8.5, bold=True)
    drawing.text(x + FROM, y, "from", 8.5, bold=True)
    drawing.text(x + SHAPE, y, "shape", 8.5, bold=True)
    drawing.text(x + PARAMETERS, y, "parameters", 8.5, bold=True, align="right")
    drawing.line((x, TOP - 0.01), (x + COLUMN, TOP - 0.01), color=LINE, width=0.8)


def _draw_line(drawing: Drawing, x: float, y: float, line: Line, is_tap: bool) -> None:
    left = x + NAME + INDENT * line.depth
    if not line.number:
        drawing.box(x, y - LINE_HEIGHT / 2, COLUMN, LINE_HEIGHT, fill=SHADE, edge=SHADE)
        drawing.text(left, y, line.name, SIZE, bold=True, width=x + KIND - left - 0.1)
        drawing.text(x + KIND, y, line.kind, SIZE, bold=True, width=FROM - KIND - 0.1)
        drawing.text(x + PARAMETERS, y, short(line.parameters), SIZE, bold=True, align="right")
        return
    if is_tap:
        drawing.box(x, y - LINE_HEIGHT / 2, COLUMN, LINE_HEIGHT, fill=PALE_ORANGE, edge=PALE_ORANGE)
    drawing.text(x + NUMBER, y, str(line.number), SIZE - 1, color=GREY, align="right")
    drawing.text(left, y, line.name, SIZE, width=x + KIND - left - 0.1)
    drawing.text(x + KIND, y, line.kind, SIZE, width=FROM - KIND - 0.1, color=GREY)
    if line.inputs not in ((), (line.number - 1,)):
        drawing.text(x + FROM, y, ", ".join(map(str, line.inputs)), SIZE, color=BLUE, width=SHAPE - FROM - 0.05)
    drawing.text(x + SHAPE, y, shape_text(line.shape), SIZE, width=PARAMETERS - SHAPE - 0.5)
    drawing.text(x + PARAMETERS, y, short(line.parameters) if line.parameters else "-", SIZE, color=GREY, align="right")
