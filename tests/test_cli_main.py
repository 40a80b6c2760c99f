"""The command line as a whole: usage, versions, errors in one line, and no TensorFlow before it is needed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from nucleiseg._version import __version__
from nucleiseg.cli import encoders
from nucleiseg.cli.main import main
from nucleiseg.cli.terminal import say
from nucleiseg.errors import DatasetError, InvalidInputError
from nucleiseg.networks import list_encoders
from nucleiseg.pretrained import list_pretrained, model_card

COMMANDS = ("predict", "train", "fine-tune", "evaluate", "score", "check", "export", "demo", "models", "encoders")

# Runs command lines one after the other in one process, and says after each what it did and what has been imported.
RUN_ALL = """
import contextlib, io, json, sys
from nucleiseg.cli.main import main
results = []
for arguments in json.load(open(sys.argv[1])):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as exit:
            status = exit.code
    loaded = sorted({"tensorflow", "keras"} & set(sys.modules))
    results.append({"status": status, "out": out.getvalue(), "err": err.getvalue(), "loaded": loaded})
print(json.dumps(results))
"""

GOOD = {
    "help": ["--help"],
    "version": ["--version"],
    "encoders": ["encoders"],
    "models": ["models"],
    **{f"{command} help": [command, "--help"] for command in COMMANDS},
}

PREDICT = ["predict", "DATA/images", "-o", "NEW/out"]
TRAIN = ["train", "DATA", "-o", "NEW/model.keras"]
EVALUATE = ["evaluate", "DATA"]
FINE_TUNE = ["fine-tune", "DATA", "-o", "NEW/mine.keras"]

# What is wrong, the command line, the exit status, and what the one line of the error must hold.
WRONG = {
    "no command": ([], 2, ["COMMAND", "nucleiseg --help"]),
    "unknown command": (["segment"], 2, ["segment", "predict"]),
    "unknown flag": ([*PREDICT, "--fast"], 2, ["--fast", "nucleiseg --help"]),
    "no output": (["predict", "DATA/images"], 2, ["--output", "nucleiseg predict --help"]),
    "threshold of text": ([*PREDICT, "--threshold", "half"], 2, ["--threshold", "half"]),
    "threshold above 1": ([*PREDICT, "--threshold", "1.5"], 2, ["threshold", "from 0 to 1", "1.5"]),
    "threshold not a number": ([*PREDICT, "--threshold", "nan"], 2, ["threshold", "nan"]),
    "negative area": ([*PREDICT, "--min-area", "-1"], 2, ["min_area", "-1"]),
    "tile of 0": ([*PREDICT, "--tile", "0"], 2, ["tile", "at least 1"]),
    "overlap too large": ([*PREDICT, "--tile", "64", "--overlap", "64"], 2, ["overlap", "64"]),
    "scale of text": ([*PREDICT, "--scale", "big"], 2, ["--scale: must be a number or auto, got 'big'; for example"]),
    "overlap without tile": ([*PREDICT, "--overlap", "64"], 2, ["--overlap needs --tile"]),
    "unknown model": ([*PREDICT, "--model", "nuclie"], 2, ["nuclie", "did you mean 'nuclei'?"]),
    "missing model file": ([*PREDICT, "--model", "NEW/none.keras"], 1, ["none.keras does not exist"]),
    "damaged model file": ([*PREDICT, "--model", "NEW/damaged.keras"], 1, ["damaged.keras is damaged"]),
    "missing input": (["predict", "NEW/none.png", "-o", "NEW/out"], 2, ["no such file or folder", "none.png"]),
    "missing inputs": (["predict", "NEW/1.png", "NEW/2*.png", "-o", "NEW/out"], 2, ["1.png", "2*.png"]),
    "output is a file": (["predict", "DATA/images", "-o", "NEW/file"], 2, ["must be a folder", "file"]),
    "output like a file": (
        ["predict", "DATA/images", "-o", "NEW/out.PNG"],
        2,
        ["must be a folder", "out.PNG ends like a file (.tif and .zarr are the", "use a name such as"],
    ),
    "output like a table": (["predict", "DATA/images", "-o", "NEW/out.csv"], 2, ["must be a folder", "out.csv ends"]),
    "errors like a file": (
        [*EVALUATE, "--pictures", "NEW/errors.tif"],
        2,
        ["must be a folder", "errors.tif ends like"],
    ),
    "demo like a file": (["demo", "-o", "NEW/demo.png"], 2, ["must be a folder", "demo.png ends like a file; use"]),
    "demo into a file": (["demo", "-o", "NEW/file"], 2, ["must be a folder", "file"]),
    "no .keras": (["train", "DATA", "-o", "NEW/model.h5"], 2, [".keras", "'model.h5'", "use model.keras"]),
    "model is a folder": (["train", "DATA", "-o", "NEW/folder.keras"], 2, ["folder.keras is a folder"]),
    "model below a file": (["train", "DATA", "-o", "NEW/file/m.keras"], 2, ["cannot be written into", "Not a dir"]),
    "name that no folder has": (["train", "DATA", "-o", f"NEW/{'n' * 300}/m.keras"], 2, ["name too long", "check the"]),
    "name that no file has": ([*EVALUATE, "--per-image", f"NEW/{'n' * 300}"], 2, ["name too long", "check the path"]),
    "errors under no name": ([*EVALUATE, "--pictures", f"NEW/{'n' * 300}"], 2, ["name too long", "check the path"]),
    "leftover checkpoint": (["train", "DATA", "-o", "NEW/left.keras"], 2, ["left_checkpoint", "--resume", "delete"]),
    "unknown encoder": ([*TRAIN, "--encoder", "mobilnet_v2"], 2, ["did you mean 'mobilenet_v2'?"]),
    "unknown head": ([*TRAIN, "--head", "tail"], 2, ["unknown head 'tail'", "semantic"]),
    "unknown loss": ([*TRAIN, "--loss", "dise"], 2, ["unknown loss 'dise'", "did you mean 'dice'?"]),
    "missing weights": ([*TRAIN, "--weights", "NEW/none.h5"], 2, ["weights", "none.h5"]),
    "no epochs": ([*TRAIN, "--epochs", "0"], 2, ["epochs", "at least 1", "0"]),
    "half an epoch": ([*TRAIN, "--epochs", "0.5"], 2, ["--epochs", "0.5"]),
    "negative frozen epochs": ([*TRAIN, "--frozen-epochs", "-1"], 2, ["frozen_epochs", "-1"]),
    "odd crop": ([*TRAIN, "--crop", "100"], 2, ["crop", "multiples of 32", "(128, 128)"]),
    "crop of 0": ([*TRAIN, "--crop", "0"], 2, ["crop", "at least 1"]),
    "empty batch": ([*TRAIN, "--batch-size", "0"], 2, ["batch_size", "at least 1"]),
    "no patience": ([*TRAIN, "--patience", "0"], 2, ["patience", "at least 1"]),
    "negative seed": ([*TRAIN, "--seed", "-1"], 2, ["seed", "-1"]),
    "balance without table": ([*TRAIN, "--balance", "modality"], 2, ["--balance needs --splits", "'modality'"]),
    "balance by what is not there": (
        [*TRAIN, "--splits", "NEW/splits.csv", "--balance", "stain"],
        2,
        ["unknown column", "'stain'", "modality"],
    ),
    "table without train": ([*TRAIN, "--splits", "NEW/test_only.csv"], 2, ["'train'", "got only test"]),
    "missing table": ([*TRAIN, "--splits", "NEW/none.csv"], 1, ["none.csv"]),
    "fine-tune no .keras": (["fine-tune", "DATA", "-o", "NEW/mine.h5"], 2, [".keras", "use mine.keras"]),
    "fine-tune below a file": (["fine-tune", "DATA", "-o", "NEW/file/new/m.keras"], 2, ["cannot be written", "choose"]),
    "fine-tune from nothing": ([*FINE_TUNE, "--start", "nuclie"], 2, ["did you mean 'nuclei'?"]),
    "too few images to fine-tune": (["fine-tune", "NEW/few.npz", "-o", "NEW/mine.keras"], 2, ["at least 5", "got 2"]),
    "too few reference images": ([*FINE_TUNE, "--reference", "NEW/one.npz"], 2, ["at least 3", "got 1"]),
    "missing data": (["train", "NEW/none", "-o", "NEW/model.keras"], 1, ["none: no such file or folder"]),
    "unknown layout": (["train", "NEW/empty", "-o", "NEW/model.keras"], 1, ["empty: unknown layout"]),
    "evaluate missing data": (["evaluate", "NEW/none"], 1, ["none: no such file or folder"]),
    "evaluate unknown model": ([*EVALUATE, "--model", "best"], 2, ["unknown pretrained model 'best'", "nuclei"]),
    "evaluate bad threshold": ([*EVALUATE, "--threshold", "-1"], 2, ["threshold", "-1"]),
    "scores into a folder": ([*EVALUATE, "--per-image", "NEW/empty"], 2, ["--per-image must be a file", "empty"]),
    "scores below a file": ([*EVALUATE, "--per-image", "NEW/file/a.csv"], 2, ["cannot be written into", "Not a dir"]),
    "errors below a file": ([*EVALUATE, "--pictures", "NEW/file/new"], 2, ["cannot be written into", "Not a dir"]),
    "no size of a pixel": (
        [*EVALUATE, "--diameter-um", "8"],
        2,
        ["--diameter-um needs --pixel-size, since datasets keep no sizes of a pixel, got none; add it"],
    ),
    "size of another pixel": (
        [*EVALUATE, "--diameter-um", "8", "--pixel-size", "0.5", "--level", "1"],
        2,
        ["--diameter-um needs images of the full size", "got --level 1; give --diameter"],
    ),
    "split without table": ([*EVALUATE, "--split", "test"], 2, ["--split needs --splits"]),
    "unknown split": ([*EVALUATE, "--splits", "NEW/splits.csv", "--split", "tset"], 2, ["did you mean 'test'?"]),
    "table without splits": (
        [*EVALUATE, "--splits", "NEW/no_split.csv", "--split", "test"],
        2,
        ["'test'", "no_split.csv", "(none)"],
    ),
    "score one folder": (["score", "DATA/labels"], 2, ["PREDICTION", "nucleiseg score --help"]),
    "score missing folder": (["score", "DATA/labels", "NEW/none"], 1, ["none: is not a folder"]),
    "score into a folder": (["score", *["DATA/labels"] * 2, "--per-image", "NEW/empty"], 2, ["--per-image", "empty"]),
    "score below a file": (
        ["score", *["DATA/labels"] * 2, "--per-image", "NEW/file/new/a.csv"],
        2,
        ["cannot be written into", "file/new (Not a directory); choose another output folder"],
    ),
    "log into a folder": ([*PREDICT, "--log-file", "NEW/empty"], 2, ["--log-file must be a file", "empty"]),
    "log below a file": ([*TRAIN, "--log-file", "NEW/file/a.log"], 2, ["--log-file must be a file", "a.log"]),
    "table of other images": ([*EVALUATE, "--splits", "NEW/others.csv"], 1, ["others.csv", "disc0"]),
}


def write_table(path, column, values, ids=None):
    ids = ids or [f"disc{number}" for number in range(6)]
    rows = [f"{name},{value},{kind}" for name, value, kind in zip(ids, values, ["bf", "fl"] * 3, strict=True)]
    path.write_text("\n".join([f"image_id,{column},modality", *rows]) + "\n")


@pytest.fixture(scope="module")
def results(tmp_path_factory, run_python, disc_dataset):
    """What each of the command lines does; none comes as far as TensorFlow, so one process can run them all."""
    new = tmp_path_factory.mktemp("new")
    (new / "damaged.keras").write_bytes(b"PK\x03\x04 and then nothing")
    (new / "file").touch()
    (new / "folder.keras").mkdir()
    (new / "left_checkpoint").mkdir()
    (new / "empty").mkdir()
    write_table(new / "splits.csv", "split", ["train"] * 3 + ["val", "test", "test"])
    write_table(new / "test_only.csv", "split", ["test"] * 6)
    write_table(new / "no_split.csv", "day", range(6))
    write_table(new / "others.csv", "split", ["test"] * 6, ids=list("abcdef"))
    for name, count in (("few", 2), ("one", 1)):
        blank = np.zeros((count, 8, 8), np.uint8)
        np.savez(new / f"{name}.npz", images=blank, labels=blank)
    before = sorted(new.rglob("*"))

    lines = {name: [*GOOD[name]] for name in GOOD} | {name: WRONG[name][0] for name in WRONG}
    places = {"DATA": str(disc_dataset), "NEW": str(new)}
    for place, path in places.items():
        lines = {name: [part.replace(place, path) for part in line] for name, line in lines.items()}
    (new / "lines.json").write_text(json.dumps(list(lines.values())))
    process = run_python(RUN_ALL, new / "lines.json")
    (new / "lines.json").unlink()
    assert process.returncode == 0, process.stderr
    assert sorted(new.rglob("*")) == before, "a command that fails must leave nothing"
    return dict(zip(lines, json.loads(process.stdout), strict=True))


@pytest.mark.parametrize("name", GOOD)
def test_what_needs_no_network_loads_none(results, name):
    result = results[name]
    assert (result["status"], result["loaded"], result["err"]) == (0, [], "")
    assert result["out"].strip()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_one_line_before_tensorflow_is_loaded(results, name):
    _, status, parts = WRONG[name]
    result = results[name]
    assert result["loaded"] == []
    assert (result["status"], result["out"]) == (status, "")
    (line,) = result["err"].splitlines()
    assert line.startswith("nucleiseg: ")
    assert [part for part in parts if part not in line] == []


def test_version(results):
    assert results["version"]["out"] == f"nucleiseg {__version__}\n"


def test_help_names_every_command(results):
    assert [command for command in COMMANDS if f"\n    {command} " not in results["help"]["out"]] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_flags_for_its_messages(results, command):
    assert [
        flag for flag in ("--debug", "--quiet", "--log-file") if flag not in results[f"{command} help"]["out"]
    ] == []


def test_encoders_are_listed_one_a_line(results):
    listed = results["encoders"]["out"].splitlines()
    assert listed == list_encoders()
    assert "mobilenet_v2" in listed


def test_shipped_models_are_listed_one_a_line_with_what_they_can_do(results):
    listed = results["models"]["out"].splitlines()
    assert results["models"]["loaded"] == []
    assert [line.split()[0] for line in listed] == list_pretrained()
    for line, name in zip(listed, list_pretrained(), strict=True):
        assert f"AP at IoU .5 {model_card(name)['test']['all']['ap50']:.3f}" in line


def test_the_installed_command_is_this_one():
    (command,) = entry_points(group="console_scripts", name="nucleiseg")
    assert command.load() is main


def test_python_runs_it_as_a_module_too(tmp_path):
    """In place of a path that lacks the script; help and mistakes load no TensorFlow."""
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    run = [sys.executable, "-m", "nucleiseg"]
    options = {"capture_output": True, "text": True, "check": False, "cwd": tmp_path}
    helped = subprocess.run([*run, "--help"], **options)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert helped.stdout.startswith("usage: nucleiseg ")
    wrong = subprocess.run([*run, "predict"], **options)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("nucleiseg: ")
    assert len(wrong.stderr.splitlines()) == 1


def fail(error):
    def run(arguments):
        raise error

    return run


def test_an_error_of_ours_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(encoders, "run", fail(DatasetError("two\nlines  of text")))
    assert main(["encoders"]) == 1
    assert capsys.readouterr() == ("", "nucleiseg: two lines of text\n")


def test_bad_input_is_wrong_usage(monkeypatch, capsys):
    monkeypatch.setattr(encoders, "run", fail(InvalidInputError("rule, what came, remedy")))
    assert main(["encoders"]) == 2
    assert capsys.readouterr() == ("", "nucleiseg: rule, what came, remedy\n")


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ZeroDivisionError("by zero\nwith a page of details"), "ZeroDivisionError: by zero"), (KeyError(), "KeyError:")],
)
def test_a_bug_is_one_line_too(monkeypatch, capsys, error, expected):
    monkeypatch.setattr(encoders, "run", fail(error))
    assert main(["encoders"]) == 1
    assert capsys.readouterr() == ("", f"nucleiseg: {expected} (run again with --debug to see where)\n")


@pytest.mark.parametrize("error", [DatasetError("broken"), ZeroDivisionError("broken")])
def test_debug_shows_where(monkeypatch, capsys, error):
    monkeypatch.setattr(encoders, "run", fail(error))
    assert main(["encoders", "--debug"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert "in run\n    raise error\n" in shown
    assert shown.splitlines()[-1].endswith("broken")


@pytest.mark.parametrize(("message", "shown"), [("", "interrupted"), ("go on with --resume", "go on with --resume")])
def test_an_interruption_is_one_line(monkeypatch, capsys, message, shown):
    monkeypatch.setattr(encoders, "run", fail(KeyboardInterrupt(message)))
    assert main(["encoders"]) == 130
    assert capsys.readouterr() == ("", f"nucleiseg: {shown}\n")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    command = f"'{sys.executable}' -m nucleiseg.cli.main encoders; echo $? >&2"
    reading, writing = os.pipe()
    os.close(reading)  # what `| true` comes to, without the race
    try:
        process = subprocess.run(["sh", "-c", command], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    finally:
        os.close(writing)
    assert process.stderr == "0\n"


def test_what_the_terminal_cannot_show_is_no_error(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    say(f"5 nuclei in {Path('Größe')}")
    assert stream.buffer.getvalue() == b"5 nuclei in Gr\\xf6\\xdfe\n"


def test_a_broken_tensorflow_says_what_it_says(run_python, tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'a library is missing\\n')\nraise ImportError('no TensorFlow')\n"
    )
    code = "import sys; from nucleiseg.cli.main import main; sys.exit(main(['demo']))"
    process = run_python(code, PYTHONPATH=str(tmp_path))
    assert process.returncode == 1
    assert process.stderr.splitlines() == [
        "a library is missing",
        "nucleiseg: ImportError: no TensorFlow (run again with --debug to see where)",
    ]
