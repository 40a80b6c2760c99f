"""``nucleiseg evaluate``: which images are compared, with which options, and how the scores are printed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from nucleiseg import PredictOptions, Tiling, datasets
from nucleiseg.cli.main import main
from nucleiseg.inference import Evaluation, ImageScore
from nucleiseg.instances import match
from nucleiseg.segmenter import Segmenter


class Recorder:
    """In place of a model: remembers what it is given, and scores every image alike."""

    def evaluate(self, data, options, watch=None):
        self.ids, self.options = data.ids, options
        counts = match([[1, 1, 2, 0]], [[1, 1, 0, 0]])
        return Evaluation([ImageScore(sample.id, "", counts) for sample in data])


@pytest.fixture
def model(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(Segmenter, "load", lambda path: recorder)
    return recorder


@pytest.fixture
def splits(tmp_path):
    """A function that writes a table of splits."""

    def write(*names, column="split"):
        rows = [f"disc{number},{name},{'ab'[number % 2]}" for number, name in enumerate(names)]
        path = tmp_path / "splits.csv"
        path.write_text("\n".join([f"image_id,{column},modality", *rows]))
        return path

    return write


def evaluate(*arguments):
    return main(["evaluate", *map(str, arguments)])


def test_it_prints_tables(model, disc_dataset, capfd):
    assert evaluate(disc_dataset) == 0
    out, err = capfd.readouterr()
    assert err == ""
    tables = [table.splitlines() for table in out.split("\n\n")]
    values = {name: value for header, row in tables for name, value in zip(header.split(), row.split(), strict=True)}
    assert values["images"] == "6"
    assert (values["nuclei"], values["errors"]) == ("12", "all")  # the first column of a table is its name
    assert (values["ap50"], values["f1_50"], values["dice"], values["misses"]) == ("0.5", "0.6667", "0.8", "6")


def test_json_is_for_machines(model, disc_dataset, capfd):
    assert evaluate(disc_dataset, "--json") == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert json.loads(out) == model.evaluate(datasets.read(disc_dataset), None).to_dict()


def test_scores_of_each_image_go_into_a_file(model, disc_dataset, tmp_path, capfd):
    assert evaluate(disc_dataset, "--per-image", tmp_path / "new" / "images.csv") == 0
    out, _ = capfd.readouterr()
    assert "images.csv" not in out
    table = pd.read_csv(tmp_path / "new" / "images.csv", dtype={"group": str}, keep_default_na=False)
    scored = model.evaluate(datasets.read(disc_dataset), None)
    pd.testing.assert_frame_equal(table, scored.per_image(), check_dtype=False)


def test_without_a_split_all_images_count(model, disc_dataset, splits):
    table = splits("train", "train", "val", "test", "test", "test")
    assert evaluate(disc_dataset, "--splits", table) == 0
    assert len(model.ids) == 6


def test_a_split_is_selected(model, disc_dataset, splits):
    table = splits("test", "train", "val", "test", "train", "train")
    assert evaluate(disc_dataset, "--splits", table, "--split", "test") == 0
    assert model.ids == ("disc0", "disc3")


def test_only_the_images_of_the_split_are_decoded(model, tmp_path, disc_dataset, splits):
    data = tmp_path / "data"
    shutil.copytree(disc_dataset, data)
    (data / "images" / "disc1.png").write_bytes(b"no image")
    table = splits("test", "train", "train", "test", "train", "train")
    assert evaluate(data, "--splits", table, "--split", "test") == 0
    assert evaluate(data, "--splits", table, "--split", "train") == 1


def test_splits_may_be_numbered(model, disc_dataset, splits):
    table = splits(0, 1, 2, 0, 1, 2)
    assert evaluate(disc_dataset, "--splits", table, "--split", "2") == 0
    assert model.ids == ("disc2", "disc5")


def test_labels_may_lie_elsewhere(model, disc_dataset):
    assert evaluate(disc_dataset / "images", "--labels", disc_dataset / "labels") == 0
    assert len(model.ids) == 6


def test_options_arrive(model, disc_dataset):
    flags = ["--threshold", "0.3", "--min-area", "5", "--tile", "64", "--overlap", "8", "--tta"]
    assert evaluate(disc_dataset, *flags) == 0
    assert model.options == PredictOptions(threshold=0.3, min_area=5, tiling=Tiling(64, 8), tta=True)


def test_a_damaged_image_is_one_line(model, tmp_path, disc_dataset, capfd):
    data = tmp_path / "data"
    shutil.copytree(disc_dataset, data)
    (data / "images" / "disc1.png").write_bytes(b"no image")
    assert evaluate(data) == 1
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert "disc1.png" in line


def test_the_model_in_the_box_scores_as_in_python(disc_dataset, splits, capfd):
    table = splits("test", "test", "train", "train", "train", "train")
    assert evaluate(disc_dataset, "--model", "nuclei", "--splits", table, "--split", "test", "--json") == 0
    out, err = capfd.readouterr()
    assert err == ""
    printed = json.loads(out)
    assert set(printed) == {"a", "b", "all"}  # the modalities of the table

    data = datasets.read(disc_dataset).with_metadata(table).select(["disc0", "disc1"])
    expected = Segmenter.from_pretrained("nuclei").evaluate(data).to_dict()
    for group, scores in expected.items():
        assert list(printed[group]) == list(scores)
        np.testing.assert_allclose(list(printed[group].values()), list(scores.values()), rtol=1e-6)
