"""An encoder as a chain of stages, each with its blocks, from the image down to the coarsest feature map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nucleiseg.plotting._canvas import BLUE, GREY, LINE, ORANGE, PALE_BLUE, PALE_ORANGE, SHADE, Drawing
from nucleiseg.plotting._graph import Shape, kinds
from nucleiseg.plotting._unet_parts import Stage, block_name, encoder_stages
from nucleiseg.plotting._wording import amount, parameters_of, plural, shape_text, span

# Inches.
WIDTH = 9.6
MARGIN = 0.15
LEFT, CARD_WIDTH = 1.15, 6.55
TOP, FOOT = 0.95, 0.56
INPUT_HEIGHT = 0.36
GAP = 0.28  # between cards, for the arrow
PAD = 0.13
CARD_HEAD = 0.56  # the two lines above the blocks
CHIP_HEIGHT, CHIP_GAP, CHIP_STEP = 0.27, 0.16, 0.36
CHIP_SIZE = 8.5  # points
NEXT = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"


def draw_encoder(encoder: Any, input_shape: Shape | None, title: str, path: Path) -> Path:
    """Draw the diagram of an encoder."""
    shape, stages = encoder_stages(encoder, input_shape)
    ruler = Drawing(WIDTH, 1.0)
    rows = [_wrap(ruler, stage) for stage in stages]
    heights = [CARD_HEAD + CHIP_STEP * len(lines) + PAD / 2 for lines in rows]
    drawing = Drawing(WIDTH, TOP + INPUT_HEIGHT + sum(GAP + height for height in heights) + FOOT)
    drawing.text(MARGIN, 0.35, title, 15, bold=True, width=WIDTH - 2 * MARGIN)
    note = f"{plural(sum(len(stage.calls) for stage in stages), 'layer')}, in brackets for each block"
    drawing.text(MARGIN, 0.68, note, 9.5, color=GREY)
    drawing.box(LEFT, TOP, CARD_WIDTH, INPUT_HEIGHT, fill=SHADE, edge=LINE)
    drawing.text(LEFT + PAD, TOP + INPUT_HEIGHT / 2, "input", 9.5, bold=True)
    drawing.text(LEFT + CARD_WIDTH - PAD, TOP + INPUT_HEIGHT / 2, shape_text(shape), 9.5, align="right")
    y = TOP + INPUT_HEIGHT
    for number, (stage, lines, height) in enumerate(zip(stages, rows, heights, strict=True), start=1):
        drawing.arrow((LEFT + CARD_WIDTH / 2, y + 0.02), (LEFT + CARD_WIDTH / 2, y + GAP - 0.02))
        y += GAP
        _draw_card(drawing, y, height, stage, lines)
        _draw_tap(drawing, y + height / 2, stage, number)
        y += height
    drawing.text(MARGIN, y + FOOT / 2, parameters_of(encoder), 9.5, bold=True)
    return drawing.save(path)


def _wrap(ruler: Drawing, stage: Stage) -> list[list[tuple[str, float]]]:
    """The blocks of a stage, each with the width of its box, in lines that fit the card."""
    lines: list[list[tuple[str, float]]] = [[]]
    room = CARD_WIDTH - 2 * PAD
    used = 0.0
    for block in stage.blocks():
        name = block_name(block[0]) or span(block)
        text = f"{name}  ({len(block)})" if len(block) > 1 else name
        width = min(ruler.text_width(text, CHIP_SIZE) + 0.16, room)
        if lines[-1] and used + width > room:
            lines.append([])
            used = 0.0
        lines[-1].append((text, width))
        used += width + CHIP_GAP
    return lines


def _draw_card(drawing: Drawing, y: float, height: float, stage: Stage, lines: list[list[tuple[str, float]]]) -> None:
    drawing.text(MARGIN, y + 0.19, f"stride {stage.stride}", 10, bold=True)
    drawing.text(MARGIN, y + 0.41, shape_text((f"H/{stage.stride}", f"W/{stage.stride}")), 9, color=GREY)
    drawing.box(LEFT, y, CARD_WIDTH, height, fill=PALE_BLUE, edge=BLUE)
    size = f"{plural(len(stage.calls), 'layer')}, {amount(stage.parameters)}"
    right = LEFT + CARD_WIDTH - PAD
    room = CARD_WIDTH - 3 * PAD - drawing.text_width(size, 9)
    drawing.text(LEFT + PAD, y + 0.19, span(stage.calls), 9.5, bold=True, width=room)
    drawing.text(right, y + 0.19, size, 9, align="right")
    drawing.text(LEFT + PAD, y + 0.41, _kinds(drawing, stage), 8.5, color=GREY)
    for row, line in enumerate(lines):
        x = LEFT + PAD
        middle = y + CARD_HEAD + CHIP_STEP * row + CHIP_HEIGHT / 2
        for column, (text, width) in enumerate(line):
            drawing.box(x, middle - CHIP_HEIGHT / 2, width, CHIP_HEIGHT, edge=LINE, line=0.8)
            drawing.text(x + width / 2, middle, text, CHIP_SIZE, align="center", width=width - 0.1)
            x += width + CHIP_GAP
            if column < len(line) - 1 or row < len(lines) - 1:
                drawing.text(x - CHIP_GAP / 2, middle, NEXT, 10, align="center", color=GREY)


def _kinds(ruler: Drawing, stage: Stage) -> str:
    """The kinds of layers in a stage, as many as fit the card."""
    counted = [f"{count} {kind}" for kind, count in kinds(stage.calls)]
    text = ", ".join(counted)
    while len(counted) > 1 and ruler.text_width(text, 8.5) > CARD_WIDTH - 2 * PAD:
        counted.pop()
        text = ", ".join(counted) + ", …"
    return text


def _draw_tap(drawing: Drawing, y: float, stage: Stage, number: int) -> None:
    """The output of a stage, to the right of its card."""
    left = LEFT + CARD_WIDTH
    drawing.arrow((left + 0.03, y), (left + 0.28, y), color=ORANGE)
    width = WIDTH - MARGIN - left - 0.3
    drawing.box(left + 0.3, y - 0.26, width, 0.52, fill=PALE_ORANGE, edge=ORANGE)
    drawing.text(left + 0.38, y - 0.11, f"tap {number}", 8.5, width=width - 0.16, color=GREY)
    drawing.text(left + 0.38, y + 0.12, shape_text(stage.shape), 9, bold=True, width=width - 0.14)
