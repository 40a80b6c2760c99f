"""Progress bars: for people at a terminal only."""

from __future__ import annotations

import io
import sys

import pytest

from nucleiseg._progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def drawn(monkeypatch, *arguments):
    """A function that says what was drawn on a terminal, and the items."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)  # here, not in a fixture: pytest sets it anew between the two
    return stream.getvalue, list(progress(*arguments))


def test_it_is_silent_when_stderr_is_no_terminal(capfd):
    assert list(progress([1, 2, 3], "counting")) == [1, 2, 3]
    assert capfd.readouterr() == ("", "")


def test_it_draws_a_bar_on_a_terminal(monkeypatch):
    bar, items = drawn(monkeypatch, [1, 2, 3], "counting")
    assert items == [1, 2, 3]
    assert "counting" in bar()
    assert "/3 " in bar()


def test_the_bar_is_gone_afterwards(monkeypatch):
    bar, _ = drawn(monkeypatch, range(5), "counting")
    assert bar().endswith("\r")
    assert "\n" not in bar()


def test_a_total_tells_how_long_a_generator_is(monkeypatch):
    bar, _ = drawn(monkeypatch, (number for number in range(4)), "counting", 4)
    assert "/4 " in bar()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal], ids=["piped", "terminal"])
def test_items_are_taken_one_by_one(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    taken = []

    def items():
        for number in range(3):
            taken.append(number)
            yield number

    walk = progress(items(), "counting")
    assert taken == []
    next(walk)
    assert taken == [0]
    walk.close()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal], ids=["piped", "terminal"])
def test_an_error_passes_through(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())

    def broken():
        yield 1
        raise ValueError("broken item")

    with pytest.raises(ValueError, match="broken item"):
        list(progress(broken(), "counting"))
