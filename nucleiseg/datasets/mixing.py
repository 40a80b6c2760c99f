"""Two datasets in one, in equal parts."""

from __future__ import annotations

from nucleiseg.datasets.arrays import ArrayRecord
from nucleiseg.datasets.dataset import Dataset
from nucleiseg.errors import InvalidInputError

__all__ = ["mix"]


def mix(one: Dataset, other: Dataset) -> Dataset:
    """As many samples of one dataset as of the other, all of them in memory; of the smaller, some come several times.

    Parameters
    ----------
    one, other : Dataset
        At least one sample each. An id may be in both.

    Returns
    -------
    dataset : Dataset
        Of twice the size of the larger. Its ids are numbered, its metadata are lost.

    Raises
    ------
    InvalidInputError
        If one of them is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from nucleiseg.datasets import from_arrays
    >>> bright, dark = (from_arrays(np.full((n, 8, 8), n), np.zeros((n, 8, 8), int), list("abc")[:n]) for n in (2, 3))
    >>> [f"{sample.id} {sample.image.max()}" for sample in mix(bright, dark)]
    ['0-0-a 2', '0-1-b 2', '0-2-a 2', '1-0-a 3', '1-1-b 3', '1-2-c 3']
    """
    if not one or not other:
        raise InvalidInputError(
            f"both datasets must have samples, got {len(one)} and {len(other)}; leave the empty out"
        )
    size = max(len(one), len(other))
    records = []
    for number, data in enumerate((one, other)):
        samples = data.load()
        for index in range(size):
            sample = samples[index % len(samples)]
            records.append(ArrayRecord(f"{number}-{index}-{sample.id}", sample.image, sample.labels))
    return Dataset(records)
