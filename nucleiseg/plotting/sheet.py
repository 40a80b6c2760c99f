"""Contact sheets: images beside their true and predicted masks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_choice, check_image, check_labels, check_same_size
from nucleiseg.errors import InvalidInputError
from nucleiseg.images.channels import to_rgb
from nucleiseg.images.overlay import overlay
from nucleiseg.images.scaling import rescale
from nucleiseg.plotting._canvas import GREY, INK, ORANGE, SKY, Drawing, as_rgb, check_picture_path

__all__ = ["Row", "plot_predictions"]

Picture = npt.NDArray[np.uint8]

# Inches.
CELL, GAP, MARGIN = 1.95, 0.1, 0.12
HEADING, CAPTION, LEGEND = 0.32, 0.33, 0.36
TALLEST = 1.25  # height of a cell for a width of 1


@dataclass(frozen=True)
class Row:
    """One sample of a contact sheet.

    Parameters
    ----------
    title : str
        A short caption, printed above the images.
    image : array-like, (H, W) or (H, W, C)
        Any real dtype.
    truth, predicted : array-like of int or bool, (H, W)
        Masks, or labels; 0 is background.

    Raises
    ------
    InvalidInputError
        If an array has another shape or dtype, or the sizes differ.

    Examples
    --------
    >>> Row("well A01", image=np.zeros((4, 4)), truth=np.eye(4, dtype=int), predicted=np.eye(4) > 0).title
    'well A01'
    """

    title: str
    image: npt.ArrayLike
    truth: npt.ArrayLike
    predicted: npt.ArrayLike

    def __post_init__(self) -> None:
        image = check_image(self.image)
        check_same_size(image, check_labels(self.truth, "truth"), ("image", "truth"))
        check_same_size(image, check_labels(self.predicted, "predicted"), ("image", "predicted"))
        for name in ("image", "truth", "predicted"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))


def plot_predictions(
    samples: Sequence[Row],
    path: str | os.PathLike[str],
    columns: Sequence[str] = ("image", "true mask", "predicted mask"),
) -> Path:
    """Draw a contact sheet: a row for each sample, its image and masks side by side.

    Parameters
    ----------
    samples : sequence of Row
        What to show, from top to bottom.
    path : str or path-like
        The picture to write: ``.png``, ``.svg`` or ``.pdf``.
    columns : sequence of str
        What to show of each sample, from left to right:

        - ``"image"``: contrast stretched as for prediction;
        - ``"true mask"``, ``"predicted mask"``: white on black;
        - ``"agreement"``: both masks in one, white where they agree, coloured where one of them lacks a pixel;
        - ``"overlay"``: the image with the outlines of the predicted nuclei.

    Returns
    -------
    pathlib.Path
        Where the picture is.

    Raises
    ------
    InvalidInputError
        If there is no sample, a column is unknown or the suffix names no known picture format.

    Examples
    --------
    >>> import tempfile
    >>> truth = np.eye(32, dtype=bool)
    >>> sample = Row("diagonal", truth * 200.0, truth, np.roll(truth, 1, axis=0))
    >>> plot_predictions([sample], tempfile.mkdtemp() + "/sheet.png", ("image", "agreement")).name
    'sheet.png'
    """
    target = check_picture_path(path)
    if len(samples) == 0 or len(columns) == 0:
        raise InvalidInputError(
            f"a contact sheet must have a sample and a column, got {len(samples)} and {len(columns)}; add at least one"
        )
    for column in columns:
        check_choice(column, "column", _COLUMNS)
    heights = [CELL * min(np.shape(row.image)[0] / np.shape(row.image)[1], TALLEST) for row in samples]
    legend = LEGEND if "agreement" in columns else MARGIN
    width = 2 * MARGIN + len(columns) * CELL + (len(columns) - 1) * GAP
    drawing = Drawing(width, HEADING + sum(CAPTION + height for height in heights) + legend)
    for index, column in enumerate(columns):
        drawing.text(MARGIN + index * (CELL + GAP), HEADING / 2 + 0.04, column, 10, bold=True)
    y = HEADING
    for row, height in zip(samples, heights, strict=True):
        drawing.text(MARGIN, y + CAPTION - 0.11, row.title, 8.5, color=GREY, width=width - 2 * MARGIN)
        y += CAPTION
        for index, column in enumerate(columns):
            _draw_cell(drawing, MARGIN + index * (CELL + GAP), y, height, _COLUMNS[column](row))
        y += height
    if "agreement" in columns:
        _draw_legend(drawing, y + LEGEND / 2)
    return drawing.save(target, colours=256)


def _draw_cell(drawing: Drawing, x: float, y: float, height: float, picture: Picture) -> None:
    # A picture taller than its cell keeps its proportions, in the middle.
    width = min(CELL, height * picture.shape[1] / picture.shape[0])
    x += (CELL - width) / 2
    drawing.image(x, y, width, height, picture)


def _draw_legend(drawing: Drawing, y: float) -> None:
    x = MARGIN
    for color, text in (("white", "nucleus in both"), (SKY, "missed"), (ORANGE, "predicted where there is none")):
        drawing.box(x, y - 0.06, 0.18, 0.12, fill=color, edge=INK, line=0.6)
        drawing.text(x + 0.25, y, text, 8.5, color=GREY)
        x += 0.25 + drawing.text_width(text, 8.5) + 0.25


def _image(row: Row) -> Picture:
    return np.rint(rescale(to_rgb(row.image)) * 255).astype(np.uint8)


def _mask(labels: npt.ArrayLike) -> Picture:
    inside = np.asarray(labels) > 0
    return np.repeat((inside * np.uint8(255))[..., np.newaxis], 3, axis=2)


def _agreement(row: Row) -> Picture:
    true, predicted = np.asarray(row.truth) > 0, np.asarray(row.predicted) > 0
    picture = _mask(true & predicted)
    picture[true & ~predicted] = as_rgb(SKY)
    picture[predicted & ~true] = as_rgb(ORANGE)
    return picture


_COLUMNS: dict[str, Callable[[Row], Picture]] = {
    "image": _image,
    "true mask": lambda row: _mask(row.truth),
    "predicted mask": lambda row: _mask(row.predicted),
    "agreement": _agreement,
    "overlay": lambda row: overlay(row.image, row.predicted),
}
