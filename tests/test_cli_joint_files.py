"""Files of ``predict`` that hold all images: whatever was run before, they hold what the tables hold."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from nucleiseg import datasets
from nucleiseg.cli.main import main
from nucleiseg.images import Micrograph, read_image
from nucleiseg.inference import Prediction
from nucleiseg.instances import split_components
from nucleiseg.segmenter import Segmenter

FLAGS = ["--export", "coco,rle,parquet", "--pictures"]
JOINT = {"nuclei_coco.json", "nuclei_rle.csv", "nuclei.parquet", "contact_sheet.png", "histograms.png"}


class Threshold:
    """In place of a network: what is brighter than half of 8 bits is nucleus."""

    def predict(self, source, options):
        image = source.shown if isinstance(source, Micrograph) else source
        bright = (image > 127).astype(np.float32)
        return Prediction(image, bright, split_components(bright))


@pytest.fixture(autouse=True)
def _model(monkeypatch):
    """Stands in for every model that is loaded; squares of one value are flat or saturated, which is told elsewhere."""
    monkeypatch.setattr("nucleiseg.inference.prediction.judge_image", lambda image, labels: ())
    monkeypatch.setattr(Segmenter, "load", lambda path: Threshold())


@pytest.fixture
def plate(tmp_path):
    """Images in two folders, with 1, 2 and 3 nuclei."""
    for nuclei, name in enumerate(("one/a.png", "one/b.png", "two/a.png"), start=1):
        save(tmp_path / "plate" / name, nuclei)
    return tmp_path / "plate"


def save(path, nuclei):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((16, 20), 10, np.uint8)
    for number in range(nuclei):
        image[2:5, 1 + 4 * number : 4 + 4 * number] = 200
    Image.fromarray(image).save(path)


def damage(path):
    """Spoil the pixels, and nothing else: as large as before, and still one of our own files."""
    content = path.read_bytes()
    if path.suffix == ".png":
        start = content.index(b"IDAT") + 4
        length = int.from_bytes(content[start - 8 : start - 4], "big")
    else:
        with tifffile.TiffFile(path) as file:
            start, length = (values[0] for values in (file.pages[0].dataoffsets, file.pages[0].databytecounts))
    path.write_bytes(content[:start] + bytes(length) + content[start + length :])


def predict(*arguments):
    return main(["predict", *map(str, arguments)])


def coco_names(out):
    return [image["file_name"] for image in json.loads((out / "nuclei_coco.json").read_text())["images"]]


def assert_joint_files_hold_what_the_tables_hold(out, plate):
    """The same images in the same order; their labels pixel by pixel, their scores and measurements."""
    summary = pd.read_csv(out / "summary.csv")
    stems = [name.removesuffix("_labels.tif") for name in summary["labels"]]
    counts = dict(zip(stems, summary["count"], strict=True))
    assert pd.read_csv(out / "nuclei_rle.csv")["ImageId"].unique().tolist() == stems
    listed = json.loads((out / "nuclei_coco.json").read_text())
    names = [image["file_name"] for image in listed["images"]]
    assert [str(plate / name) for name in names] == summary["image"].tolist()
    data = datasets.read(plate, labels=out / "nuclei_coco.json", cache=False)
    for name, stem in zip(names, stems, strict=True):
        (sample,) = data.select([name.removesuffix(".png")])
        np.testing.assert_array_equal(sample.labels, read_image(out / f"{stem}_labels.tif"))
        assert sample.labels.max() == counts[stem]
    table = pd.read_csv(out / "measurements.csv").drop(columns="quality")  # which is empty, and read as NaN
    frame = pd.read_parquet(out / "nuclei.parquet").drop(columns="quality")
    pd.testing.assert_frame_equal(frame, table, check_dtype=False)
    assert [one["area"] for one in listed["annotations"]] == table["area"].tolist()
    if "confidence" in table:
        np.testing.assert_allclose([one["score"] for one in listed["annotations"]], table["confidence"])


def test_an_image_that_is_mended_joins_the_others(plate, tmp_path, monkeypatch):
    """A folder is run, one image fails, is mended, and run again by itself."""
    out, titles = tmp_path / "out", []
    (plate / "one" / "b.png").write_bytes(b"no image")
    assert predict(plate / "one", plate / "two", "-o", out, *FLAGS) == 1
    assert coco_names(out) == ["one/a.png", "two/a.png"]
    save(plate / "one" / "b.png", 2)
    for name in ("plot_contact_sheet", "plot_histograms"):
        plain = getattr(__import__("nucleiseg.plotting", fromlist=[name]), name)

        def plot(what, path, title, plain=plain):
            titles.append((len(what), title))
            return plain(what, path, title=title)

        monkeypatch.setattr(f"nucleiseg.plotting.{name}", plot)
    assert predict(plate / "one" / "b.png", "-o", out, *FLAGS) == 0
    assert_joint_files_hold_what_the_tables_hold(out, plate)
    assert coco_names(out) == ["one/b.png", "one/a.png", "two/a.png"]
    assert titles == [(3, "3 images, 6 nuclei"), (6, "3 images, 6 nuclei")]


def test_names_are_relative_to_the_folder_of_all_runs_wherever_these_began(plate, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.chdir(plate / "two")
    assert predict("../one/a.png", "-o", out) == 0  # whose exports are made of its labels only now
    assert predict(plate / "one" / "b.png", "-o", out, *FLAGS) == 0
    assert coco_names(out) == ["b.png", "a.png"]
    monkeypatch.chdir(plate.parent)
    assert predict("plate/two", "-o", out, *FLAGS) == 0
    assert coco_names(out) == ["two/a.png", "one/a.png", "one/b.png"]


def test_an_image_that_is_gone_is_held_as_long_as_its_labels_are(plate, tmp_path, capfd):
    out = tmp_path / "out"
    assert predict(plate / "one", "-o", out) == 0
    (plate / "one" / "a.png").unlink()
    assert predict(plate / "two", "-o", out, *FLAGS) == 0
    assert coco_names(out) == ["two/a.png", "one/a.png", "one/b.png"]
    assert capfd.readouterr().err == ""


def test_entries_of_older_versions_are_held_too(plate, tmp_path):
    out = tmp_path / "out"
    assert predict(plate / "one", "-o", out) == 0
    for path in (out / ".nucleiseg").glob("*.json"):
        entry = json.loads(path.read_text())
        path.write_text(json.dumps({name: entry[name] for name in entry.keys() - {"path", "stem"}}))
    assert predict(plate / "two", "-o", out, *FLAGS) == 0
    assert_joint_files_hold_what_the_tables_hold(out, plate)


def test_images_made_with_other_options_are_not_held(plate, tmp_path):
    out = tmp_path / "out"
    assert predict(plate / "one", "-o", out, *FLAGS) == 0
    assert predict(plate / "two", "-o", out, "--min-area", "5", *FLAGS) == 0
    assert coco_names(out) == ["a.png"]
    assert predict(plate / "one" / "b.png", "-o", out, "--min-area", "5", *FLAGS) == 0
    assert_joint_files_hold_what_the_tables_hold(out, plate)


def test_an_image_that_fails_now_stays_in_tables_and_joint_files(plate, tmp_path):
    out = tmp_path / "out"
    assert predict(plate / "one", plate / "two", "-o", out, *FLAGS) == 0
    whole = (plate / "one" / "b.png").read_bytes()
    (plate / "one" / "b.png").write_bytes(b"")
    for given in ("one/b.png", "one", "two"):  # alone, with others, and left to others
        assert predict(plate / given, "-o", out, *FLAGS) == (0 if given == "two" else 1)
        assert sorted(coco_names(out)) == ["one/a.png", "one/b.png", "two/a.png"]
        (plate / "one" / "b.png").write_bytes(whole)
        assert_joint_files_hold_what_the_tables_hold(out, plate)
        (plate / "one" / "b.png").write_bytes(b"")
    (plate / "one" / "a.png").write_bytes(b"")
    assert predict(plate / "one" / "a.png", "-o", out, "--pictures") == 1
    assert {path.name for path in out.iterdir()} >= JOINT


def test_no_nuclei_leave_no_histogram_of_before(plate, tmp_path):
    out = tmp_path / "out"
    save(plate / "one" / "b.png", 0)
    assert predict(plate / "one", "-o", out, *FLAGS) == 0
    assert (out / "histograms.png").exists()
    (out / "a_labels.tif").unlink()
    assert predict(plate / "one" / "b.png", "-o", out, *FLAGS) == 0
    assert coco_names(out) == ["b.png"]
    assert {path.name for path in out.iterdir()} & JOINT == JOINT - {"histograms.png"}


def test_images_whose_files_are_gone_or_changed_are_told(plate, tmp_path, capfd):
    out = tmp_path / "out"
    assert predict(plate / "one", plate / "two", "-o", out, *FLAGS) == 0
    (out / "a_labels.tif").unlink()
    (out / "a-2_mask.png").write_bytes((out / "a-2_mask.png").read_bytes() + b" ")
    capfd.readouterr()
    assert predict(plate / "one" / "b.png", "-o", out) == 0
    assert capfd.readouterr().err == ""  # it writes no such file
    assert predict(plate / "one" / "b.png", "-o", out, *FLAGS) == 0
    assert capfd.readouterr().err == (
        "nucleiseg: 2 images of earlier runs left out of the tables and of the files that hold all images, for some of "
        "their own files are gone or were changed; segment them again with --resume\n"
    )
    assert coco_names(out) == ["b.png"]
    assert predict(plate / "one", plate / "two", "-o", out, "--resume", *FLAGS) == 0
    assert capfd.readouterr().err == ""
    assert_joint_files_hold_what_the_tables_hold(out, plate)


def test_images_whose_files_were_all_removed_are_told_once(plate, tmp_path, capfd):
    """Whoever empties the folder, or takes an image out of it, need not hear of it for ever."""
    out = tmp_path / "out"
    assert predict(plate / "one", "-o", out, *FLAGS) == 0
    for path in out.glob("a_*"):
        path.unlink()
    capfd.readouterr()
    told = []
    for _ in range(2):
        assert predict(plate / "one" / "b.png", "-o", out, *FLAGS) == 0
        told.append(capfd.readouterr().err.count("1 image of earlier runs left out"))
    assert told == [1, 0]


@pytest.mark.parametrize("flags", [(), ("--resume",)])
def test_images_whose_labels_are_damaged_are_told(plate, tmp_path, capfd, flags):
    out = tmp_path / "out"
    assert predict(plate / "one", plate / "two", "-o", out, *FLAGS) == 0
    for name in ("a_labels.tif", "a-2_labels.tif", "a-2_overlay.png"):
        damage(out / name)
    capfd.readouterr()
    given = [plate / "one", plate / "two"] if flags else [plate / "one" / "b.png"]
    assert predict(*given, "-o", out, *FLAGS, *flags) == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"nucleiseg: 2 images left out of the files that hold all images: {out / 'a_labels.tif'}: ")
    assert line.endswith(" (and 1 more); delete such files, and segment these images again with --resume")
    assert coco_names(out) == ["one/b.png"]
    assert pd.read_csv(out / "nuclei_rle.csv")["ImageId"].unique().tolist() == ["b"]


def test_no_labels_that_can_be_read_leave_no_joint_exports(plate, tmp_path):
    out = tmp_path / "out"
    assert predict(plate / "two", "-o", out, *FLAGS) == 0
    damage(out / "a_labels.tif")
    assert predict(plate / "two", "-o", out, "--resume", *FLAGS) == 0
    assert {path.name for path in out.iterdir()} & JOINT == {"contact_sheet.png", "histograms.png"}
