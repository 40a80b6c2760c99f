"""Learning curves of a history."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nucleiseg.plotting._canvas import BLUE, GREY, INK, LINE, ORANGE, SHADE, check_picture_path, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nucleiseg.plotting.history import History

PANELS = (("loss", "Loss"), ("pixel_accuracy", "Pixel accuracy"), ("dice", "Dice"))
FINE_TUNE = "fine-tune"
PANEL_WIDTH, HEIGHT = 3.1, 2.8  # inches


def draw_curves(history: History, path: str | os.PathLike[str]) -> Path:
    """Draw a panel for each quantity that was recorded, with one legend above them."""
    target = check_picture_path(path)
    recorded = {key for row in history.rows for key in row}
    panels = [(name, title) for name, title in PANELS if recorded & {name, f"val_{name}"}]
    width = max(PANEL_WIDTH * len(panels), 1.5 * PANEL_WIDTH)  # room for the legend above a lone panel
    figure = new_figure(width, HEIGHT)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    figure.subplots_adjust(
        left=0.5 / width, right=1 - 0.15 / width, bottom=0.45 / HEIGHT, top=1 - 0.66 / HEIGHT, wspace=0.22
    )
    for panel, (name, title) in zip(axes, panels, strict=True):
        _draw_panel(panel, history, name, title)
    _draw_legend(figure, history)
    return save_figure(figure, target)


def _draw_panel(panel: Axes, history: History, name: str, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = history.column("epoch")
    best = epochs.index(history.best_epoch)
    panel.axvline(history.best_epoch, color=GREY, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
    for start, end in _fine_tuning(history):
        panel.axvspan(start - 0.5, end + 0.5, facecolor=SHADE, edgecolor="none", zorder=0)
    shown = []
    for key, color in ((name, BLUE), (f"val_{name}", ORANGE)):
        values = history.column(key)
        if not np.isfinite(values).any():
            continue
        # A lone value between gaps makes no line, so short runs get dots.
        marker = "o" if np.isfinite(values).sum() < 4 else ""
        panel.plot(epochs, values, color=color, linewidth=1.6, marker=marker, markersize=4, zorder=2)
        if np.isfinite(values[best]):
            shown.append((values[best], color))
    for value, color in shown:
        panel.plot(
            history.best_epoch,
            value,
            "o",
            color=color,
            markersize=5.5,
            markeredgecolor="white",
            markeredgewidth=1,
            zorder=3,
        )
    panel.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=INK, pad=7)
    if shown:  # the value on validation data where there is one
        value, color = shown[-1]
        panel.set_title(f"epoch {history.best_epoch}: {value:.4f}", loc="right", fontsize=9, color=color, pad=7)
    panel.set_xlabel("epoch", fontsize=9, color=GREY)
    panel.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    panel.tick_params(labelsize=8.5, color=LINE, labelcolor=GREY)
    panel.grid(axis="y", color=LINE, linewidth=0.5, alpha=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(LINE)


def _fine_tuning(history: History) -> list[tuple[float, float]]:
    """First and last epoch of each unbroken run of fine-tuning."""
    spans: list[tuple[float, float]] = []
    previous = None
    for row, epoch in zip(history.rows, history.column("epoch"), strict=True):
        phase = row.get("phase")
        if phase == FINE_TUNE:
            start = spans.pop()[0] if previous == FINE_TUNE else epoch
            spans.append((start, epoch))
        previous = phase
    return spans


def _draw_legend(figure: Figure, history: History) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    recorded = {key for row in history.rows for key in row}
    entries: list[Line2D | Patch] = [Line2D([], [], color=BLUE, linewidth=1.6, label="training")]
    if any(f"val_{name}" in recorded for name, _ in PANELS):
        entries.append(Line2D([], [], color=ORANGE, linewidth=1.6, label="validation"))
    entries.append(Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (3, 2)), label="best epoch"))
    if _fine_tuning(history):
        entries.append(Patch(facecolor=SHADE, edgecolor=LINE, linewidth=0.5, label="fine-tuning"))
    figure.legend(
        handles=entries,
        loc="upper left",
        bbox_to_anchor=(0.3 / figure.get_figwidth(), 1.0),
        ncols=len(entries),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=1.6,
        columnspacing=1.6,
    )
