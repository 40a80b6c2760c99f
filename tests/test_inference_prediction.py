"""What a prediction holds, and what it leaves on disk."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from nucleiseg.errors import InvalidInputError
from nucleiseg.images import Micrograph, ReadOptions, as_micrograph, read_image, read_micrograph
from nucleiseg.inference import Prediction
from nucleiseg.inference import prediction as prediction_module

LABELS = np.array([[1, 1, 0, 0], [0, 0, 0, 2], [0, 3, 0, 2]], np.int32)


@pytest.fixture(params=[(), (1,), (2,), (3,), (4,)], ids=["grey", "1", "2", "3", "4"])
def prediction(request):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 65_535, (*LABELS.shape, *request.param)).astype(np.uint16)
    return Prediction(image, rng.random(LABELS.shape, np.float32), LABELS)


def test_mask_and_count_follow_from_the_labels(prediction):
    assert prediction.mask.dtype == bool
    np.testing.assert_array_equal(prediction.mask, LABELS > 0)
    assert prediction.count == 3
    assert isinstance(prediction.count, int)


def test_nothing_found():
    empty = Prediction(np.zeros((2, 3)), np.zeros((2, 3), np.float32), np.zeros((2, 3), np.int32))
    assert (empty.count, empty.mask.any(), len(empty.table())) == (0, False, 0)
    assert repr(empty) == "Prediction(2 × 3 pixels, 0 nuclei)"


def test_the_table_measures_the_raw_pixels(prediction):
    table = prediction.table()
    assert table["label"].tolist() == [1, 2, 3]
    assert table["area"].tolist() == [2, 2, 1]
    channels = prediction.image.reshape(*LABELS.shape, -1)
    channels = channels[..., : {2: 1, 4: 3}.get(channels.shape[2])]  # alpha is no intensity
    for channel in range(channels.shape[2]):
        expected = [channels[label == LABELS, channel].mean() for label in (1, 2, 3)]
        np.testing.assert_allclose(table[f"intensity_mean-{channel}"], expected)
    assert f"intensity_mean-{channels.shape[2]}" not in table


def intensities(picture):
    shown = picture.shown
    found = Prediction(shown, np.zeros(LABELS.shape, np.float32), LABELS, picture)
    return [name.removeprefix("intensity_mean-") for name in found.table() if name.startswith("intensity_mean")]


@pytest.mark.filterwarnings("ignore:channel . of an array is taken as transparency")
@pytest.mark.parametrize("channel", [None, 0])
def test_alpha_of_a_picture_is_not_measured(tmp_path, channel):
    pixels = np.random.default_rng(0).integers(0, 255, (*LABELS.shape, 4), np.uint8)
    reading = ReadOptions(channel=channel)
    for name in ("a.png", "a.tif"):
        for samples, measured in ((4, ["0", "1", "2"]), (3, ["0", "1", "2"]), (2, ["0"])):
            Image.fromarray(pixels[..., :samples]).save(tmp_path / name)
            assert intensities(read_micrograph(tmp_path / name, reading)) == measured
            assert intensities(as_micrograph(pixels[..., :samples], reading)) == measured


@pytest.mark.parametrize("count", [2, 4])
def test_two_and_four_channels_are_all_measured(tmp_path, count):
    pixels = np.random.default_rng(0).integers(0, 4000, (count, *LABELS.shape)).astype(np.uint16)
    all_of_them = [str(number) for number in range(count)]
    reading = ReadOptions(channel=1)
    for kind in ("ome", "imagej"):
        options = {kind: True, "photometric": "minisblack", "metadata": {"axes": "CYX"}}
        tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
        assert intensities(read_micrograph(tmp_path / "a.tif", reading)) == all_of_them
    last = np.moveaxis(pixels, 0, -1)
    assert intensities(as_micrograph(last, ReadOptions(axes="YXC", channel=1))) == all_of_them
    tifffile.imwrite(tmp_path / "a.tif", last, photometric="minisblack", planarconfig="contig", metadata=None)
    assert intensities(read_micrograph(tmp_path / "a.tif", reading)) == all_of_them


def test_the_overlay_is_a_picture_of_its_size(prediction):
    picture = prediction.overlay()
    assert (picture.shape, picture.dtype) == ((*LABELS.shape, 3), np.uint8)


def test_it_is_saved_in_four_files(prediction, tmp_path):
    paths = prediction.save(tmp_path / "new" / "results", stem="well_A01")
    assert {name: path.name for name, path in paths.items()} == {
        "labels": "well_A01_labels.tif",
        "mask": "well_A01_mask.png",
        "overlay": "well_A01_overlay.png",
        "measurements": "well_A01_measurements.csv",
    }
    assert sorted(paths.values()) == sorted((tmp_path / "new" / "results").iterdir())
    np.testing.assert_array_equal(tifffile.imread(paths["labels"]), LABELS)
    np.testing.assert_array_equal(read_image(paths["mask"]), np.where(LABELS > 0, 255, 0))
    np.testing.assert_array_equal(read_image(paths["overlay"]), prediction.overlay())
    read = pd.read_csv(paths["measurements"], keep_default_na=False)  # or empty texts would be read as missing
    pd.testing.assert_frame_equal(read, prediction.table(), check_dtype=False)


@pytest.mark.parametrize("write", ["save", "save_images", "export"])
@pytest.mark.parametrize("stem", ["sub/a", "../a", "a/", "ABSOLUTE"])
def test_stems_name_no_folder(prediction, tmp_path, write, stem):
    stem = stem.replace("ABSOLUTE", str(tmp_path / "input.tif"))
    with pytest.raises(InvalidInputError, match=r"stem must be the beginning of a file name.*use Path\(path\)\.stem"):
        getattr(prediction, write)(tmp_path / "out", stem)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [(), ("a", "a", "b")])
def test_large_images_have_the_table_of_small_ones(monkeypatch, channels):
    chance = np.random.default_rng(0)
    labels = np.kron(np.arange(1, 31).reshape(5, 6), np.pad(np.ones((9, 7), np.int32), 3)).astype(np.int32)
    pixels = chance.integers(0, 255, (*labels.shape, 3)).astype(np.uint8)
    source = Micrograph(pixels, pixels[..., 0], channels, 0.5)
    for found in (labels, np.zeros_like(labels)):
        count = int(found.max())
        made = Prediction(pixels[..., 0], chance.random(labels.shape, np.float32), found, source, rated=np.ones(count))
        small = made.table()
        with monkeypatch.context() as patch:
            patch.setattr(prediction_module, "LARGEST", 1)
            patch.setattr(prediction_module, "_PART", 20)
            pd.testing.assert_frame_equal(made.table(), small, rtol=1e-9, check_dtype=bool(count))


def test_the_stem_is_image_by_default_and_may_hold_dots(prediction, tmp_path):
    assert prediction.save(tmp_path)["mask"] == tmp_path / "image_mask.png"
    assert prediction.save(tmp_path, "a.b")["mask"] == tmp_path / "a.b_mask.png"


def test_saving_again_replaces(prediction, tmp_path):
    prediction.save(tmp_path)
    dataclasses.replace(prediction, labels=LABELS[::-1].copy()).save(tmp_path)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "image_labels.tif"), LABELS[::-1])
    assert len(list(tmp_path.iterdir())) == 4


def test_it_is_frozen(prediction):
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction.labels = LABELS
