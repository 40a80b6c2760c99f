"""What is known of a sample, as a mapping that can't be changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

__all__ = ["NO_METADATA", "Known"]


class Known(Mapping[str, object]):
    """A mapping that can't be changed, but can be pickled and copied, unlike Python's own.

    Parameters
    ----------
    values : mapping, or iterable of pairs
        Are copied.

    Examples
    --------
    >>> known = Known({"modality": "fluorescence"})
    >>> known, known == {"modality": "fluorescence"}
    ({'modality': 'fluorescence'}, True)
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, object] | Iterable[tuple[str, object]] = ()) -> None:
        self._values = dict(values)

    def __getitem__(self, column: str) -> object:
        return self._values[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


NO_METADATA: Mapping[str, object] = Known()
