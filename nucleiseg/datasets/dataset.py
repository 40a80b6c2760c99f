"""A dataset: samples in a fixed order, read when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from nucleiseg._checks import check_count
from nucleiseg.datasets.cache import Cache
from nucleiseg.datasets.known import NO_METADATA, Known
from nucleiseg.datasets.metadata import read_metadata
from nucleiseg.datasets.records import Array, Record, shorten
from nucleiseg.datasets.sample import Sample
from nucleiseg.datasets.splitting import split_at_random, split_by_column
from nucleiseg.datasets.stacking import stack_samples
from nucleiseg.datasets.threads import in_threads
from nucleiseg.errors import DatasetError, InvalidInputError

__all__ = ["Dataset"]


class Dataset(Sequence[Sample]):
    """Samples in a fixed order; an immutable sequence that reads a sample when it is asked for.

    Made by `read` and `from_arrays`. ``dataset[i]`` and iteration give `Sample`; ``dataset[2:5]`` gives a Dataset.
    It may be used from many threads, copied and pickled.

    Parameters
    ----------
    records : sequence of Record
        Where the samples lie; their ids must differ.
    metadata : mapping of str to mapping, optional
        What is known of the samples, by id.
    cache : Cache, optional
        Where decoded samples are kept.

    Examples
    --------
    >>> from nucleiseg.datasets import from_arrays
    >>> data = from_arrays(np.zeros((3, 8, 8), np.uint8), np.zeros((3, 8, 8), int), ids=["a", "b", "c"])
    >>> data
    Dataset(3 samples: a, b, c)
    >>> data[0].image.shape, len(data[1:]), data.select(["c"]).ids
    ((8, 8), 2, ('c',))
    """

    def __init__(
        self,
        records: Sequence[Record],
        metadata: Mapping[str, Mapping[str, object]] | None = None,
        cache: Cache | None = None,
    ) -> None:
        ids = [record.id for record in records]
        if len(set(ids)) < len(ids):
            twice = sorted(name for name in set(ids) if ids.count(name) > 1)
            raise DatasetError(f"each sample must have an id of its own, got several of {shorten(twice)}; rename them")
        self._records = tuple(records)
        self._metadata = dict(metadata or {})
        self._cache = cache

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the samples."""
        return tuple(record.id for record in self._records)

    @property
    def records(self) -> tuple[Record, ...]:
        """Where the samples lie."""
        return self._records

    @property
    def metadata(self) -> tuple[Mapping[str, object], ...]:
        """What is known of each sample; no image is read."""
        return tuple(self._metadata.get(name, NO_METADATA) for name in self.ids)

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Sample | Dataset:
        if isinstance(index, slice):
            return self._with(self._records[index])
        return self._read(self._records[index])

    def __iter__(self) -> Iterator[Sample]:
        return map(self._read, self._records)

    def __repr__(self) -> str:
        noun = "sample" if len(self) == 1 else "samples"
        names = f": {shorten(list(self.ids), 3)}" if self.ids else ""
        return f"Dataset({len(self)} {noun}{names})"

    def select(self, ids: Iterable[str | int]) -> Dataset:
        """The samples of these ids, in this order. Numbers are taken as text, as `from_arrays` takes them.

        Raises
        ------
        InvalidInputError
            If an id is unknown.
        """
        wanted = [ids] if isinstance(ids, str) else [str(name) for name in ids]
        known = {record.id: record for record in self._records}
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise InvalidInputError(f"ids must be in the dataset, {shorten(unknown)} are not; see dataset.ids")
        return self._with([known[name] for name in wanted])

    def split(self, *fractions: float, seed: int = 0, stratify: str | None = None) -> tuple[Dataset, ...]:
        """Split at random.

        Parameters
        ----------
        *fractions : float
            Size of each part, above 0, together at most 1.
        seed : int
            The same seed gives the same split, whatever the order of the samples.
        stratify : str, optional
            A column of the metadata whose values each part gets in the same proportion.

        Returns
        -------
        parts : tuple of Dataset
            One for each fraction. No sample is in two parts.

        Raises
        ------
        InvalidInputError
            If the fractions do not fit, a part would be empty, or a sample lacks the column.

        Examples
        --------
        >>> from nucleiseg.datasets import from_arrays
        >>> data = from_arrays(np.zeros((10, 8, 8), np.uint8), np.zeros((10, 8, 8), int))
        >>> [len(part) for part in data.split(0.8, 0.1, 0.1)]
        [8, 1, 1]
        """
        check_count(seed, "seed", low=0)
        strata = None
        if stratify is not None:
            lacking = [name for name, known in zip(self.ids, self.metadata, strict=True) if stratify not in known]
            if lacking:
                raise InvalidInputError(
                    f"stratify must be a column of the metadata of every sample, {stratify!r} is missing for "
                    f"{shorten(lacking)}; add it with dataset.with_metadata('table.csv')"
                )
            strata = [str(known[stratify]) for known in self.metadata]
        parts = split_at_random(self.ids, fractions, seed, strata)
        return tuple(self._with([self._records[index] for index in part]) for part in parts)

    def split_by(self, path: str | os.PathLike[str]) -> tuple[Dataset, Dataset, Dataset]:
        r"""Split as a CSV file says.

        Parameters
        ----------
        path : str or path
            CSV with a column ``image_id`` or ``id``, a column ``split`` of ``train``, ``val`` and ``test``, and any
            others, which become metadata.

        Returns
        -------
        train, val, test : Dataset
            Always these three; one that the file does not have is empty.

        Raises
        ------
        DatasetError
            If a column is missing, a split is unknown, or the ids are not those of the dataset.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from nucleiseg.datasets import from_arrays
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "splits.csv"
        >>> _ = path.write_text("image_id,split\n0000,train\n0001,test\n0002,train\n")
        >>> data = from_arrays(np.zeros((3, 8, 8), np.uint8), np.zeros((3, 8, 8), int))
        >>> train, val, test = data.split_by(path)
        >>> len(train), len(val), len(test)
        (2, 0, 1)
        """
        data = self.with_metadata(path)
        train, val, test = (
            data._with([data._records[index] for index in part])
            for part in split_by_column(data.ids, data.metadata, str(path))
        )
        return train, val, test

    def with_metadata(self, path: str | os.PathLike[str]) -> Dataset:
        """The same samples, with the columns of a CSV file as (further) metadata.

        Parameters
        ----------
        path : str or path
            CSV with a column ``image_id`` or ``id``, and one row for each sample. Columns of numbers become numbers;
            names such as ``01``, ``1_1`` and ``1E2`` stay text, and so does a column that holds one.

        Raises
        ------
        DatasetError
            If the file cannot be read, or its ids are not those of the dataset.
        """
        table = read_metadata(path, self.ids)
        merged = {name: Known({**self._metadata.get(name, {}), **table[name]}) for name in self.ids}
        return Dataset(self._records, merged, self._cache)

    def load(self, workers: int | None = None) -> list[Sample]:
        """Read all samples into memory, several at a time.

        Parameters
        ----------
        workers : int, optional
            Threads; by default one for each core.
        """
        return list(in_threads(self._read, self._records, workers, "reading"))

    def prepare(self, workers: int | None = None) -> Dataset:
        """Decode all samples into the cache, several at a time, so that later reading is quick.

        Parameters
        ----------
        workers : int, optional
            Threads; by default one for each core.

        Returns
        -------
        dataset : Dataset
            The same one.

        Raises
        ------
        InvalidInputError
            If the dataset was read with ``cache=False``.
        """
        if self._cache is None and any(record.stamp() is not None for record in self._records[:1]):
            raise InvalidInputError("prepare fills the cache, but there is none; read the dataset with cache=True")
        for _ in in_threads(lambda record: bool(self._read(record)), self._records, workers, "preparing"):
            pass
        return self

    def to_arrays(self, size: tuple[int, int] | None = None) -> tuple[Array, NDArray[np.int32]]:
        """All samples as two arrays.

        Parameters
        ----------
        size : (height, width), optional
            Resize to this; by default samples stay as they are, and must all have one size. Images are resized
            bilinearly and antialiased, labels to the nearest pixel.

        Returns
        -------
        images : (N, H, W, 3) array
            In the type of the images, uint8 or uint16 as a rule; grey is repeated and alpha dropped.
        labels : (N, H, W) int32 array

        Raises
        ------
        InvalidInputError
            If the dataset is empty, sizes differ and none is given, or the images are of different types.

        Examples
        --------
        >>> from nucleiseg.datasets import from_arrays
        >>> data = from_arrays(np.zeros((3, 8, 8), np.uint8), np.zeros((3, 8, 8), int))
        >>> images, labels = data.to_arrays(size=(4, 4))
        >>> images.shape, labels.shape
        ((3, 4, 4, 3), (3, 4, 4))
        """
        return stack_samples(self, size)

    def _with(self, records: Sequence[Record]) -> Dataset:
        return Dataset(records, self._metadata, self._cache)

    def _read(self, record: Record) -> Sample:
        image, labels = record.read() if self._cache is None else self._cache.read(record)
        return Sample(record.id, image, labels, self._metadata.get(record.id, NO_METADATA))
