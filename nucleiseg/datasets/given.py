"""Checks of labelled images that are given to a function, all by one rule."""

from __future__ import annotations

from itertools import islice
from typing import Any

from nucleiseg.datasets.dataset import Dataset
from nucleiseg.errors import InvalidInputError

__all__ = ["check_dataset", "check_labelled"]

_REMEDY = (
    "make one by nucleiseg.datasets.read(path), or of arrays by nucleiseg.datasets.from_arrays(images, labels); take "
    "some of its samples by data[2:5] or data.select(ids)"
)


def check_dataset(data: Any, name: str) -> None:
    """Raise `InvalidInputError` if it is no dataset, of which ids and metadata are needed beside the images.

    Examples
    --------
    >>> check_dataset("discs", "data")
    Traceback (most recent call last):
    nucleiseg.errors.InvalidInputError: data must be a dataset, got str; make one by nucleiseg.datasets.read(path), ...
    """
    if not isinstance(data, Dataset):
        raise InvalidInputError(f"{name} must be a dataset, got {type(data).__name__}; {_REMEDY}")


def check_labelled(data: Any, name: str) -> None:
    """Raise `InvalidInputError` if it is neither a dataset nor a sequence of items with image and labels.

    Examples
    --------
    >>> check_labelled([3], "train")
    Traceback (most recent call last):
    nucleiseg.errors.InvalidInputError: train must be a dataset, or a sequence of items with image and labels, got ...
    """
    if isinstance(data, Dataset):
        return
    is_sequence = hasattr(data, "__len__") and hasattr(data, "__getitem__") and not hasattr(data, "keys")
    if not is_sequence or not all(hasattr(one, "image") and hasattr(one, "labels") for one in islice(data, 1)):
        raise InvalidInputError(
            f"{name} must be a dataset, or a sequence of items with image and labels, got {type(data).__name__}; "
            f"{_REMEDY}"
        )
