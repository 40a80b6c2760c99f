"""A few labelled images of one's own, and images of the kind that should not be forgotten, in parts. No Keras."""

from __future__ import annotations

from dataclasses import dataclass

from nucleiseg.datasets import Dataset
from nucleiseg.errors import InvalidInputError

__all__ = ["FEWEST", "OwnImages", "split_own", "split_reference"]

FEWEST = 5
"""Images of one's own: three to learn from, one to choose by, one to judge by."""

_SHARES = (0.6, 0.2, 0.2)
_REHEARSED = 100  # reference images; more would hardly come up
_CHOSEN_BY = 20  # reference images; more would hardly move a threshold


@dataclass(frozen=True)
class OwnImages:
    """One's own labelled images, in three parts that share none.

    Parameters
    ----------
    learn : Dataset
        What the model is trained on.
    choose : Dataset
        By which the epoch and the thresholds are chosen.
    held_out : Dataset
        By which the model is judged, before and after.

    Raises
    ------
    InvalidInputError
        If a part is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from nucleiseg import datasets
    >>> data = datasets.from_arrays(np.zeros((3, 8, 8), np.uint8), np.zeros((3, 8, 8), int))
    >>> OwnImages(data[:1], data[1:2], data[2:]).held_out.ids
    ('0002',)
    """

    learn: Dataset
    choose: Dataset
    held_out: Dataset

    def __post_init__(self) -> None:
        sizes = len(self.learn), len(self.choose), len(self.held_out)
        if not all(sizes):
            raise InvalidInputError(
                "fine-tuning needs images to learn from (train), to choose by (val) and to judge by (test), got "
                f"{', '.join(map(str, sizes))}; give each part one at least, or leave the splitting to nucleiseg"
            )


def split_own(data: Dataset, seed: int = 0) -> OwnImages:
    """Split a few labelled images: three fifths to learn from, a fifth to choose by, a fifth to judge by.

    At random: where neighbours or images of one donor would come into different parts, split by hand.

    Raises
    ------
    InvalidInputError
        If there are fewer than 5.

    Examples
    --------
    >>> import numpy as np
    >>> from nucleiseg import datasets
    >>> own = split_own(datasets.from_arrays(np.zeros((10, 8, 8), np.uint8), np.zeros((10, 8, 8), int)))
    >>> len(own.learn), len(own.choose), len(own.held_out)
    (6, 2, 2)
    """
    if len(data) < FEWEST:
        raise InvalidInputError(
            f"fine-tuning needs at least {FEWEST} images, to learn from, to choose by and to judge by, "
            f"got {len(data)}; label more, or cut those that you have into pieces"
        )
    return OwnImages(*data.split(*_SHARES, seed=seed))


def split_reference(reference: Dataset, seed: int) -> tuple[Dataset, Dataset, Dataset]:
    """Reference images to learn from, 100 at most; to choose thresholds by, a fifth, 20 at most; and to judge by.

    Raises
    ------
    InvalidInputError
        If there are fewer than 3.
    """
    count = len(reference)
    if count < 3:
        raise InvalidInputError(
            f"reference images must be at least 3, to learn from, to choose by and to judge by, got {count}; "
            "add some, or leave them out"
        )
    choose = min(max(1, round(count / 5)), _CHOSEN_BY)
    learn = min((count - choose) // 2, _REHEARSED)
    rehearsed, chosen_by, judged = reference.split(
        *(size / count for size in (learn, choose, count - choose - learn)), seed=seed
    )
    return rehearsed, chosen_by, judged
