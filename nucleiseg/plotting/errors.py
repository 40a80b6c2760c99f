"""Pictures of what a model got right and wrong, nucleus by nucleus."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_image, check_labels, check_same_size
from nucleiseg.images.channels import to_rgb
from nucleiseg.images.overlay import of_neighbours
from nucleiseg.images.scaling import rescale
from nucleiseg.instances.assigning import assign
from nucleiseg.instances.overlaps import count_overlap
from nucleiseg.plotting._canvas import GREY, INK, ORANGE, SKY, Drawing, as_rgb, check_picture_path

__all__ = ["ErrorPicture", "draw_errors", "plot_errors"]

GREEN = "#00C896"
_FILL = 0.45  # how much a nucleus is tinted
_DARKEST, _BRIGHTEST = 20, 200  # of the grey image below, so that colours stand out on dark and bright ones
_SIDE = 900  # pixels; smaller images are enlarged, so that outlines hide little of them

# Inches.
_WIDTH, _TALLEST, _MARGIN, _TITLE, _LEGEND = 6.0, 9.0, 0.12, 0.36, 0.4


@dataclass(frozen=True, eq=False)
class ErrorPicture:
    """What `draw_errors` gives.

    Parameters
    ----------
    pixels : numpy.ndarray of uint8, (H, W, 3)
        The picture.
    found, false, missed : int
        Nuclei that match, predicted nuclei without a partner, true nuclei without a partner.

    Examples
    --------
    >>> ErrorPicture(np.zeros((8, 8, 3), np.uint8), found=2, false=0, missed=1)
    ErrorPicture(found=2, false=0, missed=1)
    """

    pixels: npt.NDArray[np.uint8] = field(repr=False)
    found: int
    false: int
    missed: int


def draw_errors(
    image: npt.ArrayLike, truth: npt.ArrayLike, predicted: npt.ArrayLike, threshold: float = 0.5
) -> ErrorPicture:
    """Colour nuclei by whether they are found (green), false (orange) or missed (blue).

    Parameters
    ----------
    image : array-like, (H, W) or (H, W, C)
        Any real dtype; shown in grey, so that the colours stand out.
    truth, predicted : array-like of int, (H, W)
        Labels, 0 background.
    threshold : float
        IoU from which a true and a predicted nucleus match.

    Returns
    -------
    ErrorPicture
        The picture, and how many there are of each. Found and false nuclei have their predicted shape, missed ones
        their true shape; of found ones the true outline is a thin white line. Two nuclei that were taken for one are
        two blue shapes within an orange outline. Small images are enlarged, very large ones made smaller.

    Raises
    ------
    InvalidInputError
        If an argument has another shape or dtype, the sizes differ, or the threshold is not above 0 and at most 1.

    Examples
    --------
    >>> draw_errors(np.zeros((1, 6)), [[1, 1, 0, 2, 0, 0]], [[5, 5, 0, 0, 0, 6]])
    ErrorPicture(found=1, false=1, missed=1)
    """
    pixels, true, guess = check_image(image), check_labels(truth, "truth"), check_labels(predicted, "predicted")
    check_same_size(pixels, true, ("image", "truth"))
    overlap = count_overlap(true, guess)
    pairs = assign(overlap, threshold)
    found_true = overlap.truth_labels[overlap.truth_index[pairs]]
    found_guess = overlap.predicted_labels[overlap.predicted_index[pairs]]

    grey = np.rint(_DARKEST + (_BRIGHTEST - _DARKEST) * rescale(to_rgb(pixels)).mean(axis=2)).astype(np.uint8)
    grey, true, guess = (_resize(array) for array in (grey, true, guess))
    picture = np.repeat(grey[..., np.newaxis], 3, axis=2)
    is_found = np.isin(guess, found_guess)
    is_false = (guess > 0) & ~is_found
    is_missed = (true > 0) & ~np.isin(true, found_true)
    for inside, color in ((is_found, GREEN), (is_missed, SKY), (is_false & ~is_missed, ORANGE)):
        picture[inside] = np.rint((1 - _FILL) * picture[inside] + _FILL * np.array(as_rgb(color)))
    line = max(1, round(1.6 * math.sqrt(true.size) / _SIDE))
    picture[_border(np.where(is_missed, 0, true), line) & ~is_missed] = 255
    for inside, labels, color in ((is_found, guess, GREEN), (is_missed, true, SKY), (is_false, guess, ORANGE)):
        picture[_border(np.where(inside, labels, 0), 2 * line)] = as_rgb(color)
    return ErrorPicture(
        picture, pairs.size, overlap.predicted_labels.size - pairs.size, overlap.truth_labels.size - pairs.size
    )


def plot_errors(
    image: npt.ArrayLike,
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    path: str | os.PathLike[str],
    *,
    threshold: float = 0.5,
    title: str = "",
) -> Path:
    """Draw found, false and missed nuclei, with a legend that counts them; see `draw_errors`.

    Parameters
    ----------
    image, truth, predicted, threshold
        As for `draw_errors`.
    path : str or path-like
        The picture to write: ``.png``, ``.svg`` or ``.pdf``.
    title : str
        A line above the image.

    Returns
    -------
    pathlib.Path
        Where the picture is.

    Raises
    ------
    InvalidInputError
        As `draw_errors`, and if the suffix names no known picture format.

    Examples
    --------
    >>> import tempfile
    >>> labels = np.eye(32, dtype=int)
    >>> plot_errors(labels * 200, labels, labels, tempfile.mkdtemp() + "/errors.png", title="diagonal").name
    'errors.png'
    """
    target = check_picture_path(path)
    drawn = draw_errors(image, truth, predicted, threshold)
    rows, columns = drawn.pixels.shape[:2]
    width = min(_WIDTH, _TALLEST * columns / rows)
    height = width * rows / columns
    page = max(width, 4.2)  # room for the legend below a narrow image
    top = _TITLE if title else _MARGIN
    drawing = Drawing(page + 2 * _MARGIN, top + height + _LEGEND)
    if title:
        drawing.text(_MARGIN, top / 2 + 0.02, title, 10, bold=True, width=page - 0.2)
    drawing.image(_MARGIN + (page - width) / 2, top, width, height, drawn.pixels)
    x, y = _MARGIN, top + height + _LEGEND / 2
    for color, text in (
        (GREEN, f"{drawn.found} found"),
        (ORANGE, f"{drawn.false} false"),
        (SKY, f"{drawn.missed} missed"),
        ("white", "true outline"),
    ):
        drawing.box(x, y - 0.06, 0.18, 0.12, fill=color, edge=INK, line=0.6)
        drawing.text(x + 0.25, y, text, 9, color=GREY)
        x += 0.25 + drawing.text_width(text, 9) + 0.25
    return drawing.save(target, colours=256)


def _resize(array: Array) -> Array:
    """By a whole factor, so that no nucleus changes its shape, or by leaving out rows and columns."""
    side = math.sqrt(array.size)
    factor, step = max(1, round(_SIDE / side)), math.ceil(side / (2 * _SIDE))
    return np.repeat(np.repeat(array[::step, ::step], factor, axis=0), factor, axis=1)


def _border(labels: Array, lines: int) -> npt.NDArray[np.bool_]:
    """Pixels of nuclei that have another value beside them, ``lines`` wide."""
    highest = lowest = labels
    for _ in range(lines):
        highest, lowest = of_neighbours(np.maximum, highest), of_neighbours(np.minimum, lowest)
    inside: npt.NDArray[np.bool_] = (labels > 0) & (highest != lowest)
    return inside
