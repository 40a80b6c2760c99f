"""Run-length coding of masks, down the columns; Kaggle's as pairs of start and length, counted from 1."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._checks import check_count, check_labels
from nucleiseg.errors import InvalidInputError

__all__ = ["decode_run_lengths", "encode_run_lengths", "find_runs"]


def encode_run_lengths(mask: NDArray[Any]) -> str:
    """Write a mask as the run-length text of the 2018 Data Science Bowl.

    Parameters
    ----------
    mask : (H, W) bool or integer array
        Non-zero pixels are inside.

    Returns
    -------
    text : str
        ``"start length start length ..."``: pixels are counted from 1, top to bottom and then left to right. Empty for
        an empty mask.

    Raises
    ------
    InvalidInputError
        If the mask is not a (H, W) array of bool or whole numbers.

    References
    ----------
    .. [1] https://www.kaggle.com/c/data-science-bowl-2018/overview/evaluation

    Examples
    --------
    >>> encode_run_lengths(np.array([[1, 0], [1, 1]]))
    '1 2 4 1'
    """
    inside = check_labels(mask, "mask").astype(bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(inside, prepend=False, append=False))
    runs = np.column_stack([edges[::2] + 1, edges[1::2] - edges[::2]])
    return " ".join(map(str, runs.ravel().tolist()))


def decode_run_lengths(text: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a mask from the run-length text of the 2018 Data Science Bowl.

    Parameters
    ----------
    text : str
        As `encode_run_lengths` writes it; the runs may come in any order.
    shape : (height, width)
        Size of the mask in pixels.

    Returns
    -------
    mask : (H, W) bool array

    Raises
    ------
    InvalidInputError
        If the text is no pairs of whole numbers, or the runs overlap or leave the mask.

    Examples
    --------
    >>> decode_run_lengths("1 2 4 1", (2, 2)).astype(int)
    array([[1, 0],
           [1, 1]])
    """
    height, width = (check_count(length, "each length of shape") for length in shape)
    size = height * width
    starts, lengths = _parse(text)
    order = np.argsort(starts)
    starts, stops = starts[order] - 1, (starts + lengths)[order] - 1
    if (lengths < 1).any() or (starts < 0).any() or (stops > size).any():
        raise InvalidInputError(
            f"runs must have a length of at least 1 and lie in pixels 1 to {size} of a mask of {height} x {width}, "
            f"got {_shorten(text)!r}; check that the text belongs to this image"
        )
    if (starts[1:] < stops[:-1]).any():
        raise InvalidInputError(f"runs must not overlap, got {_shorten(text)!r}; write each pixel once")
    # +1 where a run starts and -1 after its end; touching runs meet in one place, hence the unbuffered add.
    steps = np.zeros(size + 1, np.int8)
    np.add.at(steps, starts, 1)
    np.add.at(steps, stops, -1)
    return np.cumsum(steps[:-1], dtype=np.int8).astype(bool).reshape((height, width), order="F")


def find_runs(labels: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """The runs of every nucleus, found in one go.

    Parameters
    ----------
    labels : (H, W) integer array
        0 background.

    Yields
    ------
    label : int
        In rising order.
    starts, lengths : int64 arrays
        Runs of its pixels; pixels are counted from 0, top to bottom and then left to right.

    Raises
    ------
    InvalidInputError
        If the labels are not (H, W) integers from 0.

    Examples
    --------
    >>> [(label, starts.tolist(), lengths.tolist()) for label, starts, lengths in find_runs(np.array([[7, 0], [7, 7]]))]
    [(7, [0, 3], [2, 1])]
    """
    values = check_labels(labels).ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    lengths = np.diff(starts, append=values.size)
    inside = values[starts] != 0
    starts, lengths = starts[inside], lengths[inside]
    order = np.argsort(values[starts], kind="stable")
    starts, lengths = starts[order], lengths[order]
    names, firsts = np.unique(values[starts], return_index=True)
    for label, (first, last) in zip(names.tolist(), pairwise([*firsts.tolist(), starts.size]), strict=True):
        yield label, starts[first:last], lengths[first:last]


def _parse(text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    words = text.split() if isinstance(text, str) else [repr(text)]
    # Eighteen digits always fit into int64, and no image has more pixels.
    if not all(word.isascii() and word.isdigit() and len(word) <= 18 for word in words):
        raise InvalidInputError(
            f"run lengths must be text of whole numbers, such as '1 2 4 1', got {_shorten(str(text))!r}; "
            "check the column of the CSV file"
        )
    if len(words) % 2:
        raise InvalidInputError(
            f"run lengths must come in pairs of start and length, got {len(words)} numbers in {_shorten(text)!r}; "
            "check that the text is complete"
        )
    numbers = np.array(words, dtype=np.int64).reshape(-1, 2)
    return numbers[:, 0], numbers[:, 1]


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
