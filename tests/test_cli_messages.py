"""``--quiet`` and ``--log-file``: what is said, where, and that the work does not depend on it. No TensorFlow."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from nucleiseg._progress import VARIABLE, is_shown
from nucleiseg._version import __version__
from nucleiseg.cli import encoders
from nucleiseg.cli.main import main
from nucleiseg.cli.terminal import complain, say
from nucleiseg.errors import DatasetError, DatasetWarning

LOGGER = logging.getLogger("nucleiseg.training.fitting")


@pytest.fixture
def command(monkeypatch):
    """A function that has ``nucleiseg encoders`` do something else."""

    def replace(run):
        monkeypatch.setattr(encoders, "run", lambda arguments: run() or 0)

    return replace


def talkative():
    LOGGER.info("epoch 1, loss 0.5")
    LOGGER.warning("the checkpoint is damaged")
    say("3 of 3 images segmented")
    complain("a.tif is damaged")


def read(path):
    """Level, logger and text of each line of a log."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ", line), line
    return [line.split(" ", 3)[1:] for line in lines]


def test_quiet_only_what_goes_wrong_is_said(command, capsys):
    command(talkative)
    assert main(["encoders", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "nucleiseg: the checkpoint is damaged\nnucleiseg: a.tif is damaged\n")
    assert main(["encoders"]) == 0
    assert capsys.readouterr().out == "3 of 3 images segmented\n"


def test_quiet_there_is_no_progress_whatever_the_environment_says(command, monkeypatch, capsys):
    shown = []
    command(lambda: shown.append((is_shown(), os.environ[VARIABLE])))
    monkeypatch.setenv(VARIABLE, "1")
    assert main(["encoders", "--quiet"]) == 0
    assert main(["encoders"]) == 0
    assert shown == [(False, "0"), (True, "1")]
    assert os.environ[VARIABLE] == "1"
    monkeypatch.delenv(VARIABLE)
    command(lambda: None)
    assert main(["encoders", "--quiet"]) == 0
    assert VARIABLE not in os.environ


def test_quiet_an_error_is_still_told_and_the_next_command_speaks_again(command, capsys):
    def fail():
        raise DatasetError("no labels")

    command(fail)
    assert main(["encoders", "--quiet"]) == 1
    assert capsys.readouterr() == ("", "nucleiseg: no labels\n")
    command(lambda: say("result"))
    main(["encoders"])
    assert capsys.readouterr().out == "result\n"


def test_quiet_scores_are_left_out_but_not_the_json_that_is_asked_for(disc_dataset, capsys):
    labels = str(disc_dataset / "labels")
    assert main(["score", labels, labels, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["score", labels, labels, "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ap50"] == 1


def test_a_log_file_has_everything_with_times(command, tmp_path, capsys):
    command(talkative)
    log = tmp_path / "new" / "folder" / "a.log"
    assert main(["encoders", "--quiet", "--log-file", str(log)]) == 0
    assert read(log) == [
        ["INFO", "nucleiseg.cli.messages:", f"nucleiseg {__version__}: nucleiseg encoders --quiet --log-file {log}"],
        ["INFO", "nucleiseg.training.fitting:", "epoch 1, loss 0.5"],
        ["WARNING", "nucleiseg.training.fitting:", "the checkpoint is damaged"],
        ["INFO", "nucleiseg.cli.terminal:", "3 of 3 images segmented"],
        ["ERROR", "nucleiseg.cli.terminal:", "a.tif is damaged"],
        ["INFO", "nucleiseg.cli.main:", "exit status 0"],
    ]
    assert capsys.readouterr().err == "nucleiseg: the checkpoint is damaged\nnucleiseg: a.tif is damaged\n"


def test_a_log_file_is_appended_to(command, tmp_path):
    command(lambda: None)
    log = tmp_path / "a.log"
    for _ in range(2):
        assert main(["encoders", "--log-file", str(log)]) == 0
    assert [text for *_, text in read(log)].count("exit status 0") == 2


def test_a_log_file_changes_nothing_on_the_terminal(command, tmp_path, capsys):
    command(talkative)
    main(["encoders"])
    plain = capsys.readouterr()
    main(["encoders", "--log-file", str(tmp_path / "a.log")])
    assert capsys.readouterr() == plain


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_warnings_are_one_line_and_in_the_log(command, tmp_path, capsys, quiet):
    def warn():
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            start = threading.Barrier(8)

            def read():
                start.wait()
                warnings.warn("the labels\nare merged", DatasetWarning, stacklevel=1)

            with ThreadPoolExecutor(8) as pool:  # said once
                list(pool.map(lambda _: read(), range(8)))
            warnings.warn("of another package", UserWarning, stacklevel=1)

    command(warn)
    before = warnings.showwarning
    with warnings.catch_warnings():  # pytest keeps them to itself
        warnings.showwarning = warnings._showwarning_orig
        warnings._showwarnmsg_impl = lambda message: sys.stderr.write(f"{message.category.__name__}\n")
        main(["encoders", "--log-file", str(tmp_path / "a.log"), *quiet])
    assert warnings.showwarning is before
    assert capsys.readouterr().err == "nucleiseg: the labels are merged\nUserWarning\n"
    text = (tmp_path / "a.log").read_text()
    assert "WARNING nucleiseg.cli.messages: DatasetWarning: the labels\nare merged" in text
    assert "WARNING nucleiseg.cli.messages: UserWarning: of another package" in text


def test_the_log_has_the_traceback_of_an_error_that_is_not_ours(command, tmp_path, capsys):
    def broken():
        raise ZeroDivisionError("a bug")

    command(broken)
    assert main(["encoders", "--log-file", str(tmp_path / "a.log")]) == 1
    assert "Traceback" not in capsys.readouterr().err
    text = (tmp_path / "a.log").read_text()
    assert "ERROR nucleiseg.cli.terminal: ZeroDivisionError: a bug" in text
    assert "Traceback (most recent call last)" in text
    assert text.splitlines()[-1].endswith("exit status 1")


def test_the_log_has_an_interruption(command, tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    command(interrupt)
    assert main(["encoders", "--log-file", str(tmp_path / "a.log")]) == 130
    assert [line[-1] for line in read(tmp_path / "a.log")][1:] == ["interrupted", "exit status 130"]


def test_a_log_file_that_cannot_be_written_is_wrong_usage_before_any_work(command, tmp_path, capsys):
    command(lambda: pytest.fail("it began to work"))
    assert main(["encoders", "--log-file", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"nucleiseg: --log-file must be a file that can be written, but {tmp_path} can't (Is a directory); "
        "choose another\n"
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_ends_the_log_not_the_work(command, capsys):
    command(talkative)
    assert main(["encoders", "--log-file", "/dev/full"]) == 0
    out, err = capsys.readouterr()
    assert out == "3 of 3 images segmented\n"
    first, *others = err.splitlines()
    assert first.startswith("nucleiseg: /dev/full takes no more lines (")
    assert others == ["nucleiseg: the checkpoint is damaged", "nucleiseg: a.tif is damaged"]


def test_nothing_is_left_in_the_process(command, tmp_path):
    logger = logging.getLogger("nucleiseg")
    before = (logger.level, list(logger.handlers), warnings.showwarning)
    command(talkative)
    main(["encoders", "--quiet", "--log-file", str(tmp_path / "a.log")])
    assert (logger.level, list(logger.handlers), warnings.showwarning) == before


SCORE = """
import sys
from nucleiseg.cli.main import main
from nucleiseg.cli import score
from nucleiseg.cli.terminal import complain
plain = score._compare
def compare(truth, prediction, max_pixels, masks, pictures):
    if truth.name == "disc2.png":
        complain("disc2 is odd")
    if truth.name == "disc4.png" and len(sys.argv) > 3:
        import time
        print("<Ctrl-C>", end="", flush=True)
        time.sleep(60)
    return plain(truth, prediction, max_pixels, masks, pictures)
score._compare = compare
sys.exit(main(["score", sys.argv[1], sys.argv[1], *sys.argv[2:3]]))
"""


def test_on_a_terminal_a_complaint_has_a_line_of_its_own(run_in_terminal, disc_dataset):
    status, sent, screen = run_in_terminal(SCORE, disc_dataset / "labels")
    assert status == 0
    assert "scoring  |" in sent
    assert screen[0] == "nucleiseg: disc2 is odd"
    assert screen[1].startswith("nuclei")
    assert not [line for line in screen if "scoring" in line]


def test_on_a_terminal_quiet_is_quiet(run_in_terminal, disc_dataset):
    assert run_in_terminal(SCORE, disc_dataset / "labels", "--quiet") == (
        0,
        "nucleiseg: disc2 is odd\r\n",
        ["nucleiseg: disc2 is odd"],
    )


def test_on_a_terminal_an_interruption_is_one_clean_line(run_in_terminal, disc_dataset):
    status, sent, screen = run_in_terminal(SCORE, disc_dataset / "labels", "--json", "interrupt")
    assert status == 130
    assert "^C" in sent
    assert screen == ["nucleiseg: disc2 is odd", "nucleiseg: interrupted"]


def test_piped_there_is_nothing_of_it(run_python, disc_dataset):
    process = run_python(SCORE, disc_dataset / "labels")
    assert process.stderr == "nucleiseg: disc2 is odd\n"
    assert "scoring" not in process.stdout
