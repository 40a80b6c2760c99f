"""Every registered exporter keeps the same contract, those of plugins included."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest

from nucleiseg._optional import check_extra, import_extra
from nucleiseg.errors import InvalidInputError, MissingPackageError, NucleisegError
from nucleiseg.images import read_micrograph
from nucleiseg.inference import Prediction
from nucleiseg.instances import (
    Exporter,
    NamedLabels,
    exporters,
    get_exporter,
    list_exporters,
    register_exporter,
    to_coco,
)

PLUGIN = """
from nucleiseg.instances import Exporter


def write(path, images):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{image.id} {len(image.table())}" for image in images]
    path.write_text("\\n".join(["counted by nucleiseg", *rows]))


counts = Exporter("counts", write, "_counts.txt", one_file=True)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package with an exporter; gives its name."""
    folder = tmp_path / "site"
    information = folder / "nuclei_counts-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / "nuclei_counts.py").write_text(PLUGIN)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: nuclei-counts\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[nucleiseg.exporters]\ncounts = nuclei_counts:counts\n")
    monkeypatch.syspath_prepend(folder)
    registry = exporters._exporters
    monkeypatch.setattr(registry, "_plugins", None)
    monkeypatch.setattr(registry, "_items", dict(registry._items))
    yield "counts"
    sys.modules.pop("nuclei_counts", None)


def check_contract(name, folder):
    """What every exporter does; see `Exporter`."""
    exporter = get_exporter(name)
    assert exporter.name == name
    exporter.check()
    images = [
        NamedLabels("empty", np.zeros((3, 4), np.int32)),
        NamedLabels("a", [[0, 7, 7], [70_000, 0, 7]], "plate/a.tif", pixel_size=0.5),
    ]
    batches = [images] if exporter.one_file else [[image] for image in images]
    for number, batch in enumerate(batches):
        given = [np.array(image.labels) for image in batch]
        path = exporter.export(folder / "new", f"x{number}", iter(batch))
        assert path == folder / "new" / f"x{number}{exporter.ending}"
        assert path.stat().st_size > 0
        assert exporters.is_own_export(path)
        for image, labels in zip(batch, given, strict=True):
            np.testing.assert_array_equal(image.labels, labels)
        before = path.read_bytes()
        exporter.export(folder / "new", f"x{number}", iter(batch))
        assert len(path.read_bytes()) == len(before)
    assert len(list((folder / "new").iterdir())) == len(batches)  # nothing is left over


@pytest.mark.parametrize("name", list_exporters())
def test_every_exporter_keeps_the_contract(name, tmp_path):
    if package := get_exporter(name).package:
        pytest.importorskip(package)
    check_contract(name, tmp_path)


def test_an_exporter_of_another_package_keeps_the_contract(plugin, tmp_path):
    assert plugin in list_exporters()
    assert "nuclei_counts" not in sys.modules
    check_contract(plugin, tmp_path)


@pytest.mark.parametrize("name", [name for name in list_exporters() if not get_exporter(name).one_file])
def test_one_image_a_file(name, tmp_path):
    if package := get_exporter(name).package:
        pytest.importorskip(package)
    with pytest.raises(InvalidInputError, match="holds one image, got 2"):
        get_exporter(name).export(tmp_path, "x", [NamedLabels("a", [[1]]), NamedLabels("b", [[1]])])


@pytest.mark.parametrize("name", ["imagej", "ome"])
def test_label_images_have_the_size_of_their_pixels(name, tmp_path):
    path = get_exporter(name).export(tmp_path, "x", [NamedLabels("a", [[0, 1]], pixel_size=0.5)])
    assert read_micrograph(path).pixel_size == pytest.approx(0.5)


def test_names_are_taken_once_and_unknown_ones_are_refused():
    with pytest.raises(InvalidInputError, match="export 'coco' is registered already"):
        register_exporter(get_exporter("coco"))
    with pytest.raises(InvalidInputError, match="unknown export 'cocoa'; did you mean 'coco'"):
        get_exporter("cocoa")


@pytest.mark.parametrize("ending", ["txt", "", ".a/b"])
def test_endings_begin_with_a_dot_or_an_underscore(ending):
    with pytest.raises(InvalidInputError, match="ending of an exporter must begin with"):
        Exporter("mine", print, ending)


def test_a_missing_package_is_named_with_a_remedy():
    lacking = dataclasses.replace(get_exporter("roi"), package="no_such_package")
    for call in (lacking.check, lambda: import_extra("no_such_package", "imagej", "the export 'roi'")):
        with pytest.raises(MissingPackageError, match="the export 'roi' needs the package no_such_package") as caught:
            call()
        assert 'pip install "nucleiseg[imagej]"\'' in str(caught.value)
        assert isinstance(caught.value, NucleisegError)
        assert isinstance(caught.value, ImportError)
    check_extra("zipfile", "imagej", "anything")


def test_files_of_others_are_known(tmp_path):
    (tmp_path / "a.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (tmp_path / "folder.zip").mkdir()
    for name in ("a.geojson", "folder.zip", "missing.zip"):
        assert not exporters.is_own_export(tmp_path / name)
    assert exporters.is_own_export(tmp_path / "missing.zip", missing=True)


def test_the_mark_is_found_in_large_files(tmp_path, monkeypatch):
    monkeypatch.setattr(exporters, "_MARK_WITHIN", 1000)
    labels = np.zeros((60, 60), np.int32)
    labels[::2, ::2] = np.random.default_rng(0).permutation(2_000_000)[:900].reshape(30, 30) + 1
    for name in ("npz", "geojson"):
        path = get_exporter(name).export(tmp_path, "x", [NamedLabels("x", labels)])
        assert path.stat().st_size > 2 * exporters._MARK_WITHIN
        assert exporters.is_own_export(path)


def test_npz_holds_labels_in_the_smallest_type_and_the_pixel_size(tmp_path):
    for highest, dtype in ((255, np.uint8), (256, np.uint16), (70_000, np.uint32)):
        path = get_exporter("npz").export(tmp_path, "x", [NamedLabels("x", [[0, highest]], pixel_size=0.5)])
        with np.load(path) as file:
            assert file["labels"].dtype == dtype
            assert file["labels"].tolist() == [[0, highest]]
            assert file["pixel_size"] == 0.5
    path = get_exporter("npz").export(tmp_path, "y", [NamedLabels("y", [[1]])])
    with np.load(path) as file:
        assert file.files == ["labels"]


def test_a_prediction_is_exported(tmp_path):
    labels = np.array([[1, 0, 2], [1, 0, 0]], np.int32)
    found = Prediction(np.full((2, 3), 9), np.array([0, 0.9, 0.6], np.float32)[labels], labels)
    paths = found.export(tmp_path / "out", "well", ["geojson", "rle"])
    assert {name: path.name for name, path in paths.items()} == {"geojson": "well.geojson", "rle": "well_rle.csv"}
    assert "mean_intensity_0" in paths["geojson"].read_text() or "intensity_mean-0" in paths["geojson"].read_text()
    told = "; ".join(found.quality)
    assert told == "flat; saturated"
    features = json.loads(paths["geojson"].read_text())["features"]
    assert [feature["properties"]["quality"] for feature in features] == [told] * 2
    coco = json.loads(found.export(tmp_path, "well", ["coco"])["coco"].read_text())
    assert coco["images"][0]["quality"] == told
    assert [nucleus["score"] for nucleus in coco["annotations"]] == pytest.approx(found.confidence.tolist())
    assert "score" not in to_coco([NamedLabels("a", found.labels)])["annotations"][0]
    with pytest.raises(InvalidInputError, match="unknown export 'svg'"):
        found.export(tmp_path / "new", formats=["rle", "svg"])
    assert not (tmp_path / "new").exists()
