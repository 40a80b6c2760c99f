"""How training goes, as it is told on a terminal: what is said, and how long it will take. No TensorFlow."""

from __future__ import annotations

import io
import sys
from collections import namedtuple

import pytest

from nucleiseg.training import narration
from nucleiseg.training.narration import Narration, epoch_line, seconds_an_epoch

Phase = namedtuple("Phase", "name epochs")
PHASES = [Phase("frozen", 2), Phase("fine-tune", 8)]


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def lines(self):
        """What stays on the screen."""
        return [line.split("\r")[-1].removeprefix("\x1b[K") for line in self.getvalue().split("\n")[:-1]]


@pytest.fixture
def clock(monkeypatch):
    """The time as the narration sees it; a test moves it."""
    now = [100.0]
    monkeypatch.setattr(narration.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture(autouse=True)
def no_wish(monkeypatch):
    monkeypatch.delenv("NUCLEISEG_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def row(epoch, phase, seconds=10, **measured):
    return {"epoch": epoch, "phase": phase, "loss": 0.5, "val_dice": 0.8, **measured, "seconds": seconds}


def narrate(told, rows, clock, *, batch=2.0, best=True, last=False):
    """An epoch of five batches."""
    told.begin_epoch()
    for _ in range(5):
        clock[0] += batch
        told.end_batch(0.7)
    told.validate()
    told.end_epoch(rows, best, last)


def test_an_epoch_is_one_line_with_what_is_left(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    rows = []
    with Narration(PHASES, 0, 0, 5, rows) as told:
        for epoch in (1, 2):
            rows = [*rows, row(epoch, "frozen")]
            narrate(told, rows, clock, best=epoch == 1)
    assert sys.stderr.lines() == [
        "epoch  1/10  frozen     loss 0.500  Dice 0.800  10 s, 2 min left, best so far",  # 90 s
        "epoch  2/10  frozen     loss 0.500  Dice 0.800  10 s, 1 min left",  # 80 s
    ]


def test_the_last_epoch_has_nothing_left(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    before = [row(epoch, "fine-tune") for epoch in range(1, 8)]
    with Narration(PHASES, 1, 7, 5, before) as told:
        narrate(told, [*before, row(8, "fine-tune", val_ap50=0.5)], clock, best=False)
    assert sys.stderr.lines() == ["epoch 8/8  fine-tune  loss 0.500  Dice 0.800  AP@.5 0.500  10 s"]


def test_a_phase_that_ends_early_leaves_fewer_epochs(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    rows = [row(1, "frozen")]
    with Narration([Phase("frozen", 30), Phase("fine-tune", 3)], 0, 0, 5, []) as told:
        narrate(told, rows, clock, last=True)
    with Narration([Phase("frozen", 30), Phase("fine-tune", 3)], 1, 0, 5, rows) as told:
        narrate(told, [*rows, row(2, "fine-tune")], clock)
    first, second = sys.stderr.lines()
    assert first.startswith("epoch  1/33  frozen     ")
    assert "10 s, 30 s left" in first
    assert second.startswith("epoch 2/4  fine-tune  ")
    assert "10 s, 20 s left" in second


def test_a_run_that_goes_on_counts_what_was_done(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    before = [row(1, "frozen"), row(2, "frozen"), row(3, "fine-tune", 60), row(4, "fine-tune", 50)]
    with Narration(PHASES, 1, 2, 5, before) as told:
        told.begin_epoch()
        told.end_batch(0.7)
        clock[0] += 20
        told.validate()
    assert "epoch  5/10  fine-tune  |" in sys.stderr.getvalue()
    assert "1/5  validating  5 min left" in sys.stderr.getvalue()  # six of 50 s, less 20 s


def test_the_first_epoch_is_judged_by_its_batches_and_compiling_does_not_count(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Narration([Phase("full", 10)], 0, 0, 5, []) as told:
        told.begin_epoch()
        clock[0] += 300  # compiles
        for _ in range(5):
            told.end_batch(0.7)
            clock[0] += 8
        told.validate()
        told.end_epoch([row(1, "full", seconds=340)], best=True, last=False)
    shown = sys.stderr.getvalue()
    assert "5/5  validating  8 min left" in shown  # 45 batches of 10 s: 40 s lie between five
    assert "340" not in shown
    assert sys.stderr.lines()[0].endswith("6 min, 8 min left, best so far")  # nine of 50 s


def test_nobody_looks_nothing_is_said(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Narration(PHASES, 0, 0, 5, []) as told:
        narrate(told, [row(1, "frozen")], clock)
    assert sys.stderr.getvalue() == ""


def test_an_interruption_takes_the_bar_away(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())

    def interrupted():
        with Narration(PHASES, 0, 0, 5, []) as told:
            told.begin_epoch()
            told.end_batch(0.7)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sys.stderr.getvalue().endswith("\r\x1b[K")


def test_only_what_was_measured_is_said():
    assert epoch_line("epoch 1/2  full", {"loss": 12.3, "seconds": 5}, None, best=False) == (
        "epoch 1/2  full  loss 12.300  5 s"
    )


@pytest.mark.parametrize(
    ("rows", "phase", "seconds"),
    [
        ([], "full", None),
        ([("full", 30)], "full", 30),
        ([("full", 30), ("full", 8), ("full", 10)], "full", 9),
        ([("frozen", 30), ("frozen", 8)], "fine-tune", 8),
        ([("frozen", 30), ("fine-tune", 70)], "fine-tune", 70),
        ([("frozen", 30), ("fine-tune", 70)], "frozen", 30),
    ],
)
def test_what_an_epoch_takes(rows, phase, seconds):
    assert seconds_an_epoch([{"phase": name, "seconds": took} for name, took in rows], phase) == seconds
