"""The promise of a batch: it finishes, says what failed, goes on where it was killed, and shares its folder."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from nucleiseg import instances
from nucleiseg.cli import batch, journal
from nucleiseg.cli import predict as predict_command
from nucleiseg.cli.main import main
from nucleiseg.images import Micrograph, sources
from nucleiseg.inference import Prediction
from nucleiseg.instances import split_components
from nucleiseg.segmenter import Segmenter

# A program in which a threshold takes the place of every model, so that thousands of images take seconds.
PROGRAM = """
import os, sys, time
import numpy as np
from nucleiseg.cli import predict
from nucleiseg.cli.main import main
from nucleiseg.inference import Prediction, prediction
from nucleiseg.instances import split_components

prediction.judge_image = lambda image, labels: ()  # squares of one value are flat or saturated

class Threshold:
    def predict(self, source, options):
        time.sleep(float(os.environ.get("PAUSE", 0)))
        grey = source.shown if source.shown.ndim == 2 else source.shown[..., :3].mean(axis=-1)
        bright = (grey > 127).astype(np.float32)
        return Prediction(source.shown, bright, split_components(bright), source)

predict.import_engine = lambda model: None
predict.load_segmenter = lambda path: Threshold()
status = main(sys.argv[1:])
assert "tensorflow" not in sys.modules, "what takes the model's place no longer does"
sys.exit(status)
"""


@dataclass(frozen=True)
class Named(Micrograph):
    """An image that knows where it is from."""

    path: Path = Path()


class Threshold:
    """In place of a model: what is brighter than half of 8 bits is nucleus."""

    def __init__(self):
        self.seen, self.precision = [], "float32"

    def predict(self, source, options):
        self.seen.append(source.path.name)
        bright = (source.shown > 127).astype(np.float32)
        return Prediction(source.shown, bright, split_components(bright), source, precision=self.precision)


@pytest.fixture
def model(monkeypatch):
    threshold = Threshold()
    # Squares of one value are flat or saturated, which is told in tests of its own.
    monkeypatch.setattr("nucleiseg.inference.prediction.judge_image", lambda image, labels: ())
    monkeypatch.setattr(Segmenter, "load", lambda path: threshold)
    plain = sources.open_micrograph
    monkeypatch.setattr(
        sources, "open_micrograph", lambda path, options: Named(**vars(plain(path, options)), path=path)
    )
    return threshold


def save(path, nuclei=1):
    """An image (16, 20) with so many bright squares, no two images alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((16, 20), 10, np.uint8)
    image[0, 0] = sum(path.stem.encode()) % 100
    for number in range(nuclei):
        image[2:5, 1 + 4 * number : 4 + 4 * number] = 200
    Image.fromarray(image).save(path)
    return path


def predict(*arguments):
    return main(["predict", *map(str, arguments)])


def start(*arguments, **environment):
    """The same in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, "predict", *map(str, arguments)]
    variables = {**os.environ, **environment}
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows(folder, name="summary.csv"):
    """Counts by the names of images."""
    table = pd.read_csv(folder / name)
    return {Path(image).name: count for image, count in zip(table["image"], table["count"], strict=True)}


def assert_whole(folder, stem, count):
    """The files of an image are there, fit each other, and can be read."""
    labels = tifffile.imread(folder / f"{stem}_labels.tif")
    mask = np.asarray(Image.open(folder / f"{stem}_mask.png"))
    overlay = np.asarray(Image.open(folder / f"{stem}_overlay.png"))
    assert labels.max() == count
    np.testing.assert_array_equal(mask > 0, labels > 0)
    assert overlay.shape == (*labels.shape, 3)


def assert_consistent(folder):
    """No file in a results folder is half-written, whoever was killed while writing."""
    for path in folder.iterdir():
        if path.name.startswith(".tmp-") or path.is_dir():
            continue  # never taken for a result
        if path.suffix == ".tif":
            tifffile.imread(path)
        elif path.suffix == ".png":
            np.asarray(Image.open(path))
        elif path.suffix == ".csv":
            assert path.read_text().endswith("\n")
            pd.read_csv(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())


# ---- What failed, and what is said about the run. ----


def stress(folder, count, bad):
    """So many images, some of them bad in ten ways."""
    good = save(folder / "pattern.png", 2).read_bytes()
    (folder / "pattern.png").unlink()
    kinds = [
        b"",
        b"no image",
        good[: len(good) // 2],
        good[:8],
        good[:24],
        b"\x89PNG",
        b"II*\0",
        b"BM",
        b"\xff\xd8\xff",
    ]
    wrong = set(np.random.default_rng(0).permutation(count)[:bad].tolist())
    for number in range(count):
        path = folder / f"image{number:04}.png"
        if number in wrong:
            path.write_bytes(kinds[number % len(kinds)])
        else:
            save(path, number % 4)
    return {f"image{number:04}.png" for number in wrong}


@pytest.mark.parametrize(
    ("count", "bad"), [(100, 5), pytest.param(1000, 50, marks=pytest.mark.slow)], ids=["a tenth", "all"]
)
def test_a_batch_with_bad_files_finishes(tmp_path, count, bad):
    wrong = stress(tmp_path / "in", count, bad)
    process = start(tmp_path / "in", "-o", tmp_path / "out")
    out, err = process.communicate()
    assert process.returncode == 1
    assert f"{count - bad} of {count} images segmented" in out
    assert len(err.splitlines()) == bad
    errors = pd.read_csv(tmp_path / "out" / "errors.csv")
    assert {Path(image).name for image in errors["image"]} == wrong
    assert errors["error"].str.len().min() > 20
    counts = rows(tmp_path / "out")
    assert len(counts) == count - bad
    assert all(count == int(name[5:9]) % 4 for name, count in counts.items())
    assert len(list((tmp_path / "out").glob("*_labels.tif"))) == count - bad
    assert_consistent(tmp_path / "out")


def test_errors_go_when_they_are_mended(model, tmp_path):
    save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"")
    assert predict(tmp_path / "in", tmp_path / "none.png", "-o", tmp_path / "out") == 1
    errors = pd.read_csv(tmp_path / "out" / "errors.csv")
    assert [Path(image).name for image in errors["image"]] == ["none.png", "b.png"]
    save(tmp_path / "in" / "b.png")
    assert predict(tmp_path / "in", "-o", tmp_path / "out") == 0
    assert not (tmp_path / "out" / "errors.csv").exists()


def test_errors_go_with_their_images(model, tmp_path):
    save(tmp_path / "in" / "a.png")
    for name in ("b.png", "c.png"):
        (tmp_path / "in" / name).write_bytes(b"")
    assert predict(tmp_path / "in", "-o", tmp_path / "out") == 1
    (tmp_path / "in" / "b.png").unlink()
    assert predict(tmp_path / "in" / "a.png", "-o", tmp_path / "out") == 0
    errors = pd.read_csv(tmp_path / "out" / "errors.csv")
    assert [Path(image).name for image in errors["image"]] == ["c.png"]  # which is there to be tried again
    (tmp_path / "in" / "c.png").unlink()
    assert predict(tmp_path / "in", "-o", tmp_path / "out") == 0
    assert not (tmp_path / "out" / "errors.csv").exists()


def test_an_image_that_fails_keeps_what_was_found_before(model, tmp_path, capfd):
    paths = [save(tmp_path / f"{name}.png", count) for name, count in (("a", 1), ("b", 2))]
    whole = paths[0].read_bytes()
    assert predict(*paths, "-o", tmp_path / "out") == 0
    paths[0].write_bytes(whole[:20])
    capfd.readouterr()
    assert predict(*paths, "-o", tmp_path / "out") == 1
    assert capfd.readouterr().err.splitlines()[1:] == [
        "nucleiseg: the earlier result of 1 image that could not be segmented now is kept"
    ]
    assert rows(tmp_path / "out") == {"b.png": 2, "a.png": 1}
    assert pd.read_csv(tmp_path / "out" / "measurements.csv")["labels"].tolist() == 2 * ["b_labels.tif"] + [
        "a_labels.tif"
    ]
    assert pd.read_csv(tmp_path / "out" / "errors.csv")["image"].tolist() == [str(paths[0])]
    paths[0].write_bytes(whole)
    model.seen.clear()
    assert predict(*paths, "-o", tmp_path / "out", "--resume") == 0
    assert model.seen == []
    assert not (tmp_path / "out" / "errors.csv").exists()


def test_a_run_that_segments_nothing_leaves_tables_as_they_were(model, tmp_path, capfd):
    paths = [save(tmp_path / f"{name}.png") for name in "ab"]
    out = tmp_path / "out"
    assert predict(*paths, "-o", out) == 0

    def files():
        return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file() and path.name != "errors.csv"}

    kept = files()
    capfd.readouterr()
    for flags in (("--channel", "7"), ("--channel", "7", "--export", "coco", "--resume")):
        assert predict(*paths, "-o", out, *flags) == 1
        lines = capfd.readouterr().err.splitlines()
        assert lines[2:] == ["nucleiseg: the earlier results of 2 images that could not be segmented now are kept"]
        assert len(pd.read_csv(out / "errors.csv")) == 2
        assert files() == kept
    assert predict(tmp_path / "none.png", paths[0], "-o", out, "--channel", "7") == 1  # and what was not there at all
    model.seen.clear()
    assert predict(*paths, "-o", out, "--resume") == 0
    assert model.seen == []


def test_an_image_that_fails_with_other_options_stays_out_of_their_tables(model, tmp_path, capfd):
    one, two = save(tmp_path / "a.png"), tmp_path / "b.tif"
    tifffile.imwrite(two, np.stack(2 * [np.asarray(Image.open(one))]), metadata={"axes": "CYX"}, ome=True)
    assert predict(one, two, "-o", tmp_path / "out", "--channel", "0") == 0
    capfd.readouterr()
    assert predict(one, two, "-o", tmp_path / "out", "--channel", "1") == 1
    err = capfd.readouterr().err
    assert "rows of 1 image made with another model, options or version are left out of the tables" in err
    assert "the earlier result of 1 image that could not be segmented now is kept" in err
    assert rows(tmp_path / "out") == {"b.tif": 1}
    model.seen.clear()
    assert predict(one, two, "-o", tmp_path / "out", "--channel", "0", "--resume") == 0
    assert model.seen == ["b.tif"]
    assert rows(tmp_path / "out") == {"a.png": 1, "b.tif": 1}


def test_an_image_that_was_moved_and_fails_keeps_what_was_found_before(model, tmp_path, capfd):
    path = save(tmp_path / "one" / "a.png")
    assert predict(path, "-o", tmp_path / "out") == 0
    (tmp_path / "one").rename(tmp_path / "two")
    capfd.readouterr()
    assert predict(tmp_path / "two", "-o", tmp_path / "out", "--channel", "7") == 1
    assert capfd.readouterr().err.splitlines()[-1].endswith("1 image that could not be segmented now is kept")


def test_rows_of_files_that_were_replaced_go(model, tmp_path, monkeypatch, capfd):
    """Labels are written, then the disk is full: what the tables tell of the image is no longer there."""
    paths = [save(tmp_path / f"{name}.png") for name in "ab"]
    assert predict(*paths, "-o", tmp_path / "out") == 0

    def write_mask(path, mask):
        raise OSError(errno.ENOSPC, "No space left on device")

    capfd.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("nucleiseg.inference.prediction.write_mask", write_mask)
        assert predict(paths[0], "-o", tmp_path / "out") == 1
    assert "kept" not in capfd.readouterr().err
    assert rows(tmp_path / "out") == {"b.png": 1}
    model.seen.clear()
    assert predict(*paths, "-o", tmp_path / "out", "--resume") == 0
    assert model.seen == ["a.png"]


def test_an_image_that_changes_while_it_is_segmented_is_done_again(model, tmp_path, monkeypatch, capfd):
    """Else the journal would have labels of the old pixels beside the hash of the new ones, for good."""
    path, other, plain = save(tmp_path / "a.png"), save(tmp_path / "b.png"), model.predict

    def predict_while_it_is_replaced(source, options):
        found = plain(source, options)
        if source.path == path:
            save(path, 3)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(model, "predict", predict_while_it_is_replaced)
        assert predict(path, other, "-o", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(f"{path}: changed while it was segmented; run again with --resume")
    assert rows(tmp_path / "out") == {"b.png": 1}
    assert predict(path, other, "-o", tmp_path / "out", "--resume") == 0
    assert rows(tmp_path / "out") == {"a.png": 3, "b.png": 1}


@pytest.mark.parametrize(("name", "content"), [("errors.csv", "date,error\n"), ("run.json", '{"a": 1}')])
def test_such_files_of_others_are_left_alone(model, tmp_path, capfd, name, content):
    image = save(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(content)
    assert predict(image, "-o", tmp_path / "out") == 2
    assert f"{name} in {tmp_path / 'out'} would be replaced, but nucleiseg did not write it" in capfd.readouterr().err
    assert (tmp_path / "out" / name).read_text() == content


def test_the_run_is_described(model, tmp_path, monkeypatch):
    paths = [save(tmp_path / "in" / f"{name}.png") for name in "ab"]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/nucleiseg", "predict", "my images", "-o", "out"])
    assert predict(*paths, "-o", tmp_path / "out", "--min-area", "3", "--threshold", ".4") == 0
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["software"] == "nucleiseg"
    assert run["command"] == "nucleiseg predict 'my images' -o out"
    assert {"keras", "numpy", "tensorflow"} <= run["packages"].keys()
    assert run["packages"]["numpy"] == np.__version__
    assert (run["options"]["min_area"], run["options"]["threshold"]) == (3, 0.4)
    assert run["started"] <= run["finished"]
    assert run["model"]["name"] == "nuclei"
    assert len(run["model"]["sha256"]) == 64
    images = run["images"]
    assert (images["given"], images["segmented"], images["failed"], images["resumed"]) == (2, 2, 0, 0)
    assert predict(*paths[::-1], "-o", tmp_path / "other") == 0
    again = json.loads((tmp_path / "other" / "run.json").read_text())["images"]
    assert again["sha256"] == images["sha256"]  # whatever the order
    save(paths[0], 3)
    assert predict(*paths, "-o", tmp_path / "other") == 0
    assert json.loads((tmp_path / "other" / "run.json").read_text())["images"]["sha256"] != images["sha256"]


def test_the_run_says_what_images_were_computed_in_by_earlier_runs_too(model, tmp_path):
    paths = [save(tmp_path / "in" / f"{name}.png") for name in "ab"]
    for precision, given, expected in (
        ("mixed_bfloat16", paths[:1], ["mixed_bfloat16"]),
        ("float32", paths, ["float32", "mixed_bfloat16"]),
        ("float32", paths[:1], ["mixed_bfloat16"]),
    ):
        model.precision = precision
        assert predict(*given, "-o", tmp_path / "out", "--resume") == 0
        run = json.loads((tmp_path / "out" / "run.json").read_text())
        assert (run["options"]["precision"], run["computed in"]) == ("auto", expected)
    for entry in (tmp_path / "out" / ".nucleiseg").glob("*.json"):  # as versions wrote them that knew no other
        older = {key: value for key, value in json.loads(entry.read_text()).items() if key != "precision"}
        entry.write_text(json.dumps(older))
    assert predict(*paths, "-o", tmp_path / "out", "--resume") == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["computed in"] == ["float32"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_ends_the_batch_with_what_is_done(model, tmp_path, monkeypatch, capfd, number):
    paths = [save(tmp_path / f"{name}.png") for name in "abcd"]
    plain, calls = tifffile.imwrite, []

    def write(path, *arguments, **settings):
        calls.append(path)
        if len(calls) == 2:
            plain(path, np.zeros((4, 4), np.uint8))
            raise OSError(number, os.strerror(number))
        plain(path, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(tifffile, "imwrite", write)
        assert predict(*paths, "-o", tmp_path / "out") == 1
    lines = capfd.readouterr().err.splitlines()
    for_one, for_all = {
        errno.ENOSPC: ("make room", "make room, and go on with --resume"),
        errno.EROFS: ("choose another output folder", "choose another output folder"),
    }[number]
    assert lines == [
        f"nucleiseg: {paths[1]}: its results cannot be written ({os.strerror(number)}); {for_one}",
        f"nucleiseg: {tmp_path / 'out'} takes no more files; {for_all}",
    ]
    assert list(rows(tmp_path / "out")) == ["a.png"]
    assert not (tmp_path / "out" / "b_labels.tif").exists()
    model.seen.clear()
    assert predict(*paths, "-o", tmp_path / "out", "--resume") == 0
    assert sorted(model.seen) == ["b.png", "c.png", "d.png"]
    assert list(rows(tmp_path / "out")) == ["a.png", "b.png", "c.png", "d.png"]


@pytest.mark.parametrize("large", [False, True])
def test_files_are_written_while_the_next_image_is_in_the_network(model, tmp_path, monkeypatch, large):
    """Unless images are so large that two of them may be too much for the memory."""
    paths = [save(tmp_path / f"{name}.png") for name in "ab"]
    monkeypatch.setattr(batch, "_LARGE", 0 if large else 10**9)
    monkeypatch.setattr("nucleiseg.inference.ahead._LARGE", 0 if large else 10**9)
    begun, plain, predict_one = threading.Event(), Prediction.save_images, model.predict
    beside = []

    def save_images(result, folder, stem):
        if stem == "a":
            beside.append(begun.wait(0.5 if large else 60))
        return plain(result, folder, stem)

    def predict_and_tell(source, options):
        if source.path.stem == "b":
            begun.set()
        return predict_one(source, options)

    monkeypatch.setattr(Prediction, "save_images", save_images)
    monkeypatch.setattr(model, "predict", predict_and_tell)
    assert predict(*paths, "-o", tmp_path / "out") == 0
    assert beside == [not large]
    assert list(rows(tmp_path / "out")) == ["a.png", "b.png"]


def test_too_little_memory_names_the_tiles(model, tmp_path, monkeypatch, capfd):
    path = save(tmp_path / "a.png")

    def give_up(source, options):
        raise MemoryError("Unable to allocate 30.0 GiB")

    monkeypatch.setattr(model, "predict", give_up)
    assert predict(path, "-o", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith("needs more memory than there is; cut it into tiles with --tile 512")


def test_a_folder_that_cannot_be_written_is_one_line(model, tmp_path, monkeypatch, capfd):
    def refuse(path, text):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    image = save(tmp_path / "a.png")
    monkeypatch.setattr(journal, "write_text", refuse)
    assert predict(image, "-o", tmp_path / "out") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(f"cannot be written into {tmp_path / 'out'} (Permission denied); choose another output folder")
    assert model.seen == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write into")
def test_not_even_root_can_write_everywhere(model, tmp_path, capfd):
    assert predict(save(tmp_path / "a.png"), "-o", "/proc/nucleiseg") == 2
    assert "results cannot be written into /proc/nucleiseg (" in capfd.readouterr().err


# ---- Going on. ----


def test_resume_skips_what_is_complete(model, tmp_path, capfd):
    paths = [save(tmp_path / f"{name}.png", count) for name, count in (("a", 1), ("b", 2), ("c", 0), ("NA", 3))]
    assert predict(*paths[:2], paths[3], "-o", tmp_path / "out") == 0
    model.seen.clear()
    capfd.readouterr()
    assert predict(*paths, "-o", tmp_path / "out", "--resume") == 0
    assert model.seen == ["c.png"]
    assert "4 of 4 images segmented (3 of them before), 6 nuclei" in capfd.readouterr().out
    assert predict(*paths, "-o", tmp_path / "fresh") == 0
    for name in ("measurements.csv", "summary.csv"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "fresh" / name).read_text()
    model.seen.clear()
    assert predict(*paths, "-o", tmp_path / "out") == 0
    assert len(model.seen) == 4  # without the flag everything is done anew


def test_larger_images_are_let_in_and_the_others_not_done_again(model, tmp_path, capfd):
    save(tmp_path / "in" / "a.png")
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "in" / "b.png")
    assert predict(tmp_path / "in", "-o", tmp_path / "out", "--max-pixels", 1999) == 1
    assert "b.png: 40 x 50 is more than 1999 pixels; crop it, or allow more with --max-pixels" in capfd.readouterr().err
    assert predict(tmp_path / "in", "-o", tmp_path / "out", "--resume", "--max-pixels", 2000) == 0
    assert model.seen == ["a.png", "b.png"]


def delete(folder):
    (folder / "a_mask.png").unlink()


def shorten(folder):
    (folder / "a_labels.tif").write_bytes((folder / "a_labels.tif").read_bytes()[:-5])


def forget(folder):
    shutil.rmtree(folder / ".nucleiseg")


def damage(folder):
    for path in (folder / ".nucleiseg").glob("*.json"):
        path.write_text(path.read_text()[:-30])


def deep(folder):
    for path in (folder / ".nucleiseg").glob("*.json"):
        path.write_text("[" * 10**5 + "]" * 10**5)
    (folder / ".nucleiseg" / "together").write_text("[" * 10**5)


def altered(*names, drop=False, value=None):
    """A function that leaves something out of an entry, or puts another value there."""

    def change(folder):
        for path in (folder / ".nucleiseg").glob("*.json"):
            stored = json.loads(path.read_text())
            *outer, last = names
            inner = stored
            for name in outer:
                inner = inner[name]
            if drop:
                del inner[last]
            else:
                inner[last] = value
            path.write_text(json.dumps(stored))

    return change


DAMAGED = {
    "a list": lambda folder: [path.write_text("[1]") for path in (folder / ".nucleiseg").glob("*.json")],
    "deep": deep,
    **{
        f"no {name}": altered(name, drop=True) for name in ("image", "time", "files", "sha256", "pixel_size", "summary")
    },
    **{
        f"wrong {name}": altered(name, value=5)
        for name in ("image", "sha256", "files", "left", "plane", "table", "stem")
    },
    "wrong time": altered("time", value="now"),
    "wrong size": altered("files", "a_labels.tif", value="large"),
    "wrong column": altered("table", "area", value=5),
    "wrong type": altered("table", "area", 0, value=5),
    "short column": altered("table", "area", 1, value=[]),
    "no columns": altered("table", value={}),
    "no row": altered("summary", value={"count": ["int64", []]}),
    "no name": altered("files", "a\0.tif", value=5),
}


@pytest.mark.parametrize("change", DAMAGED.values(), ids=DAMAGED)
def test_damaged_entries_are_passed_over(model, tmp_path, change):
    paths = [save(tmp_path / f"{name}.png") for name in "ab"]
    assert predict(paths[0], "-o", tmp_path / "out", "--pictures") == 0
    change(tmp_path / "out")
    assert predict(paths[1], "-o", tmp_path / "out", "--pictures") == 0
    assert rows(tmp_path / "out") == {"b.png": 1}
    (tmp_path / "out" / ".nucleiseg" / f"{journal.digest('b')}.json").unlink()
    model.seen.clear()
    assert predict(paths[0], "-o", tmp_path / "out", "--resume") == 0
    assert model.seen == ["a.png"]
    assert rows(tmp_path / "out") == {"a.png": 1}
    assert_whole(tmp_path / "out", "a", 1)


def test_entries_that_tell_of_no_quality_are_kept(model, tmp_path):
    path = save(tmp_path / "a.png")
    assert predict(path, "-o", tmp_path / "out") == 0
    altered("summary", "quality", drop=True)(tmp_path / "out")
    model.seen.clear()
    assert predict(path, "-o", tmp_path / "out", "--resume", "--export", "geojson,coco") == 0
    assert model.seen == []


@pytest.mark.parametrize("change", [delete, shorten, forget, damage])
def test_what_is_not_complete_is_done_again(model, tmp_path, change):
    path = save(tmp_path / "a.png")
    assert predict(path, "-o", tmp_path / "out") == 0
    change(tmp_path / "out")
    model.seen.clear()
    assert predict(path, "-o", tmp_path / "out", "--resume") == 0
    assert model.seen == ["a.png"]
    assert_whole(tmp_path / "out", "a", 1)


def test_other_pixels_or_options_are_done_again(model, tmp_path):
    path = save(tmp_path / "a.png")
    assert predict(path, "-o", tmp_path / "out") == 0

    def seen(*flags):
        model.seen.clear()
        assert predict(path, "-o", tmp_path / "out", "--resume", *flags) == 0
        return len(model.seen)

    assert seen() == 0
    assert seen("--min-area", "5") == 1
    assert seen("--min-area", "5", "--export", "geojson") == 0
    (tmp_path / "out" / "a.geojson").unlink()
    assert seen("--min-area", "5", "--export", "geojson") == 1
    save(path, 3)
    assert seen("--min-area", "5", "--export", "geojson") == 1
    os.utime(path)  # the same pixels
    assert seen("--min-area", "5", "--export", "geojson") == 0
    assert seen("--pictures", "--export", "coco") == 1
    assert seen("--pictures", "--export", "coco") == 0


def test_files_of_all_images_hold_those_of_before_too(model, tmp_path):
    paths = [save(tmp_path / f"{name}.png", 2) for name in "ab"]
    flags = ["--export", "coco,parquet", "--pictures"]
    assert predict(paths[0], "-o", tmp_path / "out", *flags) == 0
    assert predict(*paths, "-o", tmp_path / "out", "--resume", *flags) == 0
    assert predict(*paths, "-o", tmp_path / "fresh", *flags) == 0
    for name in ("nuclei_coco.json", "measurements.csv", "summary.csv"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "fresh" / name).read_text()
    sheets = [np.asarray(Image.open(tmp_path / name / "contact_sheet.png")) for name in ("out", "fresh")]
    np.testing.assert_array_equal(*sheets)
    frames = [pd.read_parquet(tmp_path / name / "nuclei.parquet") for name in ("out", "fresh")]
    pd.testing.assert_frame_equal(*frames)


def test_tables_tell_what_is_in_the_folder(model, tmp_path):
    paths = [save(tmp_path / f"{name}.png") for name in "ab"]
    assert predict(paths[0], "-o", tmp_path / "out") == 0
    assert predict(paths[1], "-o", tmp_path / "out") == 0
    assert rows(tmp_path / "out") == {"b.png": 1, "a.png": 1}
    (tmp_path / "out" / "a_labels.tif").unlink()
    assert predict(paths[1], "-o", tmp_path / "out") == 0
    assert rows(tmp_path / "out") == {"b.png": 1}


def test_exports_and_pictures_do_not_decide_about_rows(model, tmp_path, capfd):
    paths = [save(tmp_path / f"{name}.png") for name in "abc"]
    for path, flags in zip(paths, ((), ("--export", "geojson"), ("--pictures",)), strict=True):
        assert predict(path, "-o", tmp_path / "out", *flags) == 0
    assert rows(tmp_path / "out") == {"c.png": 1, "a.png": 1, "b.png": 1}
    assert capfd.readouterr().err == ""
    model.seen.clear()
    assert predict(*paths, "-o", tmp_path / "out", "--resume") == 0
    assert model.seen == []
    assert (tmp_path / "out" / "b.geojson").exists()
    assert predict(*paths, "-o", tmp_path / "out", "--resume", "--export", "geojson") == 0
    assert model.seen == []
    assert len(list((tmp_path / "out").glob("*.geojson"))) == 3
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (run["export"], run["pictures"]) == (["geojson"], False)


def test_further_files_of_finished_images_are_made_of_their_labels(model, tmp_path, capfd):
    paths = [save(tmp_path / f"{name}.png", count) for name, count in (("a", 2), ("b", 0))]
    wanted = ("--export", "geojson,coco,roi", "--pictures")
    assert predict(*paths, "-o", tmp_path / "once", *wanted) == 0
    assert predict(*paths, "-o", tmp_path / "twice") == 0
    model.seen.clear()
    capfd.readouterr()
    for _ in range(2):
        assert predict(*paths, "-o", tmp_path / "twice", "--resume", *wanted) == 0
        assert "2 of 2 images segmented (2 of them before), 2 nuclei" in capfd.readouterr().out
    assert model.seen == []
    names = {path.name for path in (tmp_path / "once").iterdir() if path.is_file()}
    assert names == {path.name for path in (tmp_path / "twice").iterdir() if path.is_file()}
    for name in names - {"run.json"}:
        once, twice = (contents(tmp_path / folder / name) for folder in ("once", "twice"))
        assert once == twice, name


def contents(path):
    """What is in a file; of an archive, what is in its members, whose times may differ."""
    if path.suffix != ".zip":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_results_that_another_process_has_replaced_are_not_exported(model, tmp_path, monkeypatch, capfd):
    path = save(tmp_path / "a.png", 2)
    assert predict(path, "-o", tmp_path / "out") == 0
    plain = journal.Journal.find

    def find(self, path, stem):
        entry = plain(self, path, stem)
        monkeypatch.setattr(journal.Journal, "find", plain)
        assert predict(path, "-o", tmp_path / "out") == 0  # what another process might do
        return entry

    monkeypatch.setattr(journal.Journal, "find", find)
    assert predict(path, "-o", tmp_path / "out", "--resume", "--export", "geojson") == 1
    assert "another process has changed its results meanwhile; go on with --resume" in capfd.readouterr().err
    assert not (tmp_path / "out" / "a.geojson").exists()
    model.seen.clear()
    assert predict(path, "-o", tmp_path / "out", "--resume", "--export", "geojson") == 0
    assert model.seen == []  # the other's entry was left


def test_a_further_file_that_cannot_be_written_costs_no_rows(model, tmp_path, monkeypatch, capfd):
    paths = [save(tmp_path / f"{name}.png", 2) for name in "ab"]
    assert predict(*paths, "-o", tmp_path / "out") == 0
    labels = tmp_path / "out" / "a_labels.tif"
    whole = labels.read_bytes()
    with tifffile.TiffFile(labels) as file:
        start, length = (values[0] for values in (file.pages[0].dataoffsets, file.pages[0].databytecounts))
    labels.write_bytes(whole[:start] + b"\0" * length + whole[start + length :])
    assert predict(*paths, "-o", tmp_path / "out", "--resume", "--export", "geojson") == 1
    assert "or delete it, and segment the image again with --resume" in capfd.readouterr().err
    assert rows(tmp_path / "out") == {"a.png": 2, "b.png": 2}
    assert [path.name for path in (tmp_path / "out").glob("*.geojson")] == ["b.geojson"]
    assert pd.read_csv(tmp_path / "out" / "errors.csv")["image"].tolist() == [str(paths[0])]
    labels.write_bytes(whole)
    model.seen.clear()
    assert predict(*paths, "-o", tmp_path / "out", "--resume", "--export", "geojson") == 0
    assert model.seen == []


def test_rows_that_other_options_leave_out_are_told(model, tmp_path, capfd):
    paths = [save(tmp_path / f"{name}.png") for name in "abc"]
    (tmp_path / "bad.png").write_bytes(b"")
    assert predict(*paths[:2], tmp_path / "bad.png", "-o", tmp_path / "out") == 1
    capfd.readouterr()

    def told(path):
        assert predict(path, "-o", tmp_path / "out", "--threshold", "0.9", "--quiet") == 0
        return capfd.readouterr().err

    text = (
        "nucleiseg: rows of {} made with another model, options or version are left out of the tables; segment all "
        "with the same, or choose another output folder\n"
    )
    assert told(paths[2]) == text.format("2 images")
    assert rows(tmp_path / "out") == {"c.png": 1}
    assert told(paths[1]) == text.format("1 image")
    assert told(paths[0]) == ""
    assert rows(tmp_path / "out") == {"a.png": 1, "b.png": 1, "c.png": 1}


def test_nothing_to_do_loads_no_framework(run_python, tmp_path):
    path = save(tmp_path / "a.png")
    process = start(path, "-o", tmp_path / "out")
    process.communicate()
    code = (
        "import sys; from nucleiseg.cli.main import main; status = main(sys.argv[1:])\n"
        "print('tensorflow' in sys.modules); sys.exit(status)"
    )
    again = run_python(code, "predict", path, "-o", tmp_path / "out", "--resume")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.splitlines()[-1] == "False"


# ---- Killed, and side by side. ----


def kill_sometime(tmp_path, moments, count):
    """Kill a process again and again while it works; then let it go on to the end."""
    rng = np.random.default_rng(1)
    for number in range(count):
        save(tmp_path / "in" / f"image{number:03}.png", number % 4)
    out = tmp_path / "out"
    arguments = [tmp_path / "in", "-o", out, "--resume", "--export", "geojson"]
    for _ in range(moments):
        process = start(*arguments, PAUSE="0.01")
        before = len(list(out.glob("*_labels.tif"))) if out.exists() else 0
        while process.poll() is None and len(list(out.glob("*_labels.tif")) if out.exists() else []) <= before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert_consistent(out)
    process = start(*arguments)
    printed, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert f"{count} of {count} images segmented" in printed
    assert "of them before" in printed
    assert rows(out) == {f"image{number:03}.png": number % 4 for number in range(count)}
    for number in range(count):
        assert_whole(out, f"image{number:03}", number % 4)


def test_ctrl_c_stops_soon_and_keeps_what_is_done(tmp_path):
    out = tmp_path / "out"
    for number in range(60):
        save(tmp_path / "in" / f"{number:02}.png", number % 4)
    process = start(tmp_path / "in", "-o", out, PAUSE="0.2")
    while not list((out / ".nucleiseg").glob("*.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "nucleiseg: interrupted"
    done = rows(out)
    assert 0 < len(done) < 60
    for name, count in done.items():
        assert_whole(out, Path(name).stem, count)
    assert not list(out.glob(".tmp-*"))
    again = start(tmp_path / "in", "-o", out, "--resume")
    again.communicate()
    assert again.returncode == 0
    assert len(rows(out)) == 60


def test_killed_at_any_moment_nothing_looks_complete_that_is_not(tmp_path):
    kill_sometime(tmp_path, moments=2, count=60)


@pytest.mark.slow
def test_killed_at_twenty_moments_nothing_looks_complete_that_is_not(tmp_path):
    kill_sometime(tmp_path, moments=20, count=300)


def together(tmp_path, count, shared):
    """Two processes, of whose images so many are the same."""
    for number in range(count):
        save(tmp_path / "in" / f"image{number:03}.png", number % 4)
    images = sorted((tmp_path / "in").iterdir())
    middle, half = count // 2, shared // 2
    parts = [images[: middle + half], images[middle - half :]]
    processes = [start(*part, "-o", tmp_path / "out", "--export", "coco") for part in parts]
    for process in processes:
        _, err = process.communicate()
        assert (process.returncode, err) == (0, "")
    assert rows(tmp_path / "out") == {f"image{number:03}.png": number % 4 for number in range(count)}
    for number in range(count):
        assert_whole(tmp_path / "out", f"image{number:03}", number % 4)
    listed = json.loads((tmp_path / "out" / "nuclei_coco.json").read_text())["images"]
    assert sorted(image["file_name"] for image in listed) == [path.name for path in images]
    assert not list((tmp_path / "out").glob(".tmp-*"))


@pytest.mark.parametrize("shared", [0, 40])
def test_two_processes_share_a_folder(tmp_path, shared):
    together(tmp_path, 40, shared)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0, 100, 400])
def test_two_processes_share_a_folder_for_long(tmp_path, shared):
    together(tmp_path, 400, shared)


def test_two_processes_with_equal_names_do_not_mix_their_files(model, tmp_path, monkeypatch, capfd):
    mine, theirs = save(tmp_path / "mine" / "x.png", 1), save(tmp_path / "theirs" / "x.png", 3)
    plain = model.predict
    nested = []

    def predict_while_another_writes(source, options):
        if not nested:
            nested.append(source)
            assert predict(theirs, "-o", tmp_path / "out") == 0
        return plain(source, options)

    monkeypatch.setattr(model, "predict", predict_while_another_writes)
    assert predict(mine, "-o", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert f"another process has just written the results of {theirs} under the same name into" in line
    assert_whole(tmp_path / "out", "x", 3)
    assert pd.read_csv(tmp_path / "out" / "summary.csv")["image"].tolist() == [str(theirs)]  # nor their rows
    assert predict(theirs, "-o", tmp_path / "out", "--resume") == 0
    assert "(1 of them before)" in capfd.readouterr().out


def test_names_taken_while_this_process_starts_are_not_taken_again(model, tmp_path, monkeypatch, capfd):
    mine, theirs = save(tmp_path / "mine" / "x.png", 1), save(tmp_path / "theirs" / "x.png", 3)
    plain = predict_command.find_held

    def look_just_before_another_writes(folder):
        monkeypatch.setattr(predict_command, "find_held", plain)
        held = plain(folder)
        assert predict(theirs, "-o", tmp_path / "out") == 0
        return held

    monkeypatch.setattr(predict_command, "find_held", look_just_before_another_writes)
    assert predict(mine, "-o", tmp_path / "out") == 1
    assert "another process has just written the results of" in capfd.readouterr().err
    assert_whole(tmp_path / "out", "x", 3)


def test_writers_of_a_folder_wait_for_each_other(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from nucleiseg._files import locked\n"
        "for _ in range(50):\n"
        "    with locked(sys.argv[1]):\n"
        "        count = int(Path(sys.argv[2]).read_text()); time.sleep(.0005)\n"
        "        Path(sys.argv[2]).write_text(str(count + 1))\n"
    )
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", code, str(tmp_path / "lock"), str(tmp_path / "count")]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "150"


def test_long_and_foreign_names_are_written(model, tmp_path):
    names = ["細胞核-μm", "ядро клетки", "e\u0301 combining", "a" * 251, "µ" * 125, "a" * 250 + "b"]
    paths = [save(tmp_path / "in" / f"{name}.png", number % 4) for number, name in enumerate(names)]
    assert predict(*paths, "-o", tmp_path / "out") == 0
    assert list(rows(tmp_path / "out").values()) == [0, 1, 2, 3, 0, 1]
    found = sorted((tmp_path / "out").glob("*_labels.tif"))
    assert len(found) == len(names)
    assert max(len(os.fsencode(path.name)) for path in found) <= 255
    assert_whole(tmp_path / "out", "細胞核-μm", 0)
    assert instances.exporting.is_own_file(found[0])
