"""A sheet of paper to draw on: colours, a figure measured in inches, and saving."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nucleiseg._checks import check_choice
from nucleiseg._files import SOFTWARE, atomic_path

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

DPI = 150
FORMATS = (".pdf", ".png", ".svg")

# Okabe and Ito's colours, which people with any common kind of colour blindness can tell apart, and greys.
BLUE = "#0072B2"
ORANGE = "#D55E00"
SKY = "#56B4E9"
INK = "#222222"
GREY = "#666666"
LINE = "#C8C8C8"
SHADE = "#F1F1F1"
PALE_BLUE = "#E3EFF7"
PALE_ORANGE = "#FBE9DD"

Align = Literal["left", "center", "right"]


def as_rgb(colour: str) -> tuple[int, ...]:
    """Red, green and blue from 0 to 255 of a colour such as ``"#0072B2"``."""
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def check_picture_path(path: str | os.PathLike[str]) -> Path:
    """A path whose suffix names a picture format that can be written."""
    target = Path(path)
    check_choice(target.suffix.lower(), "picture suffix", FORMATS)
    return target


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of a size in inches, on an Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path, colours: int = 128) -> Path:
    """Write a figure, atomically, in the format that the suffix names.

    A PNG gets a palette of ``colours``, which makes the file a third as large; photographs need more than diagrams.
    """
    from PIL import Image, PngImagePlugin

    mark = PngImagePlugin.PngInfo()
    mark.add_text("Software", SOFTWARE)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, facecolor="white")
        if path.suffix.lower() == ".png":
            with Image.open(temporary) as picture:
                reduced = picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
            reduced.save(temporary, optimize=True, dpi=(DPI, DPI), pnginfo=mark)
    return path


class Drawing:
    """Boxes, text and arrows at positions in inches from the top left corner.

    Text that would not fit is shortened in its middle, so that the names of layers keep their telling ends.
    """

    def __init__(self, width: float, height: float) -> None:
        self.figure = new_figure(width, height)
        self._axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self._axes.set_axis_off()
        self._axes.set_xlim(0, width)
        self._axes.set_ylim(height, 0)

    def text_width(self, text: str, size: float, bold: bool = False) -> float:
        """Width of a line of text, in inches."""
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import TextToPath

        font = FontProperties(size=size, weight="bold" if bold else "normal")
        width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
        return width / 72  # points in an inch

    def fit(self, text: str, size: float, width: float, bold: bool = False) -> str:
        """The text, with its middle left out as far as needed to be at most ``width`` inches wide."""
        if self.text_width(text, size, bold) <= width:
            return text
        for kept in range(len(text) - 1, 1, -1):
            short = text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]
            if self.text_width(short, size, bold) <= width:
                return short
        return "…"

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 9.0,
        *,
        width: float | None = None,
        bold: bool = False,
        color: str = INK,
        align: Align = "left",
    ) -> None:
        """One line of text, centred vertically at ``y``."""
        shown = text if width is None else self.fit(text, size, width, bold)
        self._axes.text(
            x,
            y,
            shown,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            color=color,
            ha=align,
            va="center_baseline",
            parse_math=False,
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "white",
        edge: str = LINE,
        line: float = 1.0,
    ) -> None:
        """A box with slightly rounded corners."""
        from matplotlib.patches import FancyBboxPatch

        self._axes.add_patch(
            FancyBboxPatch(
                (x, y),
                width,
                height,
                boxstyle="round,pad=0,rounding_size=0.05",
                facecolor=fill,
                edgecolor=edge,
                linewidth=line,
            )
        )

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], *, color: str = GREY, line: float = 1.3
    ) -> None:
        """A straight arrow between two points."""
        from matplotlib.patches import FancyArrowPatch

        self._axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0, color=color, linewidth=line
            )
        )

    def line(
        self, start: tuple[float, float], end: tuple[float, float], *, color: str = GREY, width: float = 1.3
    ) -> None:
        """A straight line between two points."""
        self._axes.plot([start[0], end[0]], [start[1], end[1]], color=color, linewidth=width, solid_capstyle="butt")

    def image(self, x: float, y: float, width: float, height: float, pixels: NDArray[np.uint8]) -> None:
        """A picture stretched to a box."""
        self._axes.imshow(pixels, extent=(x, x + width, y + height, y), aspect="auto", origin="upper")

    def save(self, path: Path, colours: int = 128) -> Path:
        """Write the drawing; see `save_figure`."""
        return save_figure(self.figure, path, colours)
