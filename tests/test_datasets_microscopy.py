"""Datasets of microscopy files: which channel and planes are learned from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from nucleiseg import ReadOptions, datasets
from nucleiseg.cli.main import main
from nucleiseg.datasets.doctor import open_for_check
from nucleiseg.errors import DatasetError, ImageFileError
from nucleiseg.instances import NamedLabels, encode_run_lengths, to_coco
from nucleiseg.segmenter import Segmenter

LABELS = np.zeros((20, 30), np.uint16)
LABELS[3:9, 4:12], LABELS[10:18, 15:25] = 1, 2
PIXELS = np.random.default_rng(0).integers(0, 4000, (3, 2, 20, 30), np.uint16)  # depth, channel, row, column
WANTED = PIXELS[:, 1].max(axis=0)
READING = ReadOptions(channel="DAPI", project="max")


@pytest.fixture
def stacks(tmp_path):
    """Two stacks with labels beside them, in three layouts."""
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "labels").mkdir()
    for name in "ab":
        metadata = {"axes": "ZCYX", "Channel": {"Name": ["actin", "DAPI"]}}
        tifffile.imwrite(images / f"{name}.tif", PIXELS, ome=True, metadata=metadata)
        tifffile.imwrite(tmp_path / "labels" / f"{name}.tif", LABELS)
    runs = [f"{name},{encode_run_lengths(label == LABELS)}" for name in "ab" for label in (1, 2)]
    (tmp_path / "runs.csv").write_text("\n".join(["ImageId,EncodedPixels", *runs]))
    return tmp_path


@pytest.mark.parametrize("layout", ["paired", "runs.csv"])
def test_the_channel_and_the_projection_are_what_is_read(stacks, layout):
    data = datasets.read(stacks if layout == "paired" else stacks / layout, cache=False, reading=READING)
    assert data.ids == ("a", "b")
    for sample in data:
        np.testing.assert_array_equal(sample.image, WANTED)
        np.testing.assert_array_equal(sample.labels, LABELS)


def test_annotations_of_coco_are_read_with_it_too(stacks):
    content = to_coco([NamedLabels("a", LABELS)])
    for image in content["images"]:
        image["file_name"] = "a.tif"
    (stacks / "coco.json").write_text(json.dumps(content))
    (sample,) = datasets.read(stacks / "images", labels=stacks / "coco.json", cache=False, reading=READING)
    np.testing.assert_array_equal(sample.image, WANTED)


def test_what_is_left_open_is_an_error_that_lists_the_choices(stacks):
    with pytest.raises(ImageFileError, match=r"a\.tif.*project='max'"):
        datasets.read(stacks, cache=False, reading=ReadOptions(channel=1))[0]


def test_the_cache_knows_one_channel_from_another(stacks, tmp_path):
    for channel in (0, 1, 0):
        reading = ReadOptions(channel=channel, select={"Z": 2})
        data = datasets.read(stacks, cache=tmp_path / "cache", reading=reading)
        np.testing.assert_array_equal(data[0].image, PIXELS[2, channel])


def test_the_check_reads_as_training_does(stacks):
    data, unpaired = open_for_check(stacks, reading=READING)
    assert unpaired == []
    np.testing.assert_array_equal(data[0].image, WANTED)


def test_options_that_choose_nothing_are_fine_everywhere(tmp_path):
    np.savez(tmp_path / "data.npz", images=np.zeros((1, 8, 8), np.uint8), labels=np.zeros((1, 8, 8), int))
    assert len(datasets.read(tmp_path / "data.npz", reading=ReadOptions())) == 1


@pytest.mark.parametrize("layout", ["npz", "npy", "kaggle", "zip"])
def test_layouts_without_channels_refuse_to_choose_one(tmp_path, layout):
    labels, source = None, tmp_path / f"data.{layout}"
    if layout == "kaggle":
        source = tmp_path / "set"
        (source / "a" / "images").mkdir(parents=True)
    elif layout == "npy":
        labels = source
    source.touch()
    with pytest.raises(DatasetError, match=r"channels, planes and limits .* folders of image files only.*channel=0"):
        datasets.read(source, labels=labels, reading=ReadOptions(channel=0))


def test_labels_may_be_as_large_as_an_image_that_was_let_in(tmp_path, monkeypatch):
    monkeypatch.setattr("nucleiseg.datasets.label_files.MAX_PIXELS", 99)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", np.ones((10, 20), np.uint8))
    (read,) = datasets.read(tmp_path, cache=False, reading=ReadOptions(max_pixels=200))
    assert read.labels.shape == (10, 20)
    with pytest.raises(ImageFileError, match="10 x 20 is more than 199 pixels"):
        datasets.read(tmp_path, cache=False, reading=ReadOptions(max_pixels=199))[0]


FLAGS = ("--channel", "DAPI", "--project", "max")


def test_train_evaluate_and_check_have_the_flags(stacks, tmp_path, monkeypatch, capfd):
    seen = []

    class Recorder:
        def fit(self, train, *arguments, **options):
            seen.append(train[0].image)
            raise KeyboardInterrupt

        def evaluate(self, data, options, watch=None):
            assert options.reading == ReadOptions()
            seen.append(data[0].image)
            raise KeyboardInterrupt

    monkeypatch.setattr("nucleiseg.segmenter.Segmenter", lambda *arguments, **options: Recorder())
    (tmp_path / "splits.csv").write_text("image_id,split\na,train\nb,val\n")
    options = ["--splits", str(tmp_path / "splits.csv"), "--weights", "none", *FLAGS]
    assert main(["train", str(stacks), "-o", str(tmp_path / "m.keras"), *options]) == 130
    monkeypatch.undo()
    monkeypatch.setattr(Segmenter, "load", lambda path: Recorder())
    assert main(["evaluate", str(stacks), *FLAGS]) == 130
    assert main(["check", str(stacks), *FLAGS]) == 0
    assert "2 images" in capfd.readouterr().out
    for image in seen:
        np.testing.assert_array_equal(image, WANTED)
    assert len(seen) == 2
