"""``nucleiseg fine-tune``: a better model is written, a worse one is not, and mistakes cost no time."""

from __future__ import annotations

import errno
import json
import tempfile

import numpy as np
import pytest

from nucleiseg import fine_tuning
from nucleiseg.cli.main import main
from nucleiseg.fine_tuning import FineTuning
from nucleiseg.inference import Comparison, Evaluation, ImageScore
from nucleiseg.instances import match
from nucleiseg.modelfile import read_settings
from nucleiseg.plotting import History
from nucleiseg.segmenter import Segmenter

WRITTEN = ["mine.keras", "mine_curves.png", "mine_history.csv"]


def score(found):
    truth = np.arange(1, 11)[np.newaxis]
    return Evaluation([ImageScore("a", "", match(truth, np.where(truth <= found, truth, 0)))])


@pytest.fixture(scope="module")
def start(tiny_segmenter, tmp_path_factory):
    """The file of a model that counts as trained."""
    segmenter = Segmenter.__new__(Segmenter)
    settings = {**vars(tiny_segmenter._settings), "trained": True}
    segmenter._settings, segmenter._engine = type(tiny_segmenter._settings)(**settings), tiny_segmenter._engine
    return segmenter.save(tmp_path_factory.mktemp("start") / "start.keras")


@pytest.fixture
def tuned(monkeypatch):
    """Replaces `fine_tune`, and tells what it was given; ``after`` decides whether the tuned model is better."""
    seen = {"after": 8}

    def fine_tune(segmenter, data, reference=None, epochs=30, **others):
        seen.update(segmenter=segmenter, data=data, reference=reference, epochs=epochs, **others)
        own = Comparison(score(5), score(seen["after"]))
        history = History(({"epoch": 0, "val_dice": 0.2}, {"epoch": 1, "loss": 0.5, "val_dice": 0.7}))
        return FineTuning(segmenter, segmenter, own, None, history, others["tolerance"], 4, 1)

    monkeypatch.setattr(fine_tuning, "fine_tune", fine_tune)
    return seen


def run(*arguments):
    return main(["fine-tune", *map(str, arguments)])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_better_model_is_written(tuned, start, disc_dataset, tmp_path, capfd):
    assert run(disc_dataset, "-o", tmp_path / "mine.keras", "--start", start, "--epochs", 3) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "held-out, own             1   0.500  0.800  +0.300" in out
    assert "The tuned model is kept" in out
    assert out.splitlines()[-3:] == [str(tmp_path / name) for name in ("mine.keras", WRITTEN[2], WRITTEN[1])]
    assert names(tmp_path) == WRITTEN
    assert read_settings(tmp_path / "mine.keras")["segmenter"]["encoder"] == "tiny"
    assert (tuned["epochs"], tuned["tolerance"], tuned["seed"], tuned["curve"]) == (3, 0.02, 0, False)
    assert len(tuned["data"]) == 6
    assert tuned["reference"] is None


def test_the_case_of_an_ending_does_not_matter(tuned, start, disc_dataset, tmp_path):
    capital = tmp_path / "M.KERAS"
    capital.write_bytes(start.read_bytes())
    assert run(disc_dataset, "-o", tmp_path / "mine.keras", "--start", capital) == 0
    assert isinstance(tuned["segmenter"], Segmenter)


@pytest.fixture
def full(monkeypatch, tmp_path):
    """A disk on which the folder ``full`` has no room; gives that folder, and the one for temporary files."""
    folder, refuge = tmp_path / "full", tmp_path / "refuge"
    folder.mkdir()
    refuge.mkdir()
    plain = Segmenter.save

    def save(self, path, half=False):
        if folder in path.parents:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return plain(self, path, half)

    monkeypatch.setattr(Segmenter, "save", save)
    monkeypatch.setattr(tempfile, "tempdir", str(refuge))
    return folder, refuge


def test_where_the_disk_is_full_the_model_is_written_elsewhere(tuned, start, disc_dataset, full, capfd):
    folder, refuge = full
    assert run(disc_dataset, "-o", folder / "mine.keras", "--start", start) == 1
    (elsewhere,) = refuge.iterdir()
    assert names(elsewhere) == ["mine.keras"]
    assert names(folder) == []
    assert capfd.readouterr().err == (
        f"nucleiseg: {folder / 'mine.keras'} could not be written (No space left on device); "
        f"the tuned model is in {elsewhere / 'mine.keras'}, move it from there\n"
    )


def test_where_no_disk_has_room_the_error_names_the_file(tuned, start, disc_dataset, full, monkeypatch, capfd):
    folder, _ = full
    (folder / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
    assert run(disc_dataset, "-o", folder / "mine.keras", "--start", start) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert str(folder / "mine.keras") in line
    assert names(folder / "tmp") == []


def test_a_worse_model_is_not_written(tuned, start, disc_dataset, tmp_path, capfd):
    tuned["after"] = 5
    assert run(disc_dataset, "-o", tmp_path / "mine.keras", "--start", start) == 1
    out, err = capfd.readouterr()
    assert "The model stays as it was" in out
    assert err == (
        f"nucleiseg: {tmp_path / 'mine.keras'} was not written, since the tuned model is not better; "
        "--even-if-worse writes it\n"
    )
    assert names(tmp_path) == []


def test_a_worse_model_is_written_if_that_is_asked_for(tuned, start, disc_dataset, tmp_path, capfd):
    tuned["after"] = 1
    assert run(disc_dataset, "-o", tmp_path / "mine.keras", "--start", start, "--even-if-worse") == 0
    assert "The model stays as it was" in capfd.readouterr().out
    assert names(tmp_path) == WRITTEN


def test_tables_decide_splits_and_json_is_one_object(tuned, start, disc_dataset, tmp_path, capfd):
    table = tmp_path / "splits.csv"
    splits = ["train", "train", "train", "val", "test", "test"]
    table.write_text("\n".join(["id,split", *(f"disc{number},{split}" for number, split in enumerate(splits))]))
    flags = ["--splits", table, "--reference", disc_dataset, "--learning-curve", "--tolerance", 0.1, "--seed", 4]
    output = tmp_path / "new" / "mine.keras"
    assert run(disc_dataset, "-o", output, "--start", start, "--json", "--half", *flags) == 0
    assert json.loads(capfd.readouterr().out)["own"]["gain"] == pytest.approx(0.3)
    assert [len(part) for part in tuned["data"]] == [3, 1, 2]
    assert len(tuned["reference"]) == 6
    assert (tuned["tolerance"], tuned["seed"], tuned["curve"]) == (0.1, 4, True)
    assert names(output.parent) == WRITTEN


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-o", "mine.h5"], "must end in .keras, got 'mine.h5'; use mine.keras"),
        (["--start", "nuclie"], "did you mean 'nuclei'?"),
        (["--start", "gone.keras"], "the model to start from must be a file, got gone.keras"),
        (["--epochs", "0"], "epochs must be"),
        (["--tolerance", "2"], "tolerance must be a number from 0 to 1, got 2"),
        (["--seed", "-1"], "seed must be"),
        (["--splits", "TABLE"], "and to judge by (test), got 6, 0, 0; give each part one at least"),
        (["--labels", "EMPTY"], "EMPTY"),
    ],
)
def test_mistakes_are_one_line(disc_dataset, tmp_path, monkeypatch, capfd, flags, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "TABLE").write_text("\n".join(["id,split", *(f"disc{number},train" for number in range(6))]))
    (tmp_path / "EMPTY").mkdir()
    data = disc_dataset / "images" if "--labels" in flags else disc_dataset
    assert run(data, "-o", "mine.keras", *flags) in (1, 2)
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line
    assert names(tmp_path) == ["EMPTY", "TABLE"]
