"""``nucleiseg score``: which files are compared, how scores are printed, what is said about lonely files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from nucleiseg.cli.main import main
from nucleiseg.inference import Evaluation, ImageScore, Prediction
from nucleiseg.instances import list_exporters, match, write_labels, write_picture

SQUARES = np.zeros((30, 40), np.int32)
for number, (row, column) in enumerate([(2, 3), (2, 13), (15, 20)], start=1):
    SQUARES[row : row + 10, column : column + 10] = number
SHIFTED = np.roll(SQUARES, 2, axis=0)


def score(*arguments):
    return main(["score", *map(str, arguments)])


@pytest.fixture
def folders(tmp_path):
    """Two images each: one found exactly, one shifted."""
    for name, found in (("a", SQUARES), ("b", SHIFTED)):
        write_labels(tmp_path / "truth" / f"{name}.tif", SQUARES)
        write_labels(tmp_path / "found" / f"{name}.tif", found * 1000)
    return tmp_path / "truth", tmp_path / "found"


def test_it_prints_the_scores(folders, capfd):
    assert score(*folders) == 0
    out, err = capfd.readouterr()
    assert err == ""
    expected = Evaluation([ImageScore("a", "", match(SQUARES, SQUARES)), ImageScore("b", "", match(SQUARES, SHIFTED))])
    assert out == f"{expected}\n"


def test_json_is_flat(folders, capfd):
    assert score(*folders, "--json") == 0
    out, err = capfd.readouterr()
    assert err == ""
    scores = json.loads(out)
    assert (scores["images"], scores["nuclei"], scores["found"]) == (2, 6, 6)
    assert (scores["ap50"], scores["f1_50"]) == (1, 1)
    assert scores["ap70"] == 3 / 9  # an IoU of 8 / 12 does not reach it
    assert scores["dsb"] == pytest.approx((1 + 4 / 10) / 2)
    assert scores["aji"] == (300 + 240) / (300 + 360)


def test_scores_of_each_image_go_into_a_file(folders, tmp_path):
    assert score(*folders, "--per-image", tmp_path / "images.csv") == 0
    table = pd.read_csv(tmp_path / "images.csv")
    assert table["id"].tolist() == ["a", "b"]
    assert table["ap95"].tolist() == [1, 0]


def test_scores_of_each_image_replace_no_labels(folders, capfd):
    path = folders[0] / "a.tif"
    before = path.read_bytes()
    assert score(*folders, "--per-image", path) == 2
    out, err = capfd.readouterr()
    assert "must end in .csv" in err
    assert not out
    assert path.read_bytes() == before


def test_names_of_images_may_end_as_those_of_labels_do(tmp_path, capfd):
    names = [
        ("cell_mask", "cell_mask_labels"),
        ("cell", "cell_labels"),
        ("x_labels", "x_masks"),
        ("y_mask_labels", "y_mask"),
    ]
    for truth, found in names:
        write_labels(tmp_path / "truth" / f"{truth}.tif", SQUARES)
        write_labels(tmp_path / "found" / f"{found}.tif", SQUARES)
    assert score(tmp_path / "truth", tmp_path / "found", "--json", "--per-image", tmp_path / "scores.csv") == 0
    assert json.loads(capfd.readouterr().out)["images"] == 4
    assert pd.read_csv(tmp_path / "scores.csv")["id"].tolist() == ["cell", "cell_mask", "x", "y_mask"]


def test_scores_are_printed_even_if_they_cannot_be_written(folders, tmp_path, monkeypatch, capfd):
    def write(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Evaluation, "write_per_image", write)
    assert score(*folders, "--per-image", tmp_path / "images.csv") == 1
    out, err = capfd.readouterr()
    assert "misses" in out
    assert "No space left on device" in err


def test_a_folder_of_results_is_taken_as_it_is(folders, tmp_path, capfd):
    truth, _ = folders
    for name in ("a", "b"):
        found = Prediction(np.zeros(SQUARES.shape), np.zeros(SQUARES.shape, np.float32), SQUARES)
        found.save(tmp_path / "results", stem=name)
        found.export(tmp_path / "results", name, list_exporters())
        write_picture(tmp_path / "results" / f"{name}_colours.png", found.overlay())
    for name in ("contact_sheet", "histograms"):
        write_picture(tmp_path / "results" / f"{name}.png", found.overlay())
    assert score(truth, tmp_path / "results", "--json") == 0
    assert json.loads(capfd.readouterr().out)["dsb"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("truth", "found"), [("a_labels.png", "a.tif"), ("a.PNG", "a_labels.png"), ("a_mask.png", "a_labels.tif")]
)
def test_endings_do_not_count(tmp_path, truth, found, capfd):
    for folder, name in (("truth", truth), ("found", found)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / name
        if path.suffix == ".tif":
            write_labels(path, SQUARES)
        else:
            Image.fromarray(SQUARES.astype(np.uint8)).save(path)
    assert score(tmp_path / "truth", tmp_path / "found", "--json") == 0
    assert json.loads(capfd.readouterr().out)["aji"] == 1


@pytest.mark.parametrize("high", [1, 255])
@pytest.mark.parametrize("side", ["truth", "found"])
def test_connected_parts_of_a_mask_are_nuclei(folders, side, high, capfd):
    (folders[side == "found"] / "a.tif").unlink()
    mask = folders[side == "found"] / "a.png"
    apart = np.where(SQUARES == 2, 0, SQUARES)  # 1 and 2 touch
    Image.fromarray(((apart > 0) * high).astype(np.uint8)).save(mask)
    write_labels(folders[side == "truth"] / "a.tif", apart)
    assert score(*folders, "--json") == 0
    out, err = capfd.readouterr()
    assert err == f"nucleiseg: {mask} is a mask: its 2 connected parts count as nuclei\n"
    scores = json.loads(out)
    assert (scores["nuclei"], scores["found"], scores["ap50"]) == (5, 5, 1)


def test_many_masks_are_told_in_one_line(tmp_path, capfd):
    for name in "abcde":
        for folder in ("truth", "found"):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(np.uint8(SQUARES > 0) * 255).save(tmp_path / folder / f"{name}.png")
    assert score(tmp_path / "truth", tmp_path / "found", "--quiet") == 0
    line = complaint(capfd)
    assert line.startswith(f"nucleiseg: {tmp_path / 'truth' / 'a.png'}, {tmp_path / 'found' / 'a.png'}, ")
    assert line.endswith("b.png and 7 more are masks: their 20 connected parts count as nuclei")


def test_images_in_place_of_labels_are_told(folders, capfd):
    truth, _ = folders
    picture = ndimage.gaussian_filter(np.random.default_rng(0).random(SQUARES.shape), 1)
    Image.fromarray(np.uint8(40 * picture)).save(truth / "a.png")
    (truth / "a.tif").unlink()
    assert score(*folders, "--quiet") == 0
    assert complaint(capfd) == (
        f"nucleiseg: {truth / 'a.png'} looks like an image and not like labels: each number is in many pieces; "
        "pass folders of labels"
    )


def test_one_nucleus_is_the_same_as_a_mask(tmp_path, capfd):
    for folder in ("truth", "found"):
        write_labels(tmp_path / folder / "a.tif", SQUARES == 3)
    assert score(tmp_path / "truth", tmp_path / "found", "--json") == 0
    out, err = capfd.readouterr()
    assert (json.loads(out)["nuclei"], err) == (1, "")


def complaint(capfd):
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


def test_files_without_a_partner_are_listed(folders, capfd):
    truth, found = folders
    for number in range(12):
        write_labels(truth / f"lonely{number}.tif", SQUARES)
    write_labels(found / "other_labels.tif", SQUARES)
    assert score(truth, found) == 1
    line = complaint(capfd)
    assert all(f"lonely{number}.tif" in line for number in range(12))
    assert "have no prediction; other_labels.tif has no truth" in line
    assert "a.tif" not in line


def test_two_files_of_one_name_are_refused(folders, capfd):
    truth, found = folders
    write_labels(found / "b_labels.tif", SQUARES)
    assert score(truth, found) == 1
    assert "several files have one name apart from their endings: b.tif and b_labels.tif; keep" in complaint(capfd)


def test_other_sizes_are_refused_by_name(folders, capfd):
    truth, found = folders
    write_labels(found / "b.tif", SQUARES[:-1])
    assert score(truth, found) == 1
    line = complaint(capfd)
    assert f"{truth / 'b.tif'} and {found / 'b.tif'}: " in line
    assert "same height and width, got (30, 40) and (29, 40)" in line


def test_a_file_that_is_no_image_is_named(folders, capfd):
    truth, found = folders
    (found / "b.tif").write_bytes(b"no image")
    assert score(truth, found) == 1
    assert str(found / "b.tif") in complaint(capfd)


def test_a_file_that_is_too_large_is_named_and_can_be_allowed(folders, capfd):
    size = SQUARES.size
    assert score(*folders, "--max-pixels", size - 1) == 1
    assert f"is more than {size - 1} pixels; crop it, or allow more with --max-pixels" in complaint(capfd)
    assert score(*folders, "--max-pixels", size) == 0


def test_it_needs_no_tensorflow(folders, run_python):
    code = (
        "import sys; from nucleiseg.cli.main import main; status = main(['score', *sys.argv[1:]]);"
        "print(status, sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = run_python(code, *folders)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0 []"
