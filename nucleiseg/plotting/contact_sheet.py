"""Contact sheets of a folder: small pictures of many images, with their names and counts."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_count, describe
from nucleiseg.errors import InvalidInputError
from nucleiseg.plotting._canvas import DPI, GREY, INK, Drawing, check_picture_path

__all__ = ["Thumbnail", "plot_contact_sheet"]

# Inches.
_CELL, _GAP, _MARGIN, _HEADING, _CAPTION = 1.6, 0.1, 0.12, 0.36, 0.3
_MOST_ACROSS = 6


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A picture on a contact sheet; it is made small at once, so that many need little memory.

    Parameters
    ----------
    title, note : str
        Below the picture: the file's name on the left, and a few words on the right, such as the number of nuclei.
    picture : array-like of uint8, (H, W, 3)
        Red, green and blue, as `nucleiseg.images.overlay` returns them.

    Raises
    ------
    InvalidInputError
        If the picture has another shape or dtype.

    Examples
    --------
    >>> Thumbnail("a.tif", np.zeros((2000, 1000, 3), np.uint8), "12 nuclei").picture.shape
    (240, 120, 3)
    """

    title: str
    picture: npt.ArrayLike = field(repr=False)
    note: str = ""

    def __post_init__(self) -> None:
        pixels = np.asarray(self.picture)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0 or pixels.dtype != np.uint8:
            raise InvalidInputError(
                f"picture must be uint8 (H, W, 3), got {describe(pixels)}; use nucleiseg.images.overlay"
            )
        object.__setattr__(self, "picture", _shrink(pixels, round(_CELL * DPI)))


def plot_contact_sheet(
    thumbnails: Sequence[Thumbnail], path: str | os.PathLike[str], title: str = "", across: int | None = None
) -> Path:
    """Draw small pictures in rows, each with its name and a note.

    Parameters
    ----------
    thumbnails : sequence of Thumbnail
        In the order in which they are read, from left to right.
    path : str or path-like
        The picture to write: ``.png``, ``.svg`` or ``.pdf``.
    title : str
        A line above all of them.
    across : int, optional
        Pictures in a row; by default up to 6, so that the sheet is about square.

    Returns
    -------
    pathlib.Path
        Where the picture is.

    Raises
    ------
    InvalidInputError
        If there is no picture, or the suffix names no known picture format.

    Examples
    --------
    >>> import tempfile
    >>> tile = Thumbnail("a.tif", np.full((32, 32, 3), 90, np.uint8), "3 nuclei")
    >>> plot_contact_sheet([tile, tile], tempfile.mkdtemp() + "/sheet.png", "plate 7").name
    'sheet.png'
    """
    target = check_picture_path(path)
    if len(thumbnails) == 0:
        raise InvalidInputError("a contact sheet must have a picture, got none; add at least one")
    columns = min(_MOST_ACROSS, math.ceil(math.sqrt(len(thumbnails))))
    if across is not None:
        columns = check_count(across, "across")
    rows = [thumbnails[start : start + columns] for start in range(0, len(thumbnails), columns)]
    # A row is as high as its highest picture; none is higher than it is wide.
    heights = [max(_height(tile) for tile in row) for row in rows]
    top = _HEADING if title else _MARGIN
    width = 2 * _MARGIN + columns * _CELL + (columns - 1) * _GAP
    drawing = Drawing(width, top + sum(height + _CAPTION for height in heights) + _MARGIN / 2)
    if title:
        drawing.text(_MARGIN, top / 2 + 0.02, title, 10, bold=True, color=INK, width=width - 2 * _MARGIN)
    y = top
    for row, height in zip(rows, heights, strict=True):
        for index, tile in enumerate(row):
            _draw_tile(drawing, tile, _MARGIN + index * (_CELL + _GAP), y, height)
        y += height + _CAPTION
    return drawing.save(target, colours=256)


def _draw_tile(drawing: Drawing, tile: Thumbnail, x: float, y: float, row_height: float) -> None:
    pixels = np.asarray(tile.picture)
    height = _height(tile)
    width = height * pixels.shape[1] / pixels.shape[0]
    drawing.image(x + (_CELL - width) / 2, y + row_height - height, width, height, pixels)
    note = drawing.text_width(tile.note, 7) + 0.15 if tile.note else 0.0
    line = y + row_height + 0.12
    drawing.text(x, line, tile.title, 7, color=INK, width=_CELL - note)
    drawing.text(x + _CELL, line, tile.note, 7, color=GREY, align="right")


def _height(tile: Thumbnail) -> float:
    rows, columns = np.asarray(tile.picture).shape[:2]
    return _CELL * min(1.0, float(rows / columns))


def _shrink(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """At most ``side`` pixels high and wide; thin outlines are averaged, not lost."""
    from PIL import Image

    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
