"""How long the outlines of nuclei are."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["outline_lengths"]


def outline_lengths(numbers: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.float64]:
    """Length of the outline of each nucleus in pixels, by Crofton's formula with two directions [1]_.

    The edges of pixels between a nucleus and what surrounds it, times π / 4: a staircase is longer than the curve that
    it follows. Discs come out right on average, ellipses twice as long as wide within 3 %, squares a fifth too short.
    Holes count. The edge of the image does not: whether a nucleus ends there cannot be seen.

    Parameters
    ----------
    numbers : numpy.ndarray of int32, (H, W)
        0 background, 1 to ``count`` the nuclei.
    count : int
        How many nuclei there are.

    Returns
    -------
    numpy.ndarray of float64, (count,)
        0 only for a nucleus that fills the image.

    References
    ----------
    .. [1] Lehmann, Legland: Efficient N-dimensional surface estimation using Crofton formula and run-length encoding,
       Insight Journal, 2012.

    Examples
    --------
    >>> rows, columns = np.mgrid[-20:21, -20:21]
    >>> disc = (rows**2 + columns**2 <= 15**2).astype(np.int32)
    >>> print((outline_lengths(disc, 1) / (2 * np.pi * 15)).round(2))
    [1.03]
    """
    width = numbers.shape[1]
    pixels = numbers.ravel()
    beside = np.flatnonzero(pixels[1:] != pixels[:-1])
    beside = beside[(beside + 1) % width != 0]
    below = np.flatnonzero(pixels[width:] != pixels[:-width])
    sides = np.concatenate([beside, beside + 1, below, below + width])
    edges = np.bincount(pixels[sides], minlength=count + 1)[1:]
    return edges.astype(np.float64) * (math.pi / 4)
