"""``nucleiseg evaluate``: which images are compared, with which options, and how the scores are printed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from nucleiseg import PredictOptions, Tiling, datasets, plotting
from nucleiseg.cli.main import main
from nucleiseg.images import ReadOptions
from nucleiseg.inference import Evaluation, ImageScore, Prediction
from nucleiseg.instances import match
from nucleiseg.segmenter import Segmenter


class Recorder:
    """In place of a model: remembers what it is given, and scores every image alike."""

    def evaluate(self, data, options, watch=None):
        self.ids, self.options = data.ids, options
        counts = match([[1, 1, 2, 0]], [[1, 1, 0, 0]])
        if watch is not None:
            for sample in data:
                watch(sample, Prediction(np.zeros((64, 64)), np.zeros((64, 64), np.float32), sample.labels))
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


@pytest.mark.filterwarnings("default::nucleiseg.errors.DatasetWarning")
def test_labels_that_make_scores_worthless_are_told(model, tmp_path, capfd):
    """Nuclei that all have one number, as of a mask of 0 and 2, would be one nucleus."""
    noise = np.random.default_rng(0)
    labels = np.zeros((2, 64, 64), np.uint8)
    labels[:, 8:20, 8:20] = labels[:, 40:52, 30:44] = 2
    images = noise.integers(0, 99, labels.shape, np.uint8) + 50 * labels
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    assert evaluate(tmp_path / "data.npz") == 0
    out, err = capfd.readouterr()
    assert "ap50" in out
    told = "the data has errors, seen in 2 of 2 images: masks instead of one label for each nucleus (2 images)"
    assert err.startswith(f"nucleiseg: {told}. Run 'nucleiseg check'")


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


def test_scores_are_printed_even_if_they_cannot_be_written(model, disc_dataset, tmp_path, monkeypatch, capfd):
    def write(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Evaluation, "write_per_image", write)
    assert evaluate(disc_dataset, "--per-image", tmp_path / "images.csv") == 1
    out, err = capfd.readouterr()
    assert "misses" in out
    assert "No space left on device" in err


@pytest.fixture
def drawn(monkeypatch):
    """In place of pictures: the name of each file and the sample that it shows."""
    seen = {}

    def plot_errors(image, truth, found, path, title):
        assert path.name.lower() not in seen, "a picture took the place of another"
        seen[path.name.lower()] = title

    monkeypatch.setattr(plotting, "plot_errors", plot_errors)
    return seen


@pytest.fixture
def alike(disc_dataset, tmp_path):
    """A dataset of ids that differ only in what file names do without."""
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number, name in enumerate(("a b", "a+b", "a_b", "A_B")):
            shutil.copy(disc_dataset / kind / f"disc{number}.png", tmp_path / "data" / kind / f"{name}.png")
    return tmp_path / "data"


def test_each_sample_has_a_picture_of_its_own(model, drawn, alike, tmp_path):
    assert evaluate(alike, "--pictures", tmp_path / "pictures") == 0
    assert sorted(drawn.values()) == sorted(["a b", "a+b", "a_b", "A_B"])
    assert sorted(drawn) == ["a_b-2_errors.png", "a_b-3_errors.png", "a_b-4_errors.png", "a_b_errors.png"]


def test_splits_may_be_drawn_into_one_folder(model, drawn, alike, tmp_path):
    table = tmp_path / "splits.csv"
    table.write_text("image_id,split\na b,val\na+b,val\na_b,test\nA_B,test\n")
    for split in ("val", "test"):
        assert evaluate(alike, "--splits", table, "--split", split, "--pictures", tmp_path / "pictures") == 0
    assert len(drawn) == 4


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


@pytest.mark.parametrize("table", ["nosuch.csv", "folder", "n" * 300 + ".csv"])
@pytest.mark.parametrize("command", ["evaluate", "check", "fine-tune", "train"])
def test_a_table_of_splits_that_is_not_there_is_told_before_images_are_looked_for(
    command, table, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr("nucleiseg.datasets.reading.open_dataset", lambda *_: pytest.fail("images were looked for"))
    output = ["-o", "mine.keras"] if command in ("fine-tune", "train") else []
    assert main([command, "no_images", "--splits", table, *output]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    told = "cannot be looked at" if table.startswith("nn") else "which is none; check the path"
    assert table in line
    assert told in line


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


@pytest.mark.parametrize("kind", ["folder", "arrays"])
def test_a_diameter_may_be_in_micrometres(model, disc_dataset, tmp_path, kind):
    data = disc_dataset
    if kind == "arrays":  # which have no channels or planes to choose
        data = tmp_path / "data.npz"
        labels = np.zeros((2, 8, 8), np.uint8)
        labels[:, 2:5, 2:5], labels[:, 6:, 2:5] = 1, 2
        np.savez(data, images=labels * 50, labels=labels)
    assert evaluate(data, "--diameter-um", "8", "--pixel-size", "0.5") == 0
    assert model.options == PredictOptions(diameter_um=8, reading=ReadOptions(pixel_size=0.5))


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
