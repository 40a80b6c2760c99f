"""Two datasets in one: in equal parts, or each sample once."""

from __future__ import annotations

from nucleiseg.datasets.arrays import ArrayRecord
from nucleiseg.datasets.dataset import Dataset
from nucleiseg.errors import InvalidInputError

__all__ = ["join", "mix"]


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
    return _one_after_the_other((one, size), (other, size))


def join(one: Dataset, other: Dataset) -> Dataset:
    """All samples of two datasets, each once, in memory: for what must count no image twice.

    Parameters
    ----------
    one, other : Dataset
        An id may be in both.

    Returns
    -------
    dataset : Dataset
        Its ids are numbered, its metadata are lost.

    Examples
    --------
    >>> import numpy as np
    >>> from nucleiseg.datasets import from_arrays
    >>> bright, dark = (from_arrays(np.full((n, 8, 8), n), np.zeros((n, 8, 8), int), list("abc")[:n]) for n in (2, 3))
    >>> join(bright, dark).ids
    ('0-0-a', '0-1-b', '1-0-a', '1-1-b', '1-2-c')
    """
    return _one_after_the_other((one, len(one)), (other, len(other)))


def _one_after_the_other(*parts: tuple[Dataset, int]) -> Dataset:
    """So many samples of each dataset; where there are fewer, it begins anew."""
    records = []
    for number, (data, size) in enumerate(parts):
        samples = data.load()
        for index in range(size):
            sample = samples[index % len(samples)]
            records.append(ArrayRecord(f"{number}-{index}-{sample.id}", sample.image, sample.labels))
    return Dataset(records)
