"""Columns of a CSV file, by sample."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import threading
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from nucleiseg.datasets.image_files import READABLE_SUFFIXES
from nucleiseg.datasets.known import Known
from nucleiseg.datasets.records import shorten
from nucleiseg.errors import DatasetError

__all__ = ["read_metadata", "read_rows"]

_ID_COLUMNS = ("image_id", "id", "ImageId")
_LIMIT = threading.Lock()
_LONGEST = 2**31 - 1  # what csv takes on every machine
# Narrower than what int and float take, which make one number of different names: of the plates 1_1 and 11, of the
# wells 1E2 and 10E1, of barcodes that a float rounds. What starts with a zero is a name, too.
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,999})")
_BEFORE_POINT = "(0|[1-9][0-9]{0,14})"
_DECIMAL = re.compile(
    rf"[+-]?({_BEFORE_POINT}([eE][+-][0-9]{{2,3}})?|({_BEFORE_POINT}\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{{1,3}})?)"
)


def read_rows(path: str | os.PathLike[str]) -> tuple[list[str], list[dict[str, str]]]:
    """Column names and rows of a CSV file with a header."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # at once, since pipes can't be read twice
        with _fields_up_to(len(text)):
            delimiter = _delimiter(text)
            reader = csv.DictReader(io.StringIO(text), restkey="", restval="", delimiter=delimiter)
            rows = [row for row in reader if any("".join(cell).strip() for cell in row.values())]
            columns = list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read as CSV ({error}); check the path, or save it as UTF-8") from error
    if not columns or not rows:
        raise DatasetError(f"{path}: must have a header and at least one row; check that it is the right file")
    return columns, rows


def _delimiter(text: str) -> str:
    """What parts the column of ids from the others: a comma, or a semicolon, where numbers have commas."""
    headers = {delimiter: next(csv.reader(io.StringIO(text), delimiter=delimiter), []) for delimiter in ",;"}
    return next((delimiter for delimiter, header in headers.items() if {*header} & {*_ID_COLUMNS}), ",")


@contextlib.contextmanager
def _fields_up_to(size: int) -> Iterator[None]:
    """Let fields be as long as that, which run lengths of a large nucleus may be. The limit is one of the process."""
    with _LIMIT:
        before = csv.field_size_limit()
        csv.field_size_limit(max(before, min(size, _LONGEST)))
        try:
            yield
        finally:
            csv.field_size_limit(before)


def read_metadata(
    path: str | os.PathLike[str], ids: Sequence[str], spare: Sequence[str] = ()
) -> dict[str, Mapping[str, object]]:
    """What a CSV file says of these samples, one row each: id to {column: value}; columns of numbers become numbers.

    There may be rows of ``spare`` samples.
    """
    table = _by_sample(path, _read_table(path), {*ids, *spare})
    without = [name for name in ids if name not in table]
    if without:
        raise DatasetError(
            f"{path}: every sample needs a row, {len(without)} have none: {shorten(without)}; "
            "add rows, or leave the samples out with dataset.select(ids)"
        )
    unknown = sorted(table.keys() - {*ids, *spare})
    if unknown:
        raise DatasetError(
            f"{path}: every row needs a sample, {len(unknown)} have none: {shorten(unknown)}; "
            "remove these rows, or read the rest of the images"
        )
    return table


def _by_sample(
    path: str | os.PathLike[str], table: Mapping[str, Mapping[str, object]], ids: Collection[str]
) -> dict[str, Mapping[str, object]]:
    """Rows by the ids of samples, which tables may also tell with accents in another form, or as names of files."""
    known = {unicodedata.normalize("NFC", name): name for name in ids}
    found: dict[str, Mapping[str, object]] = {}
    rows: dict[str, str] = {}
    for name, row in table.items():
        tries = [unicodedata.normalize("NFC", name)]
        if PurePath(name).suffix.lower() in READABLE_SUFFIXES:
            tries.append(unicodedata.normalize("NFC", PurePath(name).stem))
        sample = name if name in ids else next((known[one] for one in tries if one in known), name)
        if sample in found:
            raise DatasetError(
                f"{path}: each sample must have one row, {sample!r} has {rows[sample]!r} and {name!r}; remove one of "
                "them"
            )
        found[sample], rows[sample] = row, name
    return found


def _read_table(path: str | os.PathLike[str]) -> dict[str, Mapping[str, object]]:
    columns, rows = read_rows(path)
    key = next((column for column in _ID_COLUMNS if column in columns), None)
    if key is None:
        raise DatasetError(
            f"{path}: needs a column 'image_id' or 'id', got {', '.join(columns)}; rename the column of the ids"
        )
    ids = [row[key] for row in rows]
    if len(set(ids)) < len(ids):
        twice = next(name for index, name in enumerate(ids) if name in ids[:index])
        raise DatasetError(f"{path}: each id must have one row, {twice!r} has several; remove the others")
    values = {column: _numbers([row[column] for row in rows]) for column in columns if column not in (key, "")}
    return {name: Known({column: cells[index] for column, cells in values.items()}) for index, name in enumerate(ids)}


def _numbers(cells: list[str]) -> list[object]:
    """Whole or decimal numbers if all cells are such, else the text; decimals have a point in one cell at least."""
    bare = [cell.strip() for cell in cells]
    if all(map(_WHOLE.fullmatch, bare)):
        return [int(cell) for cell in bare]
    if all(map(_DECIMAL.fullmatch, bare)) and any("." in cell for cell in bare):
        return [float(cell) for cell in bare]
    return list(cells)
