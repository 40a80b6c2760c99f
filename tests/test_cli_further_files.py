"""``predict --export`` and ``--pictures``, ``evaluate --pictures``: what is written, and what is never replaced."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nucleiseg import datasets
from nucleiseg.cli import joint_files
from nucleiseg.cli.main import main
from nucleiseg.images import Micrograph, read_image, read_micrograph
from nucleiseg.inference import Prediction
from nucleiseg.instances import from_geojson, list_exporters, split_components
from nucleiseg.segmenter import Segmenter


class Threshold:
    """In place of a network: what is brighter than half of 8 bits is nucleus."""

    def predict(self, source, options):
        image = source.shown if isinstance(source, Micrograph) else source
        return Prediction(image, (image > 127).astype(np.float32), split_components((image > 127).astype(np.float32)))

    evaluate = Segmenter.evaluate


@pytest.fixture
def model(monkeypatch):
    """Stands in for every model that is loaded."""
    monkeypatch.setattr(Segmenter, "load", lambda path: Threshold())


@pytest.fixture
def images(tmp_path):
    """Two images of the same name in two folders, and one without nuclei."""
    for number, name in enumerate(["one/a.png", "two/a.png", "two/dark.png"]):
        image = np.full((16, 20), 10, np.uint8)
        if name != "two/dark.png":
            image[2:6, 2 + number : 7], image[8:12, 12:15] = 200, 220
        path = tmp_path / "plate" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "plate"


def predict(*arguments):
    return main(["predict", *map(str, arguments)])


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".nucleiseg")


def test_exports_of_each_image_and_of_all(model, images, tmp_path, capfd):
    out = tmp_path / "out"
    assert predict(images / "one", images / "two", "-o", out, "--export", "geojson,coco, rle,coco") == 0
    told = "look at 3 of 3 images before you trust them (saturated: a.png, a.png; flat: dark.png; empty: dark.png)"
    assert capfd.readouterr().err == f"nucleiseg: {told}; all are in summary.csv\n"
    further = [n for n in names(out) if not n.endswith(("_labels.tif", "_mask.png", "_overlay.png", "ments.csv"))]
    assert [n for n in further if n not in ("summary.csv", "run.json")] == [
        "a-2.geojson",
        "a.geojson",
        "dark.geojson",
        "nuclei_coco.json",
        "nuclei_rle.csv",
    ]
    for stem in ("a", "a-2", "dark"):
        labels = read_image(out / f"{stem}_labels.tif")
        collection = json.loads((out / f"{stem}.geojson").read_text())
        np.testing.assert_array_equal(from_geojson(collection, labels.shape), labels)
        for feature in collection["features"]:
            assert feature["properties"]["measurements"]["area"] in (12, 16, 20)
            assert feature["properties"]["quality"] == "saturated"
    told = json.loads((out / "nuclei_coco.json").read_text())["images"]
    assert [image["quality"] for image in told] == ["saturated", "saturated", "flat; empty"]
    # COCO has the files as they lie, so that its readers find the images; Kaggle's table has unique names.
    data = datasets.read(images, labels=out / "nuclei_coco.json")
    assert data.ids == ("one/a", "two/a", "two/dark")
    for sample, stem in zip(data, ("a", "a-2", "dark"), strict=True):
        np.testing.assert_array_equal(sample.labels, read_image(out / f"{stem}_labels.tif"))
    assert pd.read_csv(out / "nuclei_rle.csv")["ImageId"].unique().tolist() == ["a", "a-2", "dark"]


def test_pictures_of_each_image_and_of_all(model, images, tmp_path):
    out = tmp_path / "out"
    assert predict(images / "one", images / "two", "-o", out, "--pictures") == 0
    assert {"a_colours.png", "a-2_colours.png", "dark_colours.png"} < set(names(out))
    assert {"contact_sheet.png", "histograms.png"} < set(names(out))
    picture = read_image(out / "a_colours.png")
    labels = read_image(out / "a_labels.tif")
    assert picture.shape == (16, 20, 3)
    assert len({tuple(picture[labels == label][0].tolist()) for label in (0, 1, 2)}) == 3


def test_no_nuclei_no_histogram(model, images, tmp_path):
    assert predict(images / "two" / "dark.png", "-o", tmp_path / "out", "--pictures", "--export", "coco,geojson") == 0
    assert "contact_sheet.png" in names(tmp_path / "out")
    assert "histograms.png" not in names(tmp_path / "out")


def test_a_sheet_of_many_images_shows_some(model, images, tmp_path, monkeypatch):
    monkeypatch.setattr(joint_files, "_MOST_THUMBNAILS", 2)
    titles = []
    monkeypatch.setattr("nucleiseg.plotting.plot_contact_sheet", lambda tiles, path, title: titles.append(title))
    assert predict(images / "one", images / "two", "-o", tmp_path / "out", "--pictures") == 0
    assert titles == ["2 of 3 images, 4 nuclei"]


def test_running_again_replaces_its_own_files_and_takes_none_for_input(model, images, tmp_path):
    wanted = ["--export", ",".join(set(list_exporters()) - {"roi", "parquet"}), "--pictures"]
    for _ in range(2):
        assert predict(images / "one", "-o", images / "one", *wanted) == 0
    assert pd.read_csv(images / "one" / "measurements.csv")["label"].tolist() == [1, 2]


EVERYTHING = ["--export", "geojson,roi,imagej,ome,npz,coco,rle", "--pictures"]
OF_ONE = ["a.geojson", "a_colours.png", "a_imagej_labels.tif", "a_labels.npz", "a_labels.ome.tif", "a_rois.zip"]
OF_ALL = ["contact_sheet.png", "histograms.png", "nuclei_coco.json", "nuclei_rle.csv"]
ALWAYS = ["a_labels.tif", "a_mask.png", "a_overlay.png", "measurements.csv", "run.json", "summary.csv"]


def test_what_no_longer_fits_is_removed(model, images, tmp_path):
    pytest.importorskip("roifile")
    out = tmp_path / "out"
    assert predict(images / "one", "-o", out, *EVERYTHING) == 0
    assert names(out) == sorted(OF_ONE + OF_ALL + ALWAYS)
    assert predict(images / "one", "-o", out, "--threshold", "0.5", "--export", "geojson") == 0
    assert names(out) == sorted(["a.geojson", *ALWAYS])


def test_other_pixels_leave_nothing_of_before(model, images, tmp_path):
    out = tmp_path / "out"
    assert predict(images / "one", "-o", out, "--export", "geojson,coco", "--pictures") == 0
    Image.fromarray(np.full((16, 20), 10, np.uint8)).save(images / "one" / "a.png")
    assert predict(images / "one", "-o", out, "--pictures") == 0
    assert names(out) == sorted(["a_colours.png", "contact_sheet.png", *ALWAYS])  # no nuclei, so no histograms


@pytest.mark.parametrize("flags", [(), ("--resume",)])
def test_what_still_fits_stays(model, images, tmp_path, monkeypatch, flags):
    out = tmp_path / "out"
    assert predict(images / "one", "-o", out, "--export", "geojson,coco") == 0
    monkeypatch.chdir(images)
    assert predict("one", "-o", out, "--pictures", *flags) == 0
    assert {"a.geojson", "nuclei_coco.json", "a_colours.png", "contact_sheet.png"} < set(names(out))
    # It is known of later runs, too.
    assert predict("one", "-o", out, "--min-area", "5") == 0
    assert names(out) == ALWAYS


def test_files_of_other_images_stay(model, images, tmp_path):
    out = tmp_path / "out"
    assert predict(images / "two", "-o", out, "--export", "geojson,coco") == 0
    assert predict(images / "two", "-o", out, "--export", "rle") == 0
    assert predict(images / "one", "-o", out, "--export", "geojson") == 0
    assert predict(images / "one", "-o", out, "--threshold", "0.9") == 0
    assert {"a.geojson", "dark.geojson", "nuclei_coco.json", "nuclei_rle.csv"} < set(names(out))
    assert "a-2.geojson" not in names(out)
    assert predict(images / "two" / "dark.png", "-o", out, "--threshold", "0.9") == 0
    assert not {"dark.geojson", "nuclei_coco.json", "nuclei_rle.csv"} & set(names(out))
    assert "a.geojson" in names(out)


@pytest.mark.parametrize("name", ["a.geojson", "nuclei_coco.json"])
def test_what_was_changed_since_is_not_removed(model, images, tmp_path, name):
    out = tmp_path / "out"
    assert predict(images / "one", "-o", out, "--export", "geojson,coco") == 0
    (out / name).write_text((out / name).read_text().replace("nucleiseg", "QuPath   "))  # as large as before
    (out / "b.geojson").write_text("nucleiseg did not write this")
    assert predict(images / "one", "-o", out, "--threshold", "0.5") == 0
    assert names(out) == sorted([name, "b.geojson", *ALWAYS])
    assert predict(images / "one", "-o", out, "--export", "coco" if name == "a.geojson" else "geojson") == 0
    kept = out / {"a.geojson": "nuclei_coco.json", "nuclei_coco.json": "a.geojson"}[name]
    kept.write_text(kept.read_text() + " ")
    assert predict(images / "one", "-o", out, "--threshold", "0.5") == 0
    assert {name, kept.name} < set(names(out))


def test_a_file_that_another_image_has_taken_is_not_removed(model, images, tmp_path):
    """ImageJ's labels of a.png are called as the labels of a_imagej.png."""
    out = tmp_path / "out"
    assert predict(images / "one", "-o", out, "--export", "imagej") == 0
    other = images / "a_imagej.png"
    other.write_bytes((images / "one" / "a.png").read_bytes())
    assert predict(other, "-o", out) == 0
    stored = out / ".nucleiseg"
    for path in stored.glob("*.json"):  # as if both were of one size
        entry = json.loads(path.read_text())
        for name in entry["files"]:
            entry["files"][name] = (out / name).stat().st_size
        path.write_text(json.dumps(entry))
    assert predict(images / "one", "-o", out, "--threshold", "0.5") == 0
    assert "a_imagej_labels.tif" in names(out)


def test_nothing_outside_the_folder_is_removed(model, images, tmp_path):
    out = tmp_path / "out"
    assert predict(images / "one", "-o", out, "--export", "geojson") == 0
    outside = tmp_path / "a.geojson"
    outside.write_bytes((out / "a.geojson").read_bytes())
    (path,) = (out / ".nucleiseg").glob("*.json")
    entry = json.loads(path.read_text())
    entry["files"]["../a.geojson"] = entry["files"][str(outside)] = outside.stat().st_size
    path.write_text(json.dumps(entry))
    assert predict(images / "one", "-o", out, "--threshold", "0.5") == 0
    assert outside.exists()
    assert not (out / "a.geojson").exists()


@pytest.mark.parametrize("record", ["", "[1]", '{"nuclei_coco.json": 3}', '{"nuclei_coco.json": [3, 4]}'])
def test_a_damaged_record_of_files_removes_nothing(model, images, tmp_path, record):
    out = tmp_path / "out"
    assert predict(images / "one", "-o", out, "--export", "coco") == 0
    (out / ".nucleiseg" / "together").write_text(record)
    assert predict(images / "one", "-o", out, "--threshold", "0.5") == 0
    assert "nuclei_coco.json" in names(out)
    assert predict(images / "one", "-o", out, "--threshold", "0.5", "--export", "coco") == 0
    assert predict(images / "one", "-o", out) == 0
    assert "nuclei_coco.json" not in names(out)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("a.geojson", ["--export", "geojson"]),
        ("nuclei_coco.json", ["--export", "coco"]),
        ("nuclei_rle.csv", ["--export", "geojson,rle"]),
        ("a_colours.png", ["--pictures"]),
        ("histograms.png", ["--pictures"]),
    ],
)
def test_files_of_others_are_left_alone(model, images, tmp_path, capfd, name, flags):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("a day's work")
    assert predict(images / "one", "-o", tmp_path / "out", *flags) == 2
    assert f"{name} in {tmp_path / 'out'} would be replaced, but nucleiseg did not write it" in capfd.readouterr().err
    assert names(tmp_path / "out") == [name]
    assert (tmp_path / "out" / name).read_text() == "a day's work"
    assert predict(images / "one", "-o", tmp_path / "out") == 0


def test_a_bad_image_does_not_keep_the_others_from_being_exported(model, images, tmp_path, capfd):
    (images / "one" / "bad.png").write_text("no image")
    assert predict(images / "one", "-o", tmp_path / "out", "--export", "coco", "--pictures") == 1
    assert "bad.png" in capfd.readouterr().err
    listed = json.loads((tmp_path / "out" / "nuclei_coco.json").read_text())["images"]
    assert [image["file_name"] for image in listed] == ["a.png"]


@pytest.mark.parametrize("export", ["geojsn", "", "geojson,", "GeoJSON"])
def test_an_unknown_name_is_wrong_usage_before_tensorflow(run_python, images, export):
    """The image is never looked at, and neither is the output folder made."""
    done = run_python(
        "import sys\n"
        "from nucleiseg.cli.main import main\n"
        f"status = main(['predict', {str(images)!r}, '-o', 'out', '--export', {export!r}])\n"
        "print(status, 'tensorflow' in sys.modules, __import__('os').path.exists('out'))"
    )
    assert done.stdout.split() == ["2", "False", "False"]
    (line,) = done.stderr.splitlines()
    assert line.startswith("nucleiseg: unknown --export")
    assert "geojson" in line


def test_a_missing_package_is_said_before_tensorflow(run_python, images):
    done = run_python(
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'roifile' else find(name)\n"
        "from nucleiseg.cli.main import main\n"
        f"status = main(['predict', {str(images / 'one')!r}, '-o', 'out', '--export', 'roi'])\n"
        "print(status, 'tensorflow' in sys.modules)"
    )
    assert done.stdout.split() == ["1", "False"]
    assert "the export 'roi' needs the package roifile" in done.stderr
    assert 'pip install "nucleiseg[imagej]"' in done.stderr


def test_the_help_names_every_exporter(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    said = capsys.readouterr().out
    assert [name for name in list_exporters() if name not in said] == []


# evaluate --pictures


def test_errors_are_drawn_for_each_image(model, disc_dataset, tmp_path, capfd):
    assert main(["evaluate", str(disc_dataset), "--pictures", str(tmp_path / "errors")]) == 0
    assert names(tmp_path / "errors") == [f"disc{i}_errors.png" for i in range(6)]
    assert capfd.readouterr().err == ""
    assert main(["evaluate", str(disc_dataset), "--pictures", str(tmp_path / "errors")]) == 0  # its own may be replaced


def test_error_pictures_replace_nothing_of_others(model, disc_dataset, tmp_path, capfd):
    (tmp_path / "disc3_errors.png").write_text("a day's work")
    assert main(["evaluate", str(disc_dataset), "--pictures", str(tmp_path)]) == 2
    assert "disc3_errors.png" in capfd.readouterr().err
    assert names(tmp_path) == ["disc3_errors.png"]
    (tmp_path / "file").touch()
    assert main(["evaluate", str(disc_dataset), "--pictures", str(tmp_path / "file")]) == 2


def test_ids_with_folders_make_one_name(model, tmp_path):
    (tmp_path / "sub").mkdir()
    Image.fromarray(np.kron([[0, 200], [0, 0]], np.ones((8, 8))).astype(np.uint8)).save(tmp_path / "sub" / "a b.png")
    coco = {
        "images": [{"id": 1, "file_name": "sub/a b.png", "height": 16, "width": 16}],
        "annotations": [{"image_id": 1, "segmentation": [[8, 0, 16, 0, 16, 8, 8, 8]]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    assert main(["evaluate", str(tmp_path / "coco.json"), "--pictures", str(tmp_path / "errors")]) == 0
    assert names(tmp_path / "errors") == ["sub_a_b_errors.png"]


def test_the_pixel_size_goes_into_every_file(monkeypatch, images, tmp_path):
    class Measured(Threshold):
        def predict(self, source, options):
            found = super().predict(source, options)
            return dataclasses.replace(found, source=Micrograph(found.image, found.image, pixel_size=0.325))

    monkeypatch.setattr(Segmenter, "load", lambda path: Measured())
    out = tmp_path / "out"
    assert predict(images / "one", "-o", out, "--export", "imagej,ome,npz,geojson") == 0
    for name in ("a_labels.tif", "a_imagej_labels.tif", "a_labels.ome.tif"):
        assert read_micrograph(out / name).pixel_size == pytest.approx(0.325, rel=1e-6)
    with np.load(out / "a_labels.npz") as file:
        assert file["pixel_size"] == 0.325
    assert "area_um2" in (out / "a.geojson").read_text()
