"""Which file of labels, or which rows of a table, belong to which image; what is open is refused, never guessed."""

from __future__ import annotations

import os
import re
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image

from nucleiseg import datasets
from nucleiseg.datasets.doctor.checking import open_for_check
from nucleiseg.datasets.paired import find_two_labels
from nucleiseg.errors import DatasetError
from nucleiseg.instances import NamedLabels, write_run_lengths


def write(folder, *names):
    """Files whose pixels are their position here, from 2 on, so that none is a mask."""
    for value, name in enumerate(names, start=2):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 5), value, np.uint8)).save(path)


def pairs(folder):
    return {
        record.image.rpartition("/")[2]: record.labels.rpartition("/")[2]
        for record in datasets.read(folder, cache=False).records
    }


@pytest.mark.parametrize(
    "names",
    [
        {"x_mask.png": "x_mask.png"},
        {"x.png": "x.png", "x_mask.png": "x_mask.png"},
        {"x.png": "x_rois.png", "x_mask.png": "x_mask.png"},
        {"x.png": "x_mask.png", "x_mask.png": "x_mask_mask.png"},
        {"a.png": "a_labels.png", "x_mask.png": "x_mask.png"},
        {"w.ome.tif": "w_labels.ome.tif"},
        {"w.ome.tif": "w_labels.tif"},
        {"w.ome.tif": "w.png"},
        {"w.ome.tif": "w.ome_labels.tif"},
        {"w.ome.tif": "w.ome.tif"},
        {"w.tif": "w_labels.ome.tif"},
        {"w.tif": "w.tif", "w.ome.tif": "w.ome.tif"},
        {"x.png": "x.png", "x_mask.ome.tif": "x_mask.png"},
    ],
)
def test_labels_are_found_by_the_whole_name_then_without_endings(tmp_path, names):
    write(tmp_path / "images", *names)
    write(tmp_path / "labels", *names.values())
    assert pairs(tmp_path) == names
    for sample in datasets.read(tmp_path, cache=False):
        assert sample.labels[0, 0] == sample.image[0, 0]


def test_the_id_is_the_name_of_the_image(tmp_path):
    write(tmp_path / "images", "w.ome.tif", "x_mask.png")
    write(tmp_path / "labels", "w_labels.ome.tif", "x_mask.png")
    assert datasets.read(tmp_path, cache=False).ids == ("w.ome", "x_mask")


@pytest.mark.parametrize(
    ("images", "labels", "both"),
    [
        (["x.png"], ["x.png", "x_mask.png"], "x.png and x_mask.png"),
        (["x_mask.png"], ["x_mask.png", "x_mask_rois.png"], "x_mask.png and x_mask_rois.png"),
        (["w.ome.tif"], ["w.png", "w.ome.png"], "w.ome.png and w.png"),
        (["w.ome.tif", "w.tif"], ["w.tif", "w_labels.ome.tif"], "w.tif and w_labels.ome.tif"),
    ],
)
def test_two_labels_that_fit_one_image_are_refused(tmp_path, images, labels, both):
    write(tmp_path / "images", *images)
    write(tmp_path / "labels", *labels)
    with pytest.raises(DatasetError, match=f"labels: several files have one name .*: {both}; keep one of each"):
        datasets.read(tmp_path)


def test_labels_go_to_the_image_of_the_very_name_and_others_are_told(tmp_path):
    write(tmp_path / "images", "w.ome.tif", "w.tif", "x.png", "x_mask.png")
    write(tmp_path / "labels", "w.tif", "x_mask.png", "y_labels.png")
    with pytest.raises(DatasetError, match=r"2 lack labels: w\.ome, x;"):
        datasets.read(tmp_path)
    data, unpaired = open_for_check(tmp_path)
    assert data.ids == ("w", "x_mask")
    assert [entry.ids for entry in unpaired] == [("w.ome", "x"), ("y",)]


def test_a_picture_beside_labels_is_not_paired_with_an_image_of_its_name(tmp_path):
    """`predict` may have written it for ``x``."""
    write(tmp_path / "images", "x.png", "x_mask.png")
    write(tmp_path / "labels", "x_labels.tif", "x_mask.png")
    with pytest.raises(DatasetError, match="1 lack labels: x_mask;"):
        datasets.read(tmp_path)


@pytest.mark.parametrize("names", [("a.png", "a.tif"), ("a/images/x.png", "b/images/x.png")])
def test_rows_of_a_table_belong_to_one_image(tmp_path, names):
    write(tmp_path, *names)
    (tmp_path / "runs.csv").write_text("ImageId,EncodedPixels\na,1 1\nx,1 1")
    with pytest.raises(DatasetError, match=f"several files have one name .*: {' and '.join(names)}; keep one of each"):
        datasets.read(tmp_path / "runs.csv")


def test_hidden_files_need_no_row(tmp_path):
    """macOS keeps ``._a.png`` beside ``a.png`` on disks of other systems."""
    write(tmp_path, "images/a.png")
    (tmp_path / "images" / "._a.png").write_bytes(b"?")
    (tmp_path / "runs.csv").write_text("ImageId,EncodedPixels\na,1 1")
    assert datasets.read(tmp_path / "runs.csv").ids == ("a",)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are text there")
def test_run_lengths_of_names_that_are_no_text_come_back(tmp_path):
    labels = np.eye(6, dtype=np.int32)
    name = os.fsdecode(b"m\xfcll")
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / f"{name}.png")
    write_run_lengths(tmp_path / "runs.csv", [NamedLabels(name, labels)])
    (sample,) = datasets.read(tmp_path, labels=tmp_path / "runs.csv").load()
    np.testing.assert_array_equal(sample.labels > 0, labels > 0)


def test_images_and_labels_in_one_folder(tmp_path):
    """As Cellpose writes them; an image whose name ends so, without another of the rest of its name, stays one."""
    write(tmp_path, "a.png", "a_cp_masks.png", "b.png", "b_labels.png", "x_mask.png", "x_mask_mask.png")
    data = datasets.read(tmp_path, labels=tmp_path, cache=False)
    assert {record.id: record.labels.rpartition("/")[2] for record in data.records} == {
        "a": "a_cp_masks.png",
        "b": "b_labels.png",
        "x_mask": "x_mask_mask.png",
    }
    write(tmp_path, "c.png")
    with pytest.raises(DatasetError, match=r"1 lack labels: c;"):
        datasets.read(tmp_path, labels=tmp_path, cache=False)


def test_letters_with_accents_are_the_same_in_both_forms(tmp_path):
    """Which macOS and other systems write in different ways, and no one can see."""
    composed, apart = (unicodedata.normalize(form, "Präp 0 µm") for form in ("NFC", "NFD"))
    assert composed != apart
    write(tmp_path / "images", f"{composed}.png")
    write(tmp_path / "labels", f"{apart}_mask.png")
    data = datasets.read(tmp_path, cache=False)
    assert data.ids == (composed,)
    (tmp_path / "table.csv").write_text(f"id,well\n{apart},A1\n", encoding="utf-8")
    assert data.with_metadata(tmp_path / "table.csv").metadata[0]["well"] == "A1"
    truth, found = find_two_labels(tmp_path / "images", tmp_path / "labels")
    assert truth.keys() == found.keys()


def test_check_tells_what_is_missing_where_nothing_pairs(tmp_path):
    write(tmp_path / "images", "a.png")
    write(tmp_path / "labels", "b.png")
    with pytest.raises(DatasetError, match=r"1 lack labels: a;"):
        open_for_check(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "id;split\na;train\nb;val\n",  # as Excel writes where commas stand in decimals
        "id,split\na.png,train\nb.png,val\n",
        "id,split\na,train\nb,val\n,\n",  # a row that was cleared
    ],
)
def test_tables_are_read_as_spreadsheets_write_them(tmp_path, text):
    write(tmp_path / "images", "a.png", "b.png")
    write(tmp_path / "labels", "a.png", "b.png")
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    data = datasets.read(tmp_path, cache=False).with_metadata(tmp_path / "table.csv")
    assert [row["split"] for row in data.metadata] == ["train", "val"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (("a.png,train", "a.tif,val"), "each sample must have one row, 'a' has 'a.png' and 'a.tif'; remove one"),
        (("a.png,train", "a,val"), "each sample must have one row, 'a' has 'a.png' and 'a'; remove one"),
        (("a,val", "a.png,train"), "each sample must have one row, 'a' has 'a' and 'a.png'; remove one"),
        (("a.1,val", "a,train"), "every row needs a sample, 1 have none: a.1;"),
    ],
)
def test_two_rows_of_one_sample_are_refused(tmp_path, rows, told):
    write(tmp_path / "images", "a.png")
    write(tmp_path / "labels", "a.png")
    (tmp_path / "table.csv").write_text("\n".join(["id,split", *rows]), encoding="utf-8")
    with pytest.raises(DatasetError, match=re.escape(told)):
        datasets.read(tmp_path, cache=False).with_metadata(tmp_path / "table.csv")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_table_may_come_from_a_pipe(tmp_path):
    write(tmp_path / "images", "a.png")
    write(tmp_path / "labels", "a.png")
    reader, writer = os.pipe()
    os.write(writer, b"id,split\na,val\n")
    os.close(writer)
    data = datasets.read(tmp_path, cache=False).with_metadata(f"/dev/fd/{reader}")
    os.close(reader)
    assert data.metadata[0]["split"] == "val"


def test_what_else_lies_in_one_folder_is_left_alone(tmp_path):
    """OME-TIFF's second ending, Cellpose's own format, and a mask beside labels."""
    write(tmp_path, "a.ome.tif", "a_labels.tif", "b.png", "b_labels.tif", "b_mask.png")
    (tmp_path / "b_seg.npy").write_bytes(b"of Cellpose")
    data = datasets.read(tmp_path, labels=tmp_path, cache=False)
    assert {record.id: record.labels.rpartition("/")[2] for record in data.records} == {
        "a.ome": "a_labels.tif",
        "b": "b_labels.tif",
    }
