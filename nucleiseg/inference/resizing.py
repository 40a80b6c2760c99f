"""Images, maps and labels on another grid of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_labels, check_number_array, check_size, describe
from nucleiseg.errors import InvalidInputError

_RANGE = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


def resize_maps(maps: npt.ArrayLike, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize an image or maps, bilinearly; what is shrunk is smoothed first.

    Parameters
    ----------
    maps : array-like, (H, W) or (H, W, C)
        Any real dtype.
    size : (int, int)
        Height and width to get.

    Returns
    -------
    numpy.ndarray of float32
        (height, width) or (height, width, C), within the range of the input.

    Raises
    ------
    InvalidInputError
        If the size is not (height, width), or the maps are not (H, W) or (H, W, C) of finite real numbers.

    Examples
    --------
    >>> resize_maps(np.eye(2), (4, 4)).shape
    (4, 4)
    """
    from skimage.transform import resize

    size = check_size(size, "size")
    array = check_number_array(maps, "maps")
    if array.ndim not in (2, 3) or not array.size:
        raise InvalidInputError(f"maps must be (H, W) or (H, W, C) with at least one pixel, got {describe(array)}")
    values = np.clip(array, *_RANGE).astype(np.float32)
    if values.shape[:2] == size:
        return values
    shrinks = size[0] < values.shape[0] or size[1] < values.shape[1]
    resized = resize(values, size, order=1, mode="reflect", anti_aliasing=shrinks, preserve_range=True)
    result: npt.NDArray[np.float32] = np.clip(resized, values.min(), values.max()).astype(np.float32)
    return result


def resize_labels(labels: npt.ArrayLike, size: tuple[int, int]) -> npt.NDArray[Any]:
    """Resize labels: each pixel gets the label at its centre, none is mixed. Nuclei may vanish where much is shrunk.

    Parameters
    ----------
    labels : array-like of int, (H, W)
        0 background.
    size : (int, int)
        Height and width to get.

    Returns
    -------
    numpy.ndarray, (height, width)
        The input's dtype.

    Raises
    ------
    InvalidInputError
        If the size is not (height, width), or the labels are not (H, W) integers from 0.

    Examples
    --------
    >>> resize_labels(np.array([[1, 2]]), (2, 4)).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    values = check_labels(labels)
    rows, cols = (
        ((np.arange(want) + 0.5) * have / want).astype(np.intp)
        for want, have in zip(check_size(size, "size"), values.shape, strict=True)
    )
    taken: npt.NDArray[Any] = values[rows[:, np.newaxis], cols]
    return taken
