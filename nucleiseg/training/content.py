"""Where an image is difficult: how much of it lies where two nuclei meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg.training.targets import find_contacts

__all__ = ["CropContent", "content_shares"]

_CELL = 8  # pixels on a side: a map of 1000 x 1000 pixels takes 60 KB
_FLOOR = 0.5  # where no nuclei meet, crops are drawn as if half as many pixels as on average were contacts


@dataclass(frozen=True)
class CropContent:
    """Pixels where two nuclei meet, added up over cells from the first corner on: any window is counted at once.

    Parameters
    ----------
    sums : numpy.ndarray, (rows + 1, columns + 1)
        How many there are above and left of a corner of the cells.
    shape : (int, int)
        Height and width of the image in pixels.

    Examples
    --------
    >>> labels = np.zeros((16, 32), int)
    >>> labels[:8, :4], labels[:8, 4:8] = 1, 2
    >>> content = CropContent.of_labels(labels)
    >>> content.inside(np.array([[0, 0], [0, 16]]), (16, 16)).tolist()
    [0.125, 0.0]
    """

    sums: npt.NDArray[np.int64]
    shape: tuple[int, int]

    @classmethod
    def of_labels(cls, labels: npt.NDArray[Any]) -> CropContent:
        """Look for contacts as the target ``contact`` does.

        Parameters
        ----------
        labels : numpy.ndarray, (H, W)
            Integer labels.
        """
        height, width = labels.shape
        contacts = np.pad(find_contacts(np.asarray(labels)), ((0, -height % _CELL), (0, -width % _CELL)))
        rows, columns = (length // _CELL for length in contacts.shape)
        cells = contacts.reshape(rows, _CELL, columns, _CELL).sum(axis=(1, 3))
        return cls(np.pad(cells.cumsum(0).cumsum(1), ((1, 0), (1, 0))), (height, width))

    @property
    def share(self) -> float:
        """Of all pixels."""
        return float(self.sums[-1, -1]) / (self.shape[0] * self.shape[1])

    def inside(self, starts: npt.NDArray[np.int64], window: Sequence[int]) -> npt.NDArray[np.float64]:
        """The share of contacts in windows of one size at different places, to the cell.

        Parameters
        ----------
        starts : numpy.ndarray, (n, 2)
            First row and column of each window.
        window : (int, int)
            Height and width, which may reach beyond the image.
        """
        ends = np.minimum(starts + np.asarray(window), self.shape)
        first, last = starts // _CELL, -(-ends // _CELL)
        top, left, bottom, right = first[:, 0], first[:, 1], last[:, 0], last[:, 1]
        contacts = self.sums[bottom, right] - self.sums[top, right] - self.sums[bottom, left] + self.sums[top, left]
        shares: npt.NDArray[np.float64] = contacts / ((ends - starts).prod(axis=1))
        return shares

    def choose(
        self, starts: npt.NDArray[np.int64], window: Sequence[int], rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """One of several places, in proportion to the contacts there and half of those in the whole image on average.

        Parameters
        ----------
        starts : numpy.ndarray, (n, 2)
            First row and column of each window.
        window : (int, int)
            Height and width.
        rng : numpy.random.Generator
            Where the random number comes from.
        """
        shares = _with_floor(self.inside(starts, window), self.share)
        chosen: npt.NDArray[np.int64] = starts[int(rng.choice(len(starts), p=shares / shares.sum()))]
        return chosen


def content_shares(contents: Sequence[CropContent]) -> npt.NDArray[np.float64]:
    """How often images are to be drawn for what is in them, up to a factor: by the square root of their contacts.

    Examples
    --------
    >>> labels = np.zeros((2, 8, 8), int)
    >>> labels[1, :, :4], labels[1, :, 4:] = 1, 2
    >>> content_shares([CropContent.of_labels(each) for each in labels]).tolist()
    [0.5, 1.118033988749895]
    """
    shares = np.array([content.share for content in contents])
    mean = float(shares.mean())
    relative: npt.NDArray[np.float64] = _with_floor(shares, mean) / (mean or 1.0)
    return relative**0.5


def _with_floor(shares: npt.NDArray[np.float64], mean: float) -> npt.NDArray[np.float64]:
    """So that places and images where no nuclei meet are drawn, too."""
    return shares + _FLOOR * (mean or 1.0)
