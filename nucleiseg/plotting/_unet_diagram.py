"""A U-Net as a "U": the encoder down the left, the decoder up the right, skip connections between."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleiseg.plotting._canvas import BLUE, GREY, LINE, ORANGE, PALE_BLUE, PALE_ORANGE, SHADE, Drawing
from nucleiseg.plotting._graph import Call, count_parameters, leaf_layers
from nucleiseg.plotting._unet_parts import UNet
from nucleiseg.plotting._wording import amount, parameters_of, plural, shape_text, short, span

# Inches.
WIDTH = 9.6
TOP, FOOT = 1.3, 0.55
ROW = 1.0
BOX_WIDTH, BOX_HEIGHT = 2.9, 0.74
LEFT, RIGHT = 1.15, WIDTH - 0.2
INDENT = 0.12  # how far each stage moves towards the middle
MARGIN = 0.15


class _Layout:
    """Where the boxes of each stride are."""

    def __init__(self, unet: UNet) -> None:
        strides = sorted({1} | {stage.stride for stage in (*unet.stages, *unet.decoder)})
        self.height = TOP + ROW * len(strides) + FOOT
        self.y = {stride: TOP + ROW * (row + 0.5) for row, stride in enumerate(strides)}
        self.left = {stride: LEFT + INDENT * row for row, stride in enumerate(strides)}
        self.right = {stride: RIGHT - BOX_WIDTH - INDENT * row for row, stride in enumerate(strides)}
        # The deepest stage is the bottom of the U, unless the decoder has layers of that size too.
        deepest = unet.stages[-1].stride
        self.round_bottom = all(stage.stride < deepest for stage in unet.decoder)
        if self.round_bottom:
            self.left[deepest] = (LEFT + RIGHT - BOX_WIDTH) / 2


@dataclass(frozen=True)
class _Box:
    """What a box says, and its colours."""

    name: str
    shape: str
    size: str
    detail: str
    fill: str
    edge: str


def draw_unet(unet: UNet, model: Any, title: str, path: Path) -> Path:
    """Draw the diagram of a U-Net."""
    layout = _Layout(unet)
    drawing = Drawing(WIDTH, layout.height)
    drawing.text(MARGIN, 0.35, title, 15, bold=True, width=RIGHT - BOX_WIDTH - 0.4)
    drawing.text(MARGIN, 0.68, f"shapes for an input of {shape_text(unet.input_shape)}", 9.5, color=GREY)
    for stride, y in layout.y.items():
        drawing.text(MARGIN, y - 0.1, f"stride {stride}", 10, bold=True)
        drawing.text(
            MARGIN, y + 0.12, shape_text(("H", "W") if stride == 1 else (f"H/{stride}", f"W/{stride}")), 9, color=GREY
        )

    _draw_flow(drawing, layout, unet)
    if all(stage.stride > 1 for stage in unet.stages):
        detail = ", ".join(call.name for call in unet.before) or "image"
        box = _Box("input", shape_text(unet.input_shape), "", detail, SHADE, LINE)
        _draw_box(drawing, layout.left[1], layout.y[1], box)
    for stage in unet.stages:
        box = _box(stage.calls, plural(len(stage.calls), "layer"), PALE_BLUE, BLUE)
        _draw_box(drawing, layout.left[stage.stride], layout.y[stage.stride], box)
    for stage in unet.decoder:
        box = _box(stage.calls, _kinds(stage.calls), PALE_ORANGE, ORANGE)
        _draw_box(drawing, layout.right[stage.stride], layout.y[stage.stride], box)
        if stage.skip is not None:
            _draw_skip(drawing, layout, stage.stride, stage.skip)
    _draw_box(drawing, layout.right[1], TOP - ROW / 2, _head_box(unet.head))
    _draw_caption(drawing, layout.height - 0.28, unet, model)
    return drawing.save(path)


def _draw_box(drawing: Drawing, x: float, y: float, box: _Box) -> None:
    drawing.box(x, y - BOX_HEIGHT / 2, BOX_WIDTH, BOX_HEIGHT, fill=box.fill, edge=box.edge)
    left, right, room = x + 0.1, x + BOX_WIDTH - 0.1, BOX_WIDTH - 0.2
    drawing.text(left, y - 0.22, box.name, 9, bold=True, width=room)
    drawing.text(left, y, box.shape, 9.5, width=room)
    drawing.text(right, y, box.size, 9, align="right")
    drawing.text(left, y + 0.22, box.detail, 8.3, width=room, color=GREY)


def _box(calls: tuple[Call, ...], detail: str, fill: str, edge: str) -> _Box:
    size = amount(sum(call.parameters for call in calls))
    return _Box(span(calls), shape_text(calls[-1].shape), size, detail, fill, edge)


def _head_box(head: tuple[Call, ...]) -> _Box:
    activation = getattr(getattr(head[0].layer, "activation", None), "__name__", "")
    detail = ", ".join(part for part in (_kinds(head), activation) if part)
    return _box(head, f"output: {detail}", PALE_ORANGE, ORANGE)


def _kinds(calls: tuple[Call, ...]) -> str:
    return ", ".join(dict.fromkeys(type(leaf).__name__ for call in calls for leaf in leaf_layers(call.layer)))


def _draw_skip(drawing: Drawing, layout: _Layout, stride: int, skip: Call) -> None:
    start, end = layout.left[stride] + BOX_WIDTH, layout.right[stride]
    y = layout.y[stride]
    drawing.arrow((start + 0.03, y), (end - 0.03, y), color=BLUE)
    middle = (start + end) / 2
    drawing.text(middle, y - 0.13, skip.kind, 8.5, color=BLUE, align="center", width=end - start)
    drawing.text(middle, y + 0.15, f"→ {shape_text(skip.shape)}", 8.5, color=GREY, align="center", width=end - start)


def _draw_flow(drawing: Drawing, layout: _Layout, unet: UNet) -> None:
    """Arrows from box to box: down, around the bottom, up."""
    half, middle = BOX_HEIGHT / 2 + 0.02, BOX_WIDTH / 2
    down = sorted({1} | {stage.stride for stage in unet.stages})
    up = sorted({stage.stride for stage in unet.decoder}, reverse=True)
    for upper, lower in itertools.pairwise(down):
        start = (layout.left[upper] + middle, layout.y[upper] + half)
        if layout.round_bottom and lower == down[-1]:
            corner = (start[0], layout.y[lower])
            drawing.line(start, corner)
            drawing.arrow(corner, (layout.left[lower] - 0.02, layout.y[lower]))
        else:
            drawing.arrow(start, (start[0], layout.y[lower] - half))
    y = layout.y[down[-1]]
    start = (layout.left[down[-1]] + BOX_WIDTH, y)
    if layout.round_bottom:
        corner = (layout.right[up[0]] + middle, y)
        drawing.line(start, corner)
        drawing.arrow(corner, (corner[0], layout.y[up[0]] + half))
    elif unet.decoder[0].skip is None:
        drawing.arrow(start, (layout.right[up[0]], y))
    for lower, upper in itertools.pairwise(up):
        x = layout.right[upper] + middle
        drawing.arrow((x, layout.y[lower] - half), (x, layout.y[upper] + half))
    x = layout.right[1] + middle
    drawing.arrow((x, layout.y[up[-1]] - half), (x, TOP - ROW / 2 + half))


def _draw_caption(drawing: Drawing, y: float, unet: UNet, model: Any) -> None:
    """Number of parameters of the whole and of its two halves."""
    total = count_parameters(model.weights)
    frozen = "" if unet.encoder.layer.trainable_weights else ", frozen"
    encoder = unet.encoder.parameters
    whole = parameters_of(model)
    drawing.text(MARGIN, y, whole, 9.5, bold=True)
    x = MARGIN + drawing.text_width(whole, 9.5, bold=True) + 0.35
    halves = (
        (PALE_BLUE, BLUE, f"encoder: {short(encoder)}{frozen}"),
        (PALE_ORANGE, ORANGE, f"decoder: {short(total - encoder)}"),
    )
    for fill, edge, text in halves:
        drawing.box(x, y - 0.07, 0.2, 0.14, fill=fill, edge=edge)
        drawing.text(x + 0.28, y, text, 9.5, color=GREY)
        x += 0.28 + drawing.text_width(text, 9.5) + 0.3
