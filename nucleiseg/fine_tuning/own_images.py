"""A few labelled images of one's own, and images of the kind that should not be forgotten, in parts. No Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nucleiseg.datasets import Dataset
from nucleiseg.datasets.copies import find_copies, group_copies
from nucleiseg.datasets.records import shorten
from nucleiseg.errors import InvalidInputError

__all__ = ["FEWEST", "OwnImages", "check_apart", "split_own", "split_reference"]

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
        If a part is empty, none of its images has a nucleus, or an image is in two parts, by whatever names.

    Examples
    --------
    >>> import numpy as np
    >>> from nucleiseg import datasets
    >>> data = datasets.from_arrays(np.zeros((3, 8, 8), np.uint8), np.ones((3, 8, 8), int))
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
        parts = self.by_use()
        bare = [use for use, part in parts.items() if not any(sample.labels.any() for sample in part)]
        if bare:
            # Of an image without nuclei every model that finds nothing is right, before and after.
            raise InvalidInputError(
                f"each part must have an image with a nucleus, got none to {' and none to '.join(bare)}; "
                "move one there, or leave the splitting to nucleiseg"
            )
        check_apart(parts)

    def by_use(self) -> dict[str, Dataset]:
        """The parts, by what is done with them."""
        return {"learn from (train)": self.learn, "choose by (val)": self.choose, "judge by (test)": self.held_out}


def check_apart(parts: Mapping[str, Dataset]) -> None:
    """Refuse an image that is in two datasets, called by their uses: scores of what was learned from are too good.

    Raises
    ------
    InvalidInputError
        If there is one, with its names.

    Examples
    --------
    >>> import numpy as np
    >>> from nucleiseg import datasets
    >>> data = datasets.from_arrays([np.eye(8)], [np.ones((8, 8), int)])
    >>> check_apart({"learn from": data, "judge by": data})
    Traceback (most recent call last):
    nucleiseg.errors.InvalidInputError: no image may be in two parts, got '0000' to learn from as '0000' to judge by...
    """
    seen: dict[bytes, str] = {}
    twice = []
    for use, part in parts.items():
        for digest, names in find_copies(part).items():
            name = f"{names[0]!r} to {use}"
            if seen.setdefault(digest, name) != name:
                twice.append(f"{seen[digest]} as {name}")
    if twice:
        raise InvalidInputError(f"no image may be in two parts, got {shorten(twice)}; leave each out of one of them")


def split_own(data: Dataset, seed: int = 0) -> OwnImages:
    """Split a few labelled images: three fifths to learn from, a fifth to choose by, a fifth to judge by.

    At random: where neighbours or images of one donor would come into different parts, split by hand. A part without
    nuclei gives one of its images for one that has some, from those to learn from if they can spare it. Copies of an
    image, to the last bit, come into one part and count once.

    Raises
    ------
    InvalidInputError
        If there are fewer than 5 different ones, or fewer than 3 that have nuclei.

    Examples
    --------
    >>> import numpy as np
    >>> from nucleiseg import datasets
    >>> own = split_own(datasets.from_arrays(np.zeros((10, 8, 8), np.uint8), np.ones((10, 8, 8), int)))
    >>> len(own.learn), len(own.choose), len(own.held_out)
    (6, 2, 2)
    """
    copies = group_copies(data, data.ids)
    if len(copies) < FEWEST:
        raise InvalidInputError(
            f"fine-tuning needs at least {FEWEST} images, to learn from, to choose by and to judge by, "
            f"got {_count(data, copies)}; label more, or cut those that you have into pieces"
        )
    different = data.select(copies)
    bearing = {sample.id for sample in different if sample.labels.any()}
    parts = [list(part.ids) for part in different.split(*_SHARES, seed=seed)]
    if len(bearing) < len(parts):
        raise InvalidInputError(
            f"fine-tuning needs at least {len(parts)} images with nuclei, one for each part, got {len(bearing)} among "
            f"{_count(data, copies)}; add images that have some, or label the nuclei in these"
        )
    _share_out(parts, bearing)
    return OwnImages(*(data.select(_with_copies(part, copies)) for part in parts))


def _count(data: Dataset, copies: Mapping[str, Sequence[str]]) -> str:
    doubles = len(data) - len(copies)
    return f"{len(copies)} and {doubles} copies of them" if doubles else str(len(data))


def _with_copies(names: Sequence[str], copies: Mapping[str, Sequence[str]]) -> list[str]:
    return [name for first in names for name in copies[first]]


def _share_out(parts: Sequence[list[str]], bearing: set[str]) -> None:
    """Swap images, so that each part has one with nuclei; an empty one goes into the first part if possible."""
    for part in parts:
        if not bearing.intersection(part):
            giver = next(other for other in parts if len(bearing.intersection(other)) > 1)
            index = next(number for number, name in enumerate(giver) if name in bearing)
            giver[index], part[0] = part[0], giver[index]


def split_reference(reference: Dataset, seed: int) -> tuple[Dataset, Dataset, Dataset]:
    """Reference images to learn from, 100 at most; to choose thresholds by, a fifth, 20 at most; and to judge by.

    Copies of an image, to the last bit, come into one part and count once.

    Raises
    ------
    InvalidInputError
        If there are fewer than 3 different ones.
    """
    copies = group_copies(reference, reference.ids)
    count = len(copies)
    if count < 3:
        raise InvalidInputError(
            "reference images must be at least 3, to learn from, to choose by and to judge by, got "
            f"{_count(reference, copies)}; add some, or leave them out"
        )
    choose = min(max(1, round(count / 5)), _CHOSEN_BY)
    learn = min((count - choose) // 2, _REHEARSED)
    parts = reference.select(copies).split(
        *(size / count for size in (learn, choose, count - choose - learn)), seed=seed
    )
    rehearsed, chosen_by, judged = (reference.select(_with_copies(part.ids, copies)) for part in parts)
    return rehearsed, chosen_by, judged
