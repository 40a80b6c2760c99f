"""Learning curves of a history."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nucleiseg.plotting._canvas import BLUE, GREY, INK, LINE, ORANGE, SHADE, check_picture_path, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nucleiseg.plotting.history import History

# Title of a panel, and its curves: a column (with val_ before it, that of validation), what tells it from the others of
# the panel, and how its line is drawn.
PANELS = (
    ("Loss", (("loss", "", "solid"),)),
    ("Pixel accuracy", (("pixel_accuracy", "", "solid"),)),
    ("Dice", (("dice", "", "solid"),)),
    ("AP", (("ap50", "at IoU .5", "solid"), ("ap", "mean of .5 to .95", "dashed"))),
)
WORDS = {"loss": "loss", "val_loss": "validation loss", "val_dice": "Dice", "val_ap": "AP, mean of .5 to .95"}
FINE_TUNE = "fine-tune"
PANEL_WIDTH, HEIGHT = 3.1, 2.8  # inches


def draw_curves(history: History, path: str | os.PathLike[str]) -> Path:
    """Draw a panel for each quantity that was recorded, with one legend above them."""
    target = check_picture_path(path)
    recorded = {key for row in history.rows for key in row}
    panels = [
        (title, curves) for title, curves in PANELS if any(recorded & {name, f"val_{name}"} for name, *_ in curves)
    ]
    width = max(PANEL_WIDTH * len(panels), 1.5 * PANEL_WIDTH)  # room for the legend above a lone panel
    figure = new_figure(width, HEIGHT)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    figure.subplots_adjust(
        left=0.5 / width, right=1 - 0.15 / width, bottom=0.45 / HEIGHT, top=1 - 0.66 / HEIGHT, wspace=0.22
    )
    for panel, (title, curves) in zip(axes, panels, strict=True):
        _draw_panel(panel, history, title, curves)
    _draw_legend(figure, history)
    return save_figure(figure, target)


def _draw_panel(panel: Axes, history: History, title: str, curves: Sequence[tuple[str, str, str]]) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = history.column("epoch")
    best = epochs.index(history.best_epoch)
    panel.axvline(history.best_epoch, color=GREY, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
    for start, end in _fine_tuning(history):
        panel.axvspan(start - 0.5, end + 0.5, facecolor=SHADE, edgecolor="none", zorder=0)
    best_values = []
    for key, color, style, label in _lines(curves):
        values = history.column(key)
        if not np.isfinite(values).any():
            continue
        # A lone value between gaps makes no line, so short runs get dots.
        marker = "o" if np.isfinite(values).sum() < 4 else ""
        panel.plot(
            epochs,
            values,
            color=color,
            linestyle=style,
            linewidth=1.6,
            marker=marker,
            markersize=4,
            zorder=2,
            label=label,
        )
        if np.isfinite(values[best]):
            best_values.append((values[best], color))
    for value, color in best_values:
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
    if best_values:  # those on validation data where there are any
        color = best_values[-1][1]
        numbers = ", ".join(f"{value:.4f}" for value, its_color in best_values if its_color == color)
        panel.set_title(f"epoch {history.best_epoch}: {numbers}", loc="right", fontsize=9, color=color, pad=7)
    if len(curves) > 1:
        panel.legend(fontsize=8, labelcolor=INK, frameon=True, framealpha=0.8, edgecolor="none", handlelength=2.4)
    panel.set_xlabel("epoch", fontsize=9, color=GREY)
    panel.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    panel.tick_params(labelsize=8.5, color=LINE, labelcolor=GREY)
    panel.grid(axis="y", color=LINE, linewidth=0.5, alpha=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(LINE)


def _lines(curves: Sequence[tuple[str, str, str]]) -> Iterator[tuple[str, str, str, str]]:
    """Column, colour, style and label of each line, those of validation last."""
    for prefix, color in (("", BLUE), ("val_", ORANGE)):
        for name, label, style in curves:
            yield f"{prefix}{name}", color, style, label


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
    if any(f"val_{name}" in recorded for _, curves in PANELS for name, *_ in curves):
        entries.append(Line2D([], [], color=ORANGE, linewidth=1.6, label="validation"))
    by = history.monitor
    chosen = "epoch that is kept, the last" if by == "epoch" else f"best epoch, by {WORDS.get(by, by)}"
    entries.append(Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (3, 2)), label=chosen))
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
