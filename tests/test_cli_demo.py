"""``nucleiseg demo``: works offline, and says what it found and where it is."""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pytest
import tifffile

from nucleiseg.cli.demo import run
from nucleiseg.cli.main import main
from nucleiseg.images import read_image

OFFLINE = """
import socket, sys
def refuse(*arguments, **settings):
    raise OSError("there is no network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import skimage.data
whole = skimage.data.immunohistochemistry
skimage.data.immunohistochemistry = lambda: whole()[128:384, 128:384]  # all of it takes four times as long
from nucleiseg.cli.main import main
sys.exit(main(["demo", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def demo(run_python, tmp_path_factory):
    """The finished process, and the folder that it wrote."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    return run_python(OFFLINE, "-o", folder), folder


def test_it_works_offline_and_is_quiet(demo):
    process, _ = demo
    assert (process.returncode, process.stderr) == (0, "")


def test_it_leaves_picture_labels_mask_overlay_and_measurements(demo):
    _, folder = demo
    assert sorted(path.name for path in folder.iterdir()) == [
        "tissue.png",
        "tissue_labels.tif",
        "tissue_mask.png",
        "tissue_measurements.csv",
        "tissue_overlay.png",
    ]
    labels = tifffile.imread(folder / "tissue_labels.tif")
    picture = read_image(folder / "tissue.png")
    overlay = read_image(folder / "tissue_overlay.png")
    assert picture.shape == overlay.shape == (*labels.shape, 3)
    assert (picture != overlay).any()


def test_it_says_how_many_nuclei_there_are(demo):
    process, folder = demo
    labels = tifffile.imread(folder / "tissue_labels.tif")
    table = pd.read_csv(folder / "tissue_measurements.csv")
    assert process.stdout.startswith(f"{labels.max()} nuclei in a piece of colon tissue")
    assert table["label"].tolist() == np.unique(labels)[1:].tolist()
    assert len(table) > 20  # a figure that any model reaches, not a score


def test_it_says_where_everything_is(demo):
    process, folder = demo
    assert [path.name for path in folder.iterdir() if f" {path}\n" not in process.stdout] == []


@pytest.mark.parametrize("name", ["tissue.png", "tissue_labels.tif", "tissue_mask.png", "tissue_measurements.csv"])
def test_files_of_others_are_left_alone(tmp_path, monkeypatch, capfd, name):
    monkeypatch.setattr("nucleiseg.cli.demo.import_engine", lambda model: pytest.fail("before anything is loaded"))
    (tmp_path / name).write_text("a day's work")
    assert main(["demo", "-o", str(tmp_path)]) == 2
    assert f"{name} in {tmp_path} would be replaced, but nucleiseg did not write it" in capfd.readouterr().err
    assert (tmp_path / name).read_text() == "a day's work"


def test_it_may_replace_what_it_wrote(demo, monkeypatch):
    def stop(model):
        raise InterruptedError("the names are its own")

    monkeypatch.setattr("nucleiseg.cli.demo.import_engine", stop)
    with pytest.raises(InterruptedError, match="the names are its own"):
        run(argparse.Namespace(output=demo[1]))
