"""``nucleiseg check``: what it prints, writes and returns."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from nucleiseg import datasets
from nucleiseg.cli.main import main

RUN = """
import sys
from nucleiseg.cli.main import main
status = main(sys.argv[1:])
print(sorted({"tensorflow", "keras"} & set(sys.modules)), file=sys.stderr)
sys.exit(status)
"""


@pytest.fixture
def data(tmp_path):
    """Six sound images of unlike discs, in paired folders."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:96, :96]
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for number in range(6):
        labels = np.zeros((96, 96), np.uint16)
        for label, cell in enumerate(rng.choice(9, 4, replace=False), start=1):
            row, column = 16 + 32 * (cell // 3), 16 + 32 * (cell % 3)
            labels[(rows - row) ** 2 + (columns - column) ** 2 < rng.integers(36, 120)] = label
        image = np.where(labels > 0, 150, 20) + rng.integers(0, 50, labels.shape)
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / "data" / "images" / f"a{number}.png")
        Image.fromarray(labels).save(tmp_path / "data" / "labels" / f"a{number}.png")
    return tmp_path / "data"


@pytest.fixture
def dirty(data):
    """The same with a hole, a missing label image, and an inverted mask."""
    labels = np.array(Image.open(data / "labels" / "a0.png"))
    row, column = np.argwhere(labels == 1).mean(axis=0).astype(int)
    labels[row, column] = 0
    Image.fromarray(labels).save(data / "labels" / "a0.png")
    (data / "labels" / "a1.png").unlink()
    mask = np.array(Image.open(data / "labels" / "a2.png")) == 0
    Image.fromarray(mask * np.uint8(255)).save(data / "labels" / "a2.png")
    return data


def check(*arguments):
    return main(["check", *map(str, arguments)])


def test_sound_data_is_one_line(data, capfd):
    assert check(data) == 0
    assert capfd.readouterr() == ("6 images, 24 nuclei: 0 errors, 0 warnings, 0 notes\n", "")


def test_errors_are_status_1(dirty, capfd):
    assert check(dirty) == 1
    out, err = capfd.readouterr()
    assert err == ""
    assert out.splitlines()[0] == "5 images, 17 nuclei: 2 errors, 1 warning, 0 notes"
    assert "error: images without labels, or labels without an image [missing_pair]: 1 image" in out
    assert "error: labels that cover the background [all_foreground]: 1 image" in out
    assert "warning: holes in nuclei [holes]: 1 hole in 1 image" in out


def test_warnings_alone_are_status_0(data):
    shutil.copy(data / "images" / "a0.png", data / "images" / "a3.png")
    assert check(data) == 0


def test_json_is_for_machines(dirty, capfd):
    assert check(dirty, "--json") == 1
    out, err = capfd.readouterr()
    printed = json.loads(out)
    assert err == ""
    assert [finding["kind"] for finding in printed["findings"]] == ["missing_pair", "all_foreground", "holes"]
    (case,) = printed["findings"][2]["cases"]
    assert (case["ids"], case["labels"], case["files"]) == (["a0"], [1], [str(dirty / "labels" / "a0.png")])
    assert (printed["ok"], printed["samples"], printed["errors"]) == (False, 5, 2)


def test_splits_show_leakage(data, tmp_path, capfd):
    shutil.copy(data / "images" / "a0.png", data / "images" / "a3.png")
    rows = [f"a{number},{'test' if number == 3 else 'train'}" for number in range(6)]
    (tmp_path / "splits.csv").write_text("\n".join(["image_id,split", *rows]))
    assert check(data, "--splits", tmp_path / "splits.csv") == 1
    assert "a0, a3: equal, in train and test" in capfd.readouterr().out


def test_rows_of_images_that_are_missing_do_not_stop_the_check(dirty, tmp_path, capfd):
    (tmp_path / "splits.csv").write_text("\n".join(["image_id,split", *(f"a{number},train" for number in range(6))]))
    assert check(dirty, "--splits", tmp_path / "splits.csv") == 1
    assert "5 images" in capfd.readouterr().out


def test_the_crop_arrives(data, capfd):
    assert check(data, "--crop", "16") == 0
    assert "crops have 16" in capfd.readouterr().out


def test_the_report_needs_no_other_file_and_no_network(dirty, tmp_path, capfd):
    assert check(dirty, "--report", tmp_path / "new" / "report.html") == 1
    text = (tmp_path / "new" / "report.html").read_text()
    assert text.count("<img ") == 2  # the hole, the mask; there is nothing to show of what is missing
    assert text.count('src="data:image/png;base64,') == 2
    assert [word for word in ("http:", "https:", "<script", "<link", "url(") if word in text] == []
    assert capfd.readouterr().out.splitlines()[-1] == str(tmp_path / "new" / "report.html")


def test_fix_writes_a_copy_and_says_what_it_did(dirty, tmp_path, capfd):
    before = {path: path.read_bytes() for path in dirty.rglob("*.png")}
    assert check(dirty, "--fix", tmp_path / "copy") == 1
    assert {path: path.read_bytes() for path in dirty.rglob("*.png")} == before
    out = capfd.readouterr().out
    assert f"5 images written to {tmp_path / 'copy'}, labels mended in 1: 0 pieces relabelled, " in out
    assert "1 holes filled" in out
    (left_out,) = [line for line in out.splitlines() if line.startswith("left out, ")]
    assert "a1" in left_out
    with (tmp_path / "copy" / "changes.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert sorted(rows) == [f"a{number}" for number in range(6)]  # each image of the folder, read or not
    assert [name for name, row in rows.items() if row["left_out"]] == ["a1"]
    assert (rows["a1"]["image_id"], rows["a1"]["left_out"]) == ("", left_out.removeprefix("left out, "))
    report = datasets.check(datasets.read(tmp_path / "copy", cache=False))
    assert report.kinds == ("all_foreground",)


def test_fix_is_in_the_json(dirty, tmp_path, capfd):
    assert check(dirty, "--fix", tmp_path / "copy", "--json") == 1
    fixed = json.loads(capfd.readouterr().out)["fixed"]
    assert (fixed["holes"], [one["id"] for one in fixed["samples"]]) == (1, ["a0", "a2", "a1"])


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--report", "report.pdf"], ["--report must end in .html", "report.html"]),
        (["--fix", "DATA"], ["--fix needs a new or empty folder"]),
        (["--crop", "0"], ["crop", "at least 1"]),
    ],
)
def test_wrong_usage_is_said_first(data, capfd, flags, parts):
    assert check(data, *(str(data) if flag == "DATA" else flag for flag in flags)) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert [part for part in parts if part not in err] == []


@pytest.mark.parametrize("place", ["none", "empty"])
def test_no_dataset_is_one_line(tmp_path, capfd, place):
    (tmp_path / "empty").mkdir()
    assert check(tmp_path / place) == 1
    out, err = capfd.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)


def test_no_deep_learning_framework_is_loaded(dirty, tmp_path, run_python):
    process = run_python(RUN, "check", dirty, "--report", tmp_path / "r.html", "--fix", tmp_path / "copy")
    assert (process.returncode, process.stderr) == (1, "[]\n")


def test_the_real_data_has_real_problems(dsb2018, tmp_path, capfd):
    """Eight images, most of them with findings, cut out of the archive for speed."""
    import zipfile

    known = {
        "holes": "d7db360fabfce9828559a21f6bffff589ae868e0dc6101d7c1212de34a25e3cb",
        "pieces": "ef3ef194e5657fda708ecbd3eb6530286ed2ba23c88efb9f1715298975c73548",
        "overlaps": "1609b1b8480ee52652a644403b3f7d5511410a016750aa3b9a4c8ddb3e893e8e",
        "saturated": "e856511ac1c34d24320eb7c56c05a4a3340d06667b4f5b8e8df615d415c7f650",
    }
    with zipfile.ZipFile(dsb2018 / "stage1_train.zip") as archive:
        names = archive.namelist()
        wanted = [name for name in names if any(part in known.values() for part in name.split("/"))]
        archive.extractall(tmp_path / "few", wanted)
    assert check(tmp_path / "few", "--json") == 0
    findings = {finding["kind"]: finding for finding in json.loads(capfd.readouterr().out)["findings"]}
    for kind, name in known.items():
        assert name in [case["ids"][0] for case in findings[kind]["cases"]], kind
    assert all("/masks/" in path for path in findings["holes"]["cases"][0]["files"])
