"""Histograms of measurements: sizes and intensities of nuclei."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nucleiseg.errors import InvalidInputError
from nucleiseg.plotting._canvas import BLUE, GREY, INK, LINE, ORANGE, check_picture_path, new_figure, save_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["plot_histograms"]

_SIZES = ("area_um2", "area")
_INTENSITY = re.compile(r"mean_intensity_|intensity_mean-")
_UNITS = {"area": "pixels", "area_um2": "µm²"}
_MOST_BINS = 60
_PANEL_WIDTH, _HEIGHT, _IN_A_ROW = 3.1, 2.5, 3  # inches, inches, panels


def plot_histograms(
    table: pd.DataFrame, path: str | os.PathLike[str], columns: Sequence[str] | None = None, title: str = ""
) -> Path:
    """Draw how sizes and intensities are distributed, one panel a column.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a nucleus, as `nucleiseg.instances.measure` returns, of one image or of many.
    path : str or path-like
        The picture to write: ``.png``, ``.svg`` or ``.pdf``.
    columns : sequence of str, optional
        What to show; by default the area (in µm² if it is known) and the mean intensity of each channel, without
        channels that are the same everywhere, as alpha often is.
    title : str
        A line above all panels.

    Returns
    -------
    pathlib.Path
        Where the picture is.

    Raises
    ------
    InvalidInputError
        If there is no nucleus, a column is missing or holds no number, or the suffix names no known picture format.

    Examples
    --------
    >>> import tempfile
    >>> from nucleiseg.instances import measure
    >>> table = measure(np.arange(64).reshape(8, 8))
    >>> plot_histograms(table, tempfile.mkdtemp() + "/sizes.png").name
    'sizes.png'
    """
    target = check_picture_path(path)
    names = _default_columns(table) if columns is None else list(columns)
    panels = [(name, _finite(table, name)) for name in names]
    if not panels:
        raise InvalidInputError("a histogram needs a column, got none; choose from the columns of the table")

    rows, across = -(-len(panels) // _IN_A_ROW), min(len(panels), _IN_A_ROW)
    top = 0.3 if title else 0.0
    width, height = _PANEL_WIDTH * across, _HEIGHT * rows + top
    figure = new_figure(width, height)
    grid = figure.subplots(rows, across, squeeze=False)
    figure.subplots_adjust(
        left=0.55 / width,
        right=1 - 0.2 / width,
        bottom=0.5 / height,
        top=1 - (0.4 + top) / height,
        wspace=0.28,
        hspace=0.65,
    )
    if title:
        figure.text(
            0.2 / width,
            1 - 0.2 / height,
            title,
            fontsize=10.5,
            fontweight="bold",
            color=INK,
            va="center",
            parse_math=False,
        )
    for panel in grid.flat[len(panels) :]:
        panel.set_visible(False)
    for panel, (name, values) in zip(grid.flat, panels, strict=False):
        _draw_panel(panel, name, values)
    return save_figure(figure, target)


def _default_columns(table: pd.DataFrame) -> list[str]:
    size = next((name for name in _SIZES if name in table), None)
    intensities = [str(name) for name in table if _INTENSITY.match(str(name)) and table[name].nunique() > 1]
    return [*([size] if size else []), *intensities]


def _finite(table: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """The numbers of a column; empty cells are left out: images of several kinds have different channels."""
    if name not in table or table[name].dtype.kind not in "biuf":
        raise InvalidInputError(
            f"columns must be numbers of the table, got {name!r}; choose from {', '.join(map(str, table.columns))}"
        )
    cells: npt.NDArray[np.float64] = table[name].to_numpy(np.float64)
    values: npt.NDArray[np.float64] = cells[np.isfinite(cells)]
    if not values.size:
        raise InvalidInputError(f"a histogram needs at least one nucleus, but {name!r} is empty; check the table")
    return values


def _draw_panel(panel: Axes, name: str, values: npt.NDArray[np.float64]) -> None:
    from matplotlib.ticker import MaxNLocator

    # A few giants, clumps most often, must not squeeze all others into one bar.
    limit = 1.3 * float(np.quantile(values, 0.99))
    shown = values[values <= limit] if limit > 0 and values.max() > 1.5 * limit else values
    edges = np.histogram_bin_edges(shown, bins="auto")
    if edges.size > _MOST_BINS + 1:
        edges = np.linspace(edges[0], edges[-1], _MOST_BINS + 1)
    panel.hist(shown, bins=edges.tolist(), color=BLUE, edgecolor="white", linewidth=0.4)
    median = float(np.median(values))
    panel.axvline(median, color=ORANGE, linewidth=1.4)
    unit = f" {_UNITS[name]}" if name in _UNITS else ""
    heading = _wording(name)  # of the user's channels, which may have dollars in their names
    panel.set_title(heading, loc="left", fontsize=10, fontweight="bold", color=INK, pad=6, parse_math=False)
    panel.set_title(f"median {median:.4g}{unit}", loc="right", fontsize=8.5, color=ORANGE, pad=6)
    beyond = f", {values.size - shown.size} larger not shown" if shown.size < values.size else ""
    panel.set_xlabel(f"{values.size:,} nuclei{beyond}", fontsize=8.5, color=GREY)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=5))
    panel.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    panel.tick_params(labelsize=8, color=LINE, labelcolor=GREY)
    panel.grid(axis="y", color=LINE, linewidth=0.5, alpha=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _wording(name: str) -> str:
    """A column's name in words."""
    if name in _SIZES:
        return "Area"
    if found := _INTENSITY.match(name):
        return f"Intensity {name[found.end() :]}"
    return name.replace("_", " ").capitalize()
