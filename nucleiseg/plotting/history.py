"""What happened in training, epoch by epoch."""

from __future__ import annotations

import csv
import itertools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nucleiseg._files import atomic_path
from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["History"]

# What the best epoch is chosen by where the rows do not say it: the first of these with a finite value decides.
CRITERIA = ("val_dice", "val_loss", "loss")
TEXTS = ("phase", "monitor")  # columns of words; all others are numbers


@dataclass(frozen=True, repr=False)
class History:
    """The record of a training run: one row of numbers for each epoch.

    Parameters
    ----------
    rows : tuple of mappings
        One mapping an epoch. ``epoch`` (whole numbers that increase) and ``loss`` are required; epoch 0, what
        validation data say of a trained model before it learns on, has no loss. Any other number may be added;
        ``pixel_accuracy``, ``dice``, ``iou``, their ``val_`` counterparts, ``val_loss``, ``learning_rate`` and
        ``seconds`` are usual. Two are text: ``phase``, such as ``"frozen"`` or ``"fine-tune"``, and ``monitor``, the
        column by which training chose the weights that it kept.

    Raises
    ------
    InvalidInputError
        If there is no row, ``epoch`` or ``loss`` is missing, epochs do not increase, or a value is not a number.

    Examples
    --------
    >>> history = History(({"epoch": 1, "loss": 0.7, "val_dice": 0.4}, {"epoch": 2, "loss": 0.5, "val_dice": 0.6}))
    >>> history
    History(2 epochs, best epoch 2: val_dice 0.6000)
    >>> history.best_epoch
    2
    """

    rows: tuple[Mapping[str, float | str], ...]

    def __post_init__(self) -> None:
        rows = tuple(_checked_row(row, position) for position, row in enumerate(self.rows, start=1))
        if not rows:
            raise InvalidInputError("a history must have at least one row, got none; train for at least one epoch")
        epochs = [int(row["epoch"]) for row in rows]
        if any(later <= earlier for earlier, later in itertools.pairwise(epochs)):
            raise InvalidInputError(f"epochs must increase from row to row, got {epochs}; number them 1, 2, 3, ...")
        object.__setattr__(self, "rows", rows)

    @property
    def best_epoch(self) -> int:
        """Number of the best epoch, whose weights training keeps.

        The epoch with the highest value of `monitor`, or the lowest where that is a loss. The earliest of equals wins,
        NaN never does; if every loss is NaN, the first epoch is returned. 0 means that the weights from before training
        are kept: no epoch was better.
        """
        return self._best()[0]

    @property
    def monitor(self) -> str:
        """Name of the column that the best epoch is chosen by.

        What the rows say as ``monitor``; ``epoch`` means that the last one was kept. Those that say nothing, or of
        which that column has no finite value, are judged by ``val_dice``; without one, by ``val_loss``; without that,
        by ``loss``.

        Examples
        --------
        >>> row = {"epoch": 1, "loss": 0.7, "val_dice": 0.9, "val_ap": 0.3}
        >>> History((row,)).monitor, History(({**row, "monitor": "val_ap"},)).monitor
        ('val_dice', 'val_ap')
        """
        return self._best()[1]

    def column(self, name: str) -> list[float]:
        """The numbers of one column, NaN where an epoch has none.

        Examples
        --------
        >>> History(({"epoch": 1, "loss": 0.7},)).column("loss")
        [0.7]
        """
        values = [row.get(name, math.nan) for row in self.rows]
        return [math.nan if isinstance(value, str) else float(value) for value in values]

    def table(self) -> pd.DataFrame:
        """The rows as a table, one row an epoch.

        Returns
        -------
        pandas.DataFrame
            A column for each key, in the order in which they first appear; NaN where an epoch has no value.
        """
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows], columns=self._columns())

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write the rows as comma-separated values; `from_csv` reads back exactly the same history.

        Returns
        -------
        pathlib.Path
            Where the file is.

        Examples
        --------
        >>> import tempfile
        >>> history = History(({"epoch": 1, "loss": 0.7},))
        >>> path = history.to_csv(tempfile.mkdtemp() + "/history.csv")
        >>> History.from_csv(path) == history
        True
        """
        target = Path(path)
        with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns(), restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        return target

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> History:
        """Read a history that `to_csv` wrote.

        Raises
        ------
        InvalidInputError
            If the file is missing or does not hold a history.
        """
        source = Path(path)
        if not source.is_file():
            raise InvalidInputError(f"{source} is not a file; pass a CSV file written by History.to_csv")
        try:
            with source.open(encoding="utf-8", newline="") as file:
                table = list(csv.reader(file, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InvalidInputError(f"{source} is not a CSV file: {error}; write it with History.to_csv") from error
        rows = []
        for line, cells in enumerate(table[1:], start=2):
            if len(cells) != len(table[0]):
                raise InvalidInputError(
                    f"{source}, row {line} must have {len(table[0])} cells, got {len(cells)}; "
                    "write it with History.to_csv"
                )
            rows.append({key: _parse(key, cell) for key, cell in zip(table[0], cells, strict=True) if cell != ""})
        try:
            return cls(tuple(rows))
        except InvalidInputError as error:
            raise InvalidInputError(f"{source} does not hold a history: {error}") from error

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw the learning curves: loss, pixel accuracy, Dice and average precision, as far as they were recorded.

        The best epoch (`best_epoch`) is marked by a line and its values, fine-tuning by a grey ground. Above them
        stands what that epoch was chosen by.

        Parameters
        ----------
        path : str or path-like
            The picture to write: ``.png``, ``.svg`` or ``.pdf``.

        Returns
        -------
        pathlib.Path
            Where the picture is.

        Raises
        ------
        InvalidInputError
            If the suffix names no known picture format.
        """
        from nucleiseg.plotting._curves import draw_curves

        return draw_curves(self, path)

    def __repr__(self) -> str:
        epoch, name, value = self._best()
        count = sum(row["epoch"] != 0 for row in self.rows)
        unit = "epoch" if count == 1 else "epochs"
        said = "the last one is kept" if name == "epoch" else f"best epoch {epoch}: {name} {value:.4f}"
        if epoch == 0:
            said = f"none better than the start: {name} {value:.4f}"
        return f"History({count} {unit}, {said})"

    def _best(self) -> tuple[int, str, float]:
        """Number of the best epoch, what it was chosen by, and the value."""
        # The latest row that says it: a run may have begun with a version that did not write it down.
        said = [str(row["monitor"]) for row in self.rows if "monitor" in row][-1:]
        for name in (*said, *CRITERIA):
            values = np.array(self.column(name))
            usable = np.isfinite(values)
            if usable.any():
                better = -values if name.endswith("loss") else values
                index = int(np.argmax(np.where(usable, better, -np.inf)))
                return int(self.rows[index]["epoch"]), name, float(values[index])
        return int(self.rows[0]["epoch"]), "loss", math.nan

    def _columns(self) -> list[str]:
        return list(dict.fromkeys(key for row in self.rows for key in row))


def _checked_row(row: Mapping[str, float | str], position: int) -> dict[str, float | str]:
    """A copy of a row with plain Python numbers."""
    for name in ("epoch", "loss"):
        if name not in row and (name == "epoch" or row.get("epoch") != 0):
            raise InvalidInputError(f"row {position} of a history must have {name!r}, got {list(row)}; add it")
    return {_checked_key(key): _checked_value(key, value, position) for key, value in row.items()}


def _checked_key(key: str) -> str:
    if not isinstance(key, str) or not key.strip() or not key.isprintable():
        raise InvalidInputError(f"a column of a history must have a printable name, got {key!r}; rename it")
    return key


def _checked_value(key: str, value: float | str, position: int) -> float | str:
    if key in TEXTS:
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise InvalidInputError(
                f"row {position}: {key} must be printable text, got {value!r}; leave it out if unknown"
            )
        return value
    if isinstance(value, str) or np.ndim(value) != 0 or np.asarray(value).dtype.kind not in "buif":
        raise InvalidInputError(f"row {position}: {key} must be a number, got {value!r}; leave it out if unknown")
    if key == "epoch":
        if not float(value).is_integer():
            raise InvalidInputError(f"row {position}: epoch must be a whole number, got {value!r}; count epochs from 1")
        return int(value)
    return float(value)


def _parse(key: str, cell: str) -> float | str:
    if key in TEXTS:
        return cell
    try:
        return int(cell) if key == "epoch" else float(cell)
    except ValueError:
        return cell  # refused, with its row, when the history is made
