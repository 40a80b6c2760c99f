"""Mended labels: what is wrong goes, everything else stays, and the copy says what was done."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.datasets import CheckSettings, check, from_arrays, read, repair
from nucleiseg.datasets.arrays import ArrayRecord
from nucleiseg.datasets.doctor import open_for_check
from nucleiseg.datasets.doctor.facts import Facts, measure_labels
from nucleiseg.datasets.doctor.mending import mend
from nucleiseg.datasets.records import Overlap, SourceNotes
from nucleiseg.errors import InvalidInputError

EXAMPLES = settings(max_examples=60, deadline=None)
SETTINGS = CheckSettings()
FIXABLE = {"pieces", "holes", "specks", "id_gaps", "empty_masks"}

# Blocks of 4 x 4 pixels with single pixels changed: pieces, holes and specks in plenty.
blocks = hnp.arrays(np.int32, (6, 6), elements=st.sampled_from([0, 0, 0, 1, 2, 5]))
changes = st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23), st.sampled_from([0, 0, 1, 9])), max_size=8)


def messy(blocks, changes):
    labels = blocks.repeat(4, axis=0).repeat(4, axis=1)
    for row, column, value in changes:
        labels[row, column] = value
    return labels


def mended(labels, notes=None):
    record = ArrayRecord("a", np.zeros(labels.shape, np.uint8), labels)
    return mend(labels, Facts(record, measure_labels(labels), notes=notes or SourceNotes()), SETTINGS)


@EXAMPLES
@given(blocks, changes)
def test_mended_labels_have_nothing_left_to_mend(blocks, changes):
    labels = messy(blocks, changes)
    kept = labels.copy()
    result, done = mended(labels)
    np.testing.assert_array_equal(labels, kept)
    if done.beyond:
        np.testing.assert_array_equal(result, labels)
        return
    again, nothing = mended(result)
    np.testing.assert_array_equal(again, result)
    assert not nothing.changed
    image = np.random.default_rng(0).integers(0, 200, result.shape, np.uint8)
    assert FIXABLE.isdisjoint(check(from_arrays([image], [result])).kinds)


@EXAMPLES
@given(blocks, changes)
def test_only_specks_vanish_and_only_holes_are_filled(blocks, changes):
    labels = messy(blocks, changes)
    result, done = mended(labels)
    if done.beyond:
        return
    if ((labels > 0) & (result == 0)).any():  # not the reverse: a speck in a nucleus leaves a hole, which is filled
        assert done.specks > 0
    if ((labels == 0) & (result > 0)).any():
        assert done.holes > 0
    both = (labels > 0) & (result > 0)
    # Each new label lies in one old one, but for filled holes, which may have held a speck.
    for value in np.unique(result[both]):
        old = np.unique(labels[(result == value) & both], return_counts=True)[1]
        assert old.max() >= old.sum() - 8 * done.specks


def test_what_was_planted_is_counted():
    labels = np.zeros((40, 40), np.int32)
    labels[2:12, 2:12] = labels[20:30, 2:12] = 3  # two pieces
    labels[2:12, 20:30] = 8
    labels[5:7, 24:26] = labels[9, 27] = 0  # two holes
    labels[36, 36:39] = 9  # a speck
    labels[35, 2] = 8  # and a stray pixel
    result, done = mended(labels)
    assert (done.pieces, done.holes, done.specks, done.gaps) == (1, 2, 2, 6)
    assert sorted(np.unique(result, return_counts=True)[1].tolist()) == [100, 100, 100, 1300]


def test_sound_labels_stay_as_they_are():
    labels = np.kron(np.array([[1, 0, 2], [0, 3, 3]]), np.ones((5, 5))).astype(np.int32)
    result, done = mended(labels)
    np.testing.assert_array_equal(result, labels)
    assert not done.changed


def test_a_nucleus_behind_another_stays_whole():
    labels = np.zeros((20, 20), np.int32)
    labels[8:12, 2:18] = 1
    labels[2:18, 8:12] = 2
    result, _ = mended(labels, SourceNotes(mask_areas=[64, 64], overlaps=[Overlap(1, 2, 16)]))
    assert (result > 0).sum() == (labels > 0).sum()
    assert len(np.unique(result[8:12, [3, 15]])) == 1
    assert len(np.unique(mended(labels)[0][8:12, [3, 15]])) == 2


@pytest.mark.parametrize("corner", [False, True])
def test_a_single_nucleus_is_read_back_as_one_label_image(tmp_path, corner):
    labels = np.zeros((1, 20, 20), np.int32)
    labels[0, 2:8, 2:8] = 7
    if corner:
        labels[0, 8:14, 8:14] = 7
    result = repair(from_arrays(labels * 20, labels), tmp_path / "copy")
    copy = read(tmp_path / "copy", cache=False)
    assert np.unique(copy[0].labels).tolist() == [0, 2]  # 0 and 1 would be read as a mask, split at corners
    assert "id_gaps" not in check(copy).kinds
    assert not repair(copy, tmp_path / "again").changed
    assert result.samples[0].mended.gaps == 6


@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.float32])
def test_images_are_copied_to_the_last_bit(tmp_path, channels, dtype):
    image = (np.random.default_rng(0).random((12, 17, *channels)) * (2 if dtype is bool else 250)).astype(dtype)
    repair(from_arrays([image], [np.zeros((12, 17), int)], ["x"]), tmp_path / "copy")
    copy = read(tmp_path / "copy", cache=False)[0].image
    np.testing.assert_array_equal(copy.squeeze(), image.squeeze())
    assert copy.dtype == (np.uint8 if dtype is bool else dtype)


def test_names_are_made_for_files(tmp_path):
    long = ["y" * 246, "y" * 247, "核" * 300]
    names = ["../up", "a/b", "a_b", "A_B", "x_mask", "x", ".hidden", "größe 1", *long]
    images = np.zeros((len(names), 4, 4), np.uint8)
    images += np.arange(len(names), dtype=np.uint8)[:, None, None]
    result = repair(from_arrays(images, images * 0 + 1, names), tmp_path / "copy")
    assert {path.name for path in tmp_path.iterdir()} == {"copy"}
    written = [one.name for one in result.samples]
    assert len({name.lower() for name in written}) == len(names)
    assert all(len(os.fsencode(path.name)) <= 255 for path in (tmp_path / "copy").rglob("*"))
    copy = read(tmp_path / "copy", cache=False)
    assert sorted(copy.ids) == sorted(written)
    for sample in copy:
        assert sample.image[0, 0] == written.index(sample.id)


def test_the_tables_say_what_was_done(tmp_path, disc_dataset):
    table = "\n".join(["image_id,split", *(f"disc{number},{'train' if number else 'test'}" for number in range(6))])
    (tmp_path / "splits.csv").write_text(table)
    data = read(disc_dataset, cache=False).with_metadata(tmp_path / "splits.csv")
    result = repair(data, tmp_path / "copy")
    assert (len(result.samples), result.changed) == (6, ())
    with (tmp_path / "copy" / "changes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == list(data.ids)
    assert {row[name] for row in rows for name in ("pieces", "specks", "holes", "gaps")} == {"0"}
    copy = read(tmp_path / "copy", cache=False)
    assert [len(part) for part in copy.split_by(tmp_path / "copy" / "metadata.csv")] == [5, 0, 1]
    for before, after in zip(data, copy, strict=True):
        np.testing.assert_array_equal(before.labels, after.labels)
        np.testing.assert_array_equal(before.image, after.image)


def test_what_cannot_be_mended_is_left_and_said(tmp_path, disc_dataset):
    import shutil

    shutil.copytree(disc_dataset, tmp_path / "data")
    (tmp_path / "data" / "images" / "disc1.png").write_bytes(b"no image")
    (tmp_path / "data" / "labels" / "disc2.png").unlink()
    data, unpaired = open_for_check(tmp_path / "data")
    inverted = data[0].labels + 1
    from nucleiseg.instances import write_labels

    (tmp_path / "data" / "labels" / "disc0.png").unlink()
    write_labels(tmp_path / "data" / "labels" / "disc0.tif", inverted)
    (tmp_path / "data" / "labels" / "alone.png").write_bytes((tmp_path / "data" / "labels" / "disc3.png").read_bytes())
    data, unpaired = open_for_check(tmp_path / "data")
    result = repair(data, tmp_path / "copy", unpaired=unpaired)
    lacking = [name for each in unpaired for name in each.ids]
    assert sorted(lacking) == ["alone", "disc2"]
    assert [one.id for one in result.samples] == [*data.ids, *lacking]
    assert [one.id for one in result.samples if one.left_out] == ["disc1", *lacking]
    text = str(result)
    assert "left out, " in text
    assert "disc1.png" in text
    assert "left as it is, all_foreground: disc0" in text
    assert read(tmp_path / "copy", cache=False).ids == ("disc0", "disc3", "disc4", "disc5")
    np.testing.assert_array_equal(read(tmp_path / "copy", cache=False)[0].labels, inverted)
    assert [one["id"] for one in result.to_dict()["samples"]] == ["disc0", "disc1", *lacking]
    assert [line for line in text.splitlines() if any(name in line for name in lacking)] == [
        f"left out, {each.message}" for each in unpaired
    ]


def test_a_folder_that_holds_anything_is_refused(tmp_path):
    (tmp_path / "file").touch()
    data = from_arrays(np.zeros((1, 4, 4)), np.zeros((1, 4, 4), int))
    for folder in (tmp_path, tmp_path / "file"):
        with pytest.raises(InvalidInputError, match="new or empty folder"):
            repair(data, folder)
