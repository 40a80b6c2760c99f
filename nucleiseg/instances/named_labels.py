"""The nuclei of one image and what the image is called: what exporters are given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_labels, check_pixel_size
from nucleiseg.instances.measuring import measure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NamedLabels", "label_numbers", "paint"]


_HIGHEST = np.iinfo(np.int32).max
_MOST_DIGITS = len(str(_HIGHEST))


@dataclass(frozen=True, eq=False)
class NamedLabels:
    """The nuclei of one image.

    Parameters
    ----------
    id : str
        Name of the image, unique among those that are exported together.
    labels : array-like of int, (H, W)
        0 background.
    file_name : str
        The image's file, relative to the folder of all images; by default the id.
    pixel_size : float, optional
        Height and width of a pixel in µm, if known.
    measurements : pandas.DataFrame, optional
        A row a nucleus with a column ``label``; see `table`.
    quality : str, optional
        What speaks against trusting the image, empty if nothing does; None if it was not judged.

    Raises
    ------
    InvalidInputError
        If the labels are not (H, W) integers from 0, or the pixel size is not above 0.

    Examples
    --------
    >>> NamedLabels("well_A01", [[0, 2], [1, 1]]).table()[["label", "area"]]
       label  area
    0      1     2
    1      2     1
    """

    id: str
    labels: npt.ArrayLike = field(repr=False)
    file_name: str = ""
    pixel_size: float | None = None
    measurements: pd.DataFrame | None = field(default=None, repr=False)
    quality: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", check_labels(self.labels))
        object.__setattr__(self, "file_name", self.file_name or self.id)
        object.__setattr__(self, "pixel_size", check_pixel_size(self.pixel_size))

    def table(self) -> pd.DataFrame:
        """The measurements that were given, or those of the labels alone."""
        return measure(self.labels) if self.measurements is None else self.measurements


def label_numbers(names: Iterable[object]) -> list[int]:
    """Labels from the names of nuclei, which may be numbers or text.

    They are the names where all are different whole numbers above 0 that int32 holds, otherwise 1, 2, 3, …

    Examples
    --------
    >>> label_numbers(["0007", "0003"]), label_numbers(["7", "a"]), label_numbers(["7", "7"])
    ([7, 3], [1, 2], [1, 2])
    """
    numbers = [_label_of(name) for name in names]
    if 0 in numbers or len(set(numbers)) < len(numbers):
        return list(range(1, len(numbers) + 1))
    return numbers


def _label_of(name: object) -> int:
    """The label that a name says; 0 if it says none."""
    number = name
    if isinstance(name, str) and len(name) <= _MOST_DIGITS and name.isascii() and name.isdigit():
        number = int(name)
    if isinstance(number, int) and not isinstance(number, bool) and 0 < number <= _HIGHEST:
        return number
    return 0


def paint(labels: npt.NDArray[np.int32], label: int, row: int, column: int, inside: npt.NDArray[np.bool_]) -> None:
    """Give the pixels of a box a label, over what was there before."""
    box = labels[row : row + inside.shape[0], column : column + inside.shape[1]]
    box[inside] = label
