"""Exports as training labels: what was written for other programs, or by them, is read beside images."""

from __future__ import annotations

import contextlib
import csv
import json
import pickle
import sys
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from nucleiseg import datasets
from nucleiseg.datasets.doctor.checking import open_for_check
from nucleiseg.datasets.records import SourceNotes
from nucleiseg.errors import DatasetError
from nucleiseg.inference import Prediction
from nucleiseg.instances import (
    NamedLabels,
    get_exporter,
    list_exporters,
    split_components,
    to_geojson,
    to_rois,
    write_rois,
    write_run_lengths,
)


@pytest.fixture
def labels():
    """Two label images: with holes and pieces, and without nuclei."""
    first = np.kron(np.array([[0, 9, 9, 9], [4, 0, 9, 0], [4, 4, 0, 9]]), np.ones((5, 6), int))
    first[2, 8:10] = 0
    return {"a": first, "b": np.zeros((7, 8), int)}


@pytest.fixture
def folder(tmp_path, labels):
    """A folder ``images``."""
    (tmp_path / "images").mkdir()
    for name, values in labels.items():
        Image.fromarray((values * 20).astype(np.uint8)).save(tmp_path / "images" / f"{name}.png")
    return tmp_path


def named(labels):
    return [NamedLabels(name, values, f"{name}.png", 0.5) for name, values in labels.items()]


def renumbered(labels):
    values = np.unique(labels[labels > 0])
    return np.where(labels > 0, np.searchsorted(values, labels) + 1, 0)


def skip_without(exporter):
    if exporter.package:
        pytest.importorskip(exporter.package)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("name", [name for name in list_exporters() if not get_exporter(name).one_file])
def test_a_file_for_each_image(name, cache, folder, labels):
    exporter = get_exporter(name)
    skip_without(exporter)
    for image in named(labels):
        exporter.export(folder / "labels", image.id, [image])
    for data in (datasets.read(folder, cache=cache), datasets.read(folder / "images", labels=folder / "labels")):
        assert data.ids == ("a", "b")
        for sample in data:
            assert sample.labels.dtype == np.int32
            np.testing.assert_array_equal(sample.labels, labels[sample.id])


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("name", ["coco", "rle"])
def test_one_file_for_all_images(name, cache, folder, labels):
    path = get_exporter(name).export(folder, "nuclei", named(labels))
    for data in (datasets.read(path, cache=cache), datasets.read(folder / "images", labels=path, cache=cache)):
        assert data.ids == ("a", "b")
        for sample in pickle.loads(pickle.dumps(data)):
            np.testing.assert_array_equal(sample.labels, renumbered(labels[sample.id]))


def test_a_nucleus_in_pieces_stays_one(folder, labels):
    """Which it would not if regions were taken for a mask of 0 and 1."""
    only = (labels["a"] == 9).astype(int)
    for image in (NamedLabels("a", only), NamedLabels("b", labels["b"])):
        get_exporter("geojson").export(folder / "labels", image.id, [image])
    np.testing.assert_array_equal(datasets.read(folder)[0].labels, only)


@pytest.mark.parametrize("ending", ["_rois.zip", "_RoiSet.zip", ".zip", ".roi"])
def test_regions_go_by_the_names_that_fiji_gives(folder, labels, ending):
    pytest.importorskip("roifile")
    (folder / "labels").mkdir()
    for name, values in labels.items():
        if ending == ".roi":
            values = values == 4 if name == "a" else np.ones_like(values)
            (folder / "labels" / f"{name}{ending}").write_bytes(to_rois(values)[0].tobytes())
        else:
            write_rois(folder / "labels" / f"{name}{ending}", values)
    assert datasets.read(folder)[0].labels.any()


def test_arrays_are_labels_too(folder, labels):
    (folder / "labels").mkdir()
    for name, values in labels.items():
        np.save(folder / "labels" / f"{name}.npy", values)
    np.testing.assert_array_equal(datasets.read(folder)[0].labels, labels["a"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.geojson", b"{", "a.geojson: is no JSON"),
        pytest.param("a.geojson", b"[" * 10**6, "a.geojson: is no JSON", id="nested without end"),
        ("a.geojson", b"[1]", "a.geojson: GeoJSON must be"),
        ("a.npy", b"?", "a.npy: cannot be read"),
        ("a.npz", b"PK", "a.npz: cannot be read"),
    ],
)
def test_damaged_files_are_named(folder, labels, name, content, message):
    (folder / "labels").mkdir()
    (folder / "labels" / name).write_bytes(content)
    np.save(folder / "labels" / "b.npy", labels["b"])
    with pytest.raises(DatasetError, match=message):
        datasets.read(folder)[0]


def test_arrays_must_be_labels(folder, labels):
    (folder / "labels").mkdir()
    np.savez(folder / "labels" / "a.npz", masks=labels["a"])
    np.save(folder / "labels" / "b.npy", labels["b"] + 0.5)
    data = datasets.read(folder)
    with pytest.raises(DatasetError, match=r"a.npz: cannot be read .*labels"):
        data[0]
    with pytest.raises(DatasetError, match=r"b.npy: labels must be integers"):
        data[1]


def test_damaged_regions_are_named(folder, labels):
    pytest.importorskip("roifile")
    (folder / "labels").mkdir()
    (folder / "labels" / "a_rois.zip").write_bytes(b"PK damaged")
    np.save(folder / "labels" / "b.npy", labels["b"])
    with pytest.raises(DatasetError, match=r"a_rois.zip: regions of interest must be"):
        datasets.read(folder)[0]


def coco_of(folder, labels):
    path = get_exporter("coco").export(folder, "nuclei", named(labels))
    return path, json.loads(path.read_text())


def test_coco_may_name_folders_and_leave_images_out(folder, labels):
    (folder / "images" / "sub").mkdir()
    (folder / "images" / "b.png").rename(folder / "images" / "sub" / "b.png")
    path, collection = coco_of(folder, labels)
    collection["images"][1]["file_name"] = "sub\\b.png"
    collection["images"][0]["file_name"] = "another/place/a.png"
    path.write_text(json.dumps(collection))
    assert datasets.read(path).ids == ("another/place/a", "sub/b")
    collection["images"].pop(1)
    path.write_text(json.dumps(collection))
    assert datasets.read(path).ids == ("another/place/a",)


def test_coco_of_two_folders_gives_no_image_the_labels_of_another(tmp_path):
    """Plates have images of the same names."""
    corners = {"A": np.zeros((8, 8), int), "B": np.zeros((8, 8), int)}
    corners["A"][:3, :3] = corners["B"][5:, 5:] = 1
    for plate, values in corners.items():
        (tmp_path / plate).mkdir()
        Image.fromarray((values * 200).astype(np.uint8)).save(tmp_path / plate / "w1.png")
    images = [NamedLabels(f"w1-{plate}", values, f"{plate}/w1.png") for plate, values in corners.items()]
    path = get_exporter("coco").export(tmp_path, "nuclei", images)
    for sample in datasets.read(tmp_path, labels=path):
        np.testing.assert_array_equal(sample.image > 0, sample.labels > 0)
    with pytest.raises(DatasetError, match=r"2 have none: A/w1.png, B/w1.png; pass the folder of the images"):
        datasets.read(tmp_path / "A", labels=path)


def test_coco_that_does_not_fit_is_refused(folder, labels):
    path, collection = coco_of(folder, labels)
    good = json.dumps(collection)
    for old, new, message in (
        ('"b.png"', '"c.png"', r"1 have none: c.png; pass the folder"),
        ('"images"', '"pictures"', r"nuclei_coco.json: a COCO file must have images"),
        (
            '"width": 24',
            '"width": 23',
            r"sample 'a': image and labels .* got \(15, 24\) and \(15, 23\)",
        ),
    ):
        assert old in good
        path.write_text(good.replace(old, new))
        with pytest.raises(DatasetError, match=message):
            datasets.read(path)[0]
    for text in ("{", "[]", "[" * 10**6):
        path.write_text(text)
        with pytest.raises(DatasetError, match="annotations in COCO's format"):
            datasets.read(path)
    Image.new("L", (3, 3)).save(folder / "images" / "a.png")
    path.write_text(good)
    with pytest.raises(DatasetError, match="same height and width"):
        datasets.read(path)[0]


def test_run_lengths_of_large_nuclei_are_read_again(folder):
    labels = np.zeros((40, 14_000), int)
    labels[5:30] = 1
    Image.fromarray((labels * 9).astype(np.uint8)).save(folder / "wide.png")
    limit = csv.field_size_limit()
    write_run_lengths(folder / "runs.csv", [NamedLabels("wide", labels)])
    assert (folder / "runs.csv").stat().st_size > limit
    (sample,) = datasets.read(folder, labels=folder / "runs.csv", cache=False)
    np.testing.assert_array_equal(sample.labels, labels)
    assert csv.field_size_limit() == limit


def test_results_beside_the_images_of_run_lengths_are_no_images(folder, labels):
    write_run_lengths(folder / "runs.csv", named(labels))
    for name, values in labels.items():
        Prediction(np.zeros(values.shape), np.zeros(values.shape, np.float32), values).save(folder / "images", name)
    assert datasets.read(folder / "images", labels=folder / "runs.csv").ids == ("a", "b")


def test_annotations_that_change_are_read_anew(folder, labels):
    path, _ = coco_of(folder, labels)
    assert datasets.read(path)[0].labels.max() == 2
    coco_of(folder, {**labels, "a": labels["a"] * (labels["a"] == 9)})
    assert datasets.read(path)[0].labels.max() == 1


def test_a_missing_package_is_not_a_bad_dataset(folder, labels, monkeypatch):
    (folder / "labels").mkdir()
    (folder / "labels" / "a.zip").write_bytes(b"PK")
    np.save(folder / "labels" / "b.npy", labels["b"])
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(ImportError, match=r"needs the package roifile .*nucleiseg\[imagej\]"):
        datasets.read(folder)[0]


def test_float_labels_of_imagej_are_whole_numbers(folder, labels):
    (folder / "labels").mkdir()
    for name, values in labels.items():
        tifffile.imwrite(folder / "labels" / f"{name}.tif", values.astype(np.float32))
    np.testing.assert_array_equal(datasets.read(folder)[0].labels, labels["a"])


def test_the_check_sees_annotations_that_overlap_and_images_that_lack(folder):
    box = [[0, 0, 6, 0, 6, 6, 0, 6]]
    sizes = {"a": (15, 24), "b": (7, 8), "gone": (9, 9)}
    collection = {
        "images": [
            {"id": name, "file_name": f"{name}.png", "height": height, "width": width}
            for name, (height, width) in sizes.items()
        ],
        "annotations": [{"image_id": "a", "segmentation": box}, {"image_id": "a", "segmentation": box}],
    }
    (folder / "coco.json").write_text(json.dumps(collection))
    data, unpaired = open_for_check(folder / "coco.json")
    assert data.ids == ("a", "b")
    assert [entry.ids for entry in unpaired] == [("gone.png",)]
    assert data.records[0].files() == (str(folder / "images" / "a.png"),)
    notes = SourceNotes()
    data.records[0].read(notes)
    assert notes.mask_areas == [36, 36]
    assert notes.overlaps == [(1, 2, 36)]


def test_geojson_is_read_as_qupath_compresses_it(folder, labels):
    """ "Compress data (zip)" of its dialog, which would look like an archive of ImageJ's regions."""
    (folder / "labels").mkdir()
    for name, values in labels.items():
        with zipfile.ZipFile(folder / "labels" / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{name}.geojson", json.dumps(to_geojson(values)))
    for sample in datasets.read(folder, cache=False):
        np.testing.assert_array_equal(sample.labels, labels[sample.id])


@pytest.mark.parametrize("kind", ["geojson", "roi"])
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_archives_are_told(folder, labels, kind, method):
    """Wherever the damage is: no error of zipfile's comes through, and those of ROIs are told as such."""
    pytest.importorskip("roifile")
    (folder / "labels").mkdir()
    data = json.dumps(to_geojson(labels["a"])).encode() if kind == "geojson" else to_rois(labels["a"])[0].tobytes()
    path = folder / "labels" / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(f"a.{kind}", data)
        archive.writestr(f"__MACOSX/._a.{kind}", b"Mac")
    (folder / "images" / "b.png").unlink()
    whole = path.read_bytes()
    assert (datasets.read(folder, cache=False)[0].labels > 0).any()
    noise = np.random.default_rng(0)
    for place in noise.integers(0, len(whole), 60).tolist():
        for damaged in (whole[:place], whole[:place] + bytes(9) + whole[place + 9 :]):
            path.write_bytes(damaged)
            with contextlib.suppress(DatasetError):
                _ = datasets.read(folder, cache=False)[0]


@pytest.mark.parametrize(("highest", "dtype"), [(1, np.uint8), (255, np.uint8), (65535, np.uint16)])
def test_masks_have_the_highest_value_of_their_type(highest, dtype, folder, labels):
    (folder / "labels").mkdir()
    for name, values in labels.items():
        tifffile.imwrite(folder / "labels" / f"{name}.tif", (values > 0).astype(dtype) * dtype(highest))
    sample = datasets.read(folder, cache=False)[0]
    np.testing.assert_array_equal(sample.labels, split_components(labels["a"] > 0))
