"""Whether labels lie on what is seen: nuclei are brighter or darker than what is around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleiseg.datasets.records import Array

__all__ = ["Contrast", "measure_contrast"]

_ENOUGH = 20  # pixels of either side
_MOST_PIXELS = 2**16
_DOUBTFUL = 0.5  # below it, other ways to lay the labels are tried
_FAR_BETTER = 0.4

_Turn = Callable[[Array], Array]
_TURNS: dict[str, _Turn] = {
    "flipped upside down": np.flipud,
    "flipped left to right": np.fliplr,
    "turned by 180°": lambda labels: np.rot90(labels, 2),
}
_TURNS_OF_SQUARES: dict[str, _Turn] = {
    "transposed": np.transpose,
    "turned by 90°": np.rot90,
    "turned by 270°": lambda labels: np.rot90(labels, 3),
    "transposed and turned by 180°": lambda labels: np.rot90(labels.T, 2),
}


@dataclass(frozen=True)
class Contrast:
    """How well labels fit their image.

    Parameters
    ----------
    value : float
        From 0, nuclei are as bright as the rest, to 1, all of their pixels are brighter, or all are darker.
    turn : str
        How the labels fit far better; empty if they don't.
    """

    value: float = 1.0
    turn: str = ""


def measure_contrast(colours: Array, nuclei: NDArray[np.bool_]) -> Contrast:
    """How well nuclei can be told from the rest by the channel that tells most; 1 where there is nothing to compare.

    It is |2 A - 1|, with A the probability that a pixel of a nucleus is brighter than one of the rest. Images of the
    Data Science Bowl have .8 and more; with the labels of another image of the same size, nine of ten have less than .3
    (`tests/test_datasets_dsb2018.py`).

    Parameters
    ----------
    colours : numpy.ndarray, (H, W, C)
        Finite.
    nuclei : numpy.ndarray of bool, (H, W)
        True in nuclei.

    Examples
    --------
    >>> image = np.zeros((16, 16, 1))
    >>> image[2:6, 8:14] = 1
    >>> nuclei = image[..., 0] > 0
    >>> measure_contrast(image, nuclei), measure_contrast(image, nuclei.T).turn
    (Contrast(value=1.0, turn=''), 'transposed')
    """
    step = int(np.ceil(np.sqrt(max(1, nuclei.size / _MOST_PIXELS))))
    colours, nuclei = colours[::step, ::step], nuclei[::step, ::step]
    count = np.count_nonzero(nuclei)
    if min(count, nuclei.size - count) < _ENOUGH:
        return Contrast()
    channels = [colours[..., 0]]
    channels += [one for one in np.moveaxis(colours, -1, 0)[1:] if not np.array_equal(one, channels[0])]
    ranks = [_ranks(channel) for channel in channels]
    value = max(_told(ranked, nuclei) for ranked in ranks)
    if value >= _DOUBTFUL:
        return Contrast(value)
    turns = _TURNS | (_TURNS_OF_SQUARES if nuclei.shape[0] == nuclei.shape[1] else {})
    fits = {name: max(_told(ranked, turn(nuclei)) for ranked in ranks) for name, turn in turns.items()}
    best = max(fits, key=lambda name: fits[name])
    return Contrast(value, best if fits[best] >= value + _FAR_BETTER else "")


def _ranks(pixels: Array) -> Array:
    """Of each pixel, how many are darker, and half of those that are equal."""
    if pixels.dtype in (np.uint8, np.uint16):  # counted in a fraction of the time that sorting takes
        values, counts = pixels, np.bincount(pixels.ravel())
    else:
        _, values, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - counts / 2)[values].reshape(pixels.shape))


def _told(ranks: Array, nuclei: NDArray[np.bool_]) -> float:
    inside = np.count_nonzero(nuclei)
    darker = ranks[nuclei].sum() - inside**2 / 2  # pairs with a pixel of the rest that is darker
    return float(abs(2 * darker / (inside * (nuclei.size - inside)) - 1))
