"""What `write_pair` adds to a dataset is what `read` finds there."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nucleiseg import ReadOptions, datasets
from nucleiseg.errors import DatasetError, InvalidInputError
from nucleiseg.images import read_micrograph

LABELS = np.array([[0, 3, 3], [0, 0, 7], [9, 9, 7]])
GREY = np.arange(9, dtype=np.uint16).reshape(3, 3)


def read(folder):
    return datasets.read(folder, cache=False)


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
def test_images_of_every_kind_come_back(tmp_path, dtype, channels):
    image = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 100, (3, 3, *channels)).astype(dtype)
    datasets.write_pair(tmp_path, image, LABELS, "a", pixel_size=0.5)
    (sample,) = read(tmp_path)
    colour = image[..., :-1] if channels in [(2,), (4,)] else image
    expected = colour[..., 0] if channels in [(1,), (2,)] else colour
    np.testing.assert_array_equal(sample.image, expected * (255 if dtype == "?" else 1))
    np.testing.assert_array_equal(sample.labels, LABELS)
    assert read_micrograph(tmp_path / "images" / "a.tif").pixel_size == pytest.approx(0.5)
    if dtype not in ("?", "f2"):
        assert sample.image.dtype == image.dtype


@pytest.mark.parametrize("value", [0, 1, 2, 255, 70000])
def test_a_single_nucleus_in_two_pieces_stays_one(tmp_path, value):
    datasets.write_pair(tmp_path, GREY, np.array([[1, 0, 1]] * 3) * value)
    (sample,) = read(tmp_path)
    assert len(np.unique(sample.labels[sample.labels > 0])) == (value > 0)
    np.testing.assert_array_equal(sample.labels > 0, np.array([[1, 0, 1]] * 3) * value > 0)


@given(stems=st.lists(st.text(max_size=150), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_whatever_images_are_called_all_are_there(tmp_path_factory, stems):
    folder = tmp_path_factory.mktemp("data")
    for number, stem in enumerate(stems):
        datasets.write_pair(folder, GREY + number, LABELS + number, stem)
    found = read(folder)
    assert sorted(sample.labels.min() for sample in found) == list(range(len(stems)))
    assert all(sample.image[0, 0] == sample.labels[0, 0] for sample in found)


@pytest.mark.parametrize("character", ["x", "é", "核"])
def test_long_names_are_cut_to_what_file_systems_allow(tmp_path, character):
    for number in range(3):
        datasets.write_pair(tmp_path, GREY + number, LABELS, character * 300)
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(read(tmp_path)) == len({path.stem for path in paths}) == 3
    assert all(len(os.fsencode(path.name)) <= 255 for path in paths)


@pytest.mark.parametrize("stem", ["cells_mask", "cells_labels", "a_rois_mask", "x_labels.ome", "../../x", ""])
def test_names_that_readers_would_shorten_pair_up(tmp_path, stem):
    image, labels = datasets.write_pair(tmp_path, GREY, LABELS, stem)
    assert image.parent == tmp_path / "images"
    assert labels.parent == tmp_path / "labels"
    assert len(read(tmp_path)) == 1


def test_the_same_image_gets_its_new_labels(tmp_path):
    first = datasets.write_pair(tmp_path, GREY, LABELS, "a")
    assert datasets.write_pair(tmp_path, GREY, LABELS * 2, "a") == first
    (sample,) = read(tmp_path)
    np.testing.assert_array_equal(sample.labels, LABELS * 2)


def test_another_image_of_the_same_name_stays_beside_it(tmp_path):
    datasets.write_pair(tmp_path, GREY, LABELS, "a")
    datasets.write_pair(tmp_path, GREY + 1, LABELS, "A")
    datasets.write_pair(tmp_path, GREY.astype(np.float32), LABELS, "a")
    assert {sample.id for sample in read(tmp_path)} == {"a", "A-2", "a-3"}
    datasets.write_pair(tmp_path, GREY.astype(np.float32), LABELS + 1, "a")  # found again under its number
    assert len(read(tmp_path)) == 3


def test_a_file_that_is_no_image_any_more_is_left_alone(tmp_path):
    image, _ = datasets.write_pair(tmp_path, GREY, LABELS, "a")
    image.write_bytes(b"no TIFF")
    assert datasets.write_pair(tmp_path, GREY, LABELS, "a")[0].name == "a-2.tif"
    assert image.read_bytes() == b"no TIFF"


def test_files_of_others_are_never_replaced(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.fromarray(GREY).save(tmp_path / "images" / "a.png")
    Image.fromarray(LABELS.astype(np.uint16)).save(tmp_path / "labels" / "a_labels.png")
    datasets.write_pair(tmp_path, GREY, LABELS * 2, "a")
    assert {sample.id for sample in read(tmp_path)} == {"a", "a-2"}


def test_nothing_is_left_where_labels_cannot_be_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("nucleiseg.datasets.writing.write_labels", full)
    with pytest.raises(OSError, match="no space"):
        datasets.write_pair(tmp_path, GREY, LABELS)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_of_masks_is_refused(tmp_path):
    (tmp_path / "masks").mkdir()
    with pytest.raises(DatasetError, match="holds masks"):
        datasets.write_pair(tmp_path, GREY, LABELS)


def test_a_file_is_no_dataset(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="is a file"):
        datasets.write_pair(tmp_path / "file", GREY, LABELS)


@pytest.mark.parametrize(
    ("image", "labels", "message"),
    [
        (GREY, LABELS[:2], "same height and width"),
        (np.zeros((2, 3, 3, 3)), LABELS, "image"),
        (GREY, LABELS * 0.5, "labels"),
        (GREY, LABELS * 2**31, "at most 2147483647"),
    ],
)
def test_what_is_no_pair_is_refused(tmp_path, image, labels, message):
    with pytest.raises(InvalidInputError, match=message):
        datasets.write_pair(tmp_path / "new", image, labels)
    assert not (tmp_path / "new").exists()


def test_pixels_can_be_chosen_when_reading(tmp_path):
    datasets.write_pair(tmp_path, np.stack([GREY] * 3, -1), LABELS)
    (sample,) = datasets.read(tmp_path, cache=False, reading=ReadOptions(channel=1))
    assert sample.image.shape == (3, 3)
