"""Progress: for people at a terminal only, and tidy there."""

from __future__ import annotations

import io
import sys

import pytest

from nucleiseg._progress import Progress, close_all, duration, is_shown, progress, shorten, write_line


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def no_wish(monkeypatch):
    monkeypatch.delenv("NUCLEISEG_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")


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
    assert "/3" in bar()


def test_the_bar_is_gone_afterwards(monkeypatch):
    bar, _ = drawn(monkeypatch, range(5), "counting")
    assert bar().endswith("\r\x1b[K")
    assert "\n" not in bar()


def test_a_total_tells_how_long_a_generator_is(monkeypatch):
    bar, _ = drawn(monkeypatch, (number for number in range(4)), "counting", 4)
    assert "/4" in bar()


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


@pytest.mark.parametrize(
    ("stream", "wish", "shown"),
    [
        (Terminal, None, True),
        (Terminal, "0", False),
        (Terminal, "1", True),
        (Terminal, "", True),
        (io.StringIO, None, False),
        (io.StringIO, "0", False),
        (io.StringIO, "1", True),
    ],
)
def test_the_environment_decides_where_it_is_asked_to(monkeypatch, stream, wish, shown):
    monkeypatch.setattr(sys, "stderr", stream())
    if wish is not None:
        monkeypatch.setenv("NUCLEISEG_PROGRESS", wish)
    assert is_shown() is shown
    list(progress(range(3), "counting"))
    write_line("a line")
    assert bool(sys.stderr.getvalue()) is shown


def test_a_process_without_standard_error_is_none_to_look_at(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setenv("NUCLEISEG_PROGRESS", "1")
    assert list(progress(range(3), "counting")) == [0, 1, 2]


def test_a_bar_says_what_is_done_noted_and_left(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress("predicting", 40, "files", seconds_left=lambda: 190) as bar:
        bar.advance()
        bar.note("12 nuclei  a.tif")
    shown = sys.stderr.getvalue()
    assert "predicting  |" in shown
    assert "| 1/40 files  12 nuclei  a.tif  3 min left" in shown


def test_how_long_it_takes_is_judged_by_what_is_done(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress("predicting", 100) as bar:
        bar.note("nothing done")
        bar.advance()
        bar.note("one done")
    first, _, then = sys.stderr.getvalue().partition("nothing done")
    assert " left" not in first
    assert " left" in then


def test_names_of_files_do_not_move_the_cursor(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress("predicting", 2) as bar:
        bar.note("a\n\x1b[2Jb\udcff.tif")
        bar.advance("a\nb")
    write_line("a\nb")
    assert "a??[2Jb?.tif" in sys.stderr.getvalue()
    assert sys.stderr.getvalue().endswith("a?b\n")
    assert sys.stderr.getvalue().count("\n") == 1


def test_bars_that_a_traceback_keeps_can_be_taken_away(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    loops = [progress(range(3), "files"), progress(range(3), "tiles")]
    for loop in loops:
        next(loop)
    assert not sys.stderr.getvalue().endswith("\r\x1b[K")
    close_all()
    assert sys.stderr.getvalue().endswith("\r\x1b[K")
    assert [list(loop) for loop in loops] == [[1, 2], [1, 2]]


def test_a_closed_bar_stays_closed(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = Progress("predicting", 2)
    bar.close()
    before = sys.stderr.getvalue()
    bar.advance()
    bar.note("late")
    bar.close()
    assert sys.stderr.getvalue() == before


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (59.4, "59 s"), (59.6, "1 min"), (3569, "59 min"), (3571, "1 h 0 min"), (90_000, "25 h 0 min")],
)
def test_times_are_as_exact_as_needed(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize("length", [0, 32, 33, 34, 35, 300])
def test_long_names_lose_their_middle(length):
    name = "".join(chr(0x4E00 + index) for index in range(length))
    short = shorten(name)
    assert len(short) <= 33
    assert (short == name) == (length <= 33)
    assert short[:10] == name[:10]
    assert short[-10:] == name[-10:]


NESTED = """
import sys, time
from nucleiseg._progress import Progress, aside, progress, write_line
print("before")
with Progress("predicting", 3, "files") as bar:
    for number in range(3):
        bar.note(f"file {number}")
        for tile in progress(range(4), "tiles"):
            time.sleep(0.01)
            if number == 1 and tile == 2:
                with aside():
                    sys.stderr.write("file 1 is damaged\\n")
                if len(sys.argv) > 1:
                    print("<Ctrl-C>", end="", flush=True)
                    time.sleep(60)
        bar.advance()
write_line("all done")
print("after")
"""


def test_on_a_terminal_only_lines_are_left(run_in_terminal):
    status, sent, screen = run_in_terminal(NESTED)
    assert status == 0
    assert screen == ["before", "file 1 is damaged", "all done", "after"]
    assert "predicting  |" in sent
    assert "2/3 files  file 2" in sent
    assert "tiles  |" in sent


def test_an_interruption_leaves_a_clean_line(run_in_terminal):
    caught = "except KeyboardInterrupt:\n    sys.stderr.write('interrupted\\n')"
    program = f"import sys\ntry:\n    exec({NESTED!r})\n{caught}"
    _, sent, screen = run_in_terminal(program, "interrupt")
    assert "^C" in sent
    assert screen == ["before", "file 1 is damaged", "interrupted"]


def test_piped_only_lines_of_others_are_written(run_python):
    process = run_python(NESTED)
    assert (process.returncode, process.stdout) == (0, "before\nafter\n")
    assert process.stderr == "file 1 is damaged\n"
