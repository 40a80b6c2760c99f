"""How training goes, told to people who look: a line for each epoch, and a bar within it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from nucleiseg._progress import Progress, duration, write_line

if TYPE_CHECKING:
    from nucleiseg.training.phases import Phase

__all__ = ["Narration", "epoch_line", "seconds_an_epoch"]

Rows = Sequence[Mapping[str, Any]]

# What is told of an epoch: its name, and the columns of which the first one measured is shown.
_TOLD = {"loss": ("loss",), "Dice": ("val_dice", "dice"), "AP@.5": ("val_ap50",)}


class Narration:
    """One phase of training as it is shown on a terminal; nothing where nobody looks.

    Parameters
    ----------
    phases : sequence of Phase
        Of the whole run.
    number : int
        Which of them this is.
    phase_epochs : int
        How many of its epochs are finished.
    steps : int
        Batches of an epoch.
    rows : sequence of mapping
        Of all epochs that are finished, in earlier phases too; that of epoch 0 is passed over.
    """

    def __init__(self, phases: Sequence[Phase], number: int, phase_epochs: int, steps: int, rows: Rows) -> None:
        self._phase = phases[number].name
        self._width = max(len(phase.name) for phase in phases)
        self._to_do = {phase.name: phase.epochs for phase in phases[number:]}
        self._to_do[self._phase] -= phase_epochs
        self._steps = steps
        self._rows = _trained(rows)
        self._bar: Progress | None = None
        self._started = self._first_batch = 0.0
        self._batches = 0

    def __enter__(self) -> Narration:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def tell_start(self, rows: Rows) -> None:
        """Write the line of epoch 0, if it counts."""
        for row in rows:
            write_line(epoch_line(self._head(0, row["phase"]), row, None, best=True))

    def begin_epoch(self) -> None:
        """Put up the bar."""
        self._close()
        self._started, self._batches = time.monotonic(), 0
        self._bar = Progress(self._head(len(self._rows) + 1), self._steps, seconds_left=self._seconds_left)

    def end_batch(self, loss: float) -> None:
        """Move it."""
        self._batches += 1
        if self._batches == 1:
            self._first_batch = time.monotonic()
        if self._bar is not None:
            self._bar.advance(f"loss {loss:.3f}")

    def validate(self) -> None:
        """Say what is done now, after the last batch."""
        if self._bar is not None:
            self._bar.note("validating")

    def end_epoch(self, rows: Rows, best: bool, last: bool) -> None:
        """Write the line: ``best`` if these weights are kept so far, ``last`` if the phase ends here."""
        self._close()
        rows = _trained(rows)
        head = self._head(len(rows))
        self._rows = (*rows[:-1], {**rows[-1], "seconds": self._steady(rows[-1]["seconds"])})
        self._to_do[self._phase] = 0 if last else self._to_do[self._phase] - 1
        write_line(epoch_line(head, rows[-1], self._forecast() if any(self._to_do.values()) else None, best))

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def _head(self, epoch: int, phase: str = "") -> str:
        total = len(self._rows) + sum(self._to_do.values())
        return f"epoch {epoch:>{len(str(total))}}/{total}  {phase or self._phase:<{self._width}}"

    def _seconds_left(self) -> float | None:
        forecast = self._forecast()
        if forecast is not None:
            return max(0.0, forecast - (time.monotonic() - self._started))
        if self._batches < 2:
            return None
        # Only the first epoch of all is judged by its batches, the first of which takes long.
        one = (time.monotonic() - self._first_batch) / (self._batches - 1)
        return one * (self._steps * sum(self._to_do.values()) - self._batches)

    def _steady(self, seconds: float) -> float:
        """What the epoch would have taken if its first batch had not: the network is compiled in it."""
        if self._batches < 2:
            return seconds
        others = time.monotonic() - self._first_batch
        return min(seconds, others * self._batches / (self._batches - 1))

    def _forecast(self) -> float | None:
        """Seconds of all epochs that are not finished; fewer if training ends early."""
        total = 0.0
        for phase, epochs in self._to_do.items():
            one = seconds_an_epoch(self._rows, phase)
            if one is None:
                return None
            total += epochs * one
        return total


def _trained(rows: Rows) -> Rows:
    """Without the row of epoch 0, in which nothing was learned."""
    return [row for row in rows if row["epoch"] > 0]


def epoch_line(head: str, row: Mapping[str, Any], seconds_left: float | None, best: bool) -> str:
    """What is said of an epoch that is finished.

    Examples
    --------
    >>> row = {"loss": 0.2134, "dice": 0.95, "val_dice": 0.912, "val_ap50": 0.731, "seconds": 41.2}
    >>> epoch_line("epoch 12/36  fine-tune", row, 960, best=True)
    'epoch 12/36  fine-tune  loss 0.213  Dice 0.912  AP@.5 0.731  41 s, 16 min left, best so far'
    """
    measured = []
    for name, columns in _TOLD.items():
        value = next((row[column] for column in columns if column in row), None)
        if value is not None:
            measured.append(f"{name} {value:.3f}")
    times = [duration(row["seconds"])]
    if seconds_left is not None:
        times.append(f"{duration(seconds_left)} left")
    if best:
        times.append("best so far")
    return "  ".join([head, *measured, ", ".join(times)])


def seconds_an_epoch(rows: Rows, phase: str) -> float | None:
    """What an epoch of a phase takes, or of any if none of this phase is finished. The first, in which the network is
    compiled, does not count if there are others.

    Examples
    --------
    >>> rows = [{"phase": "frozen", "seconds": seconds} for seconds in (20, 8, 10)]
    >>> seconds_an_epoch(rows, "frozen"), seconds_an_epoch([*rows, {"phase": "full", "seconds": 30}], "full")
    (9.0, 30.0)
    """
    for names in ({phase}, {row["phase"] for row in rows}):
        seconds = [row["seconds"] for row in rows if row["phase"] in names]
        if seconds:
            counted = seconds[1:] or seconds
            return float(sum(counted) / len(counted))
    return None
