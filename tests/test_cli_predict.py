"""``nucleiseg predict``, mostly with a threshold in place of the network: what is written, and what may go wrong."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import errno
import json
import os
import re
import sys
import typing
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from nucleiseg import PredictOptions, ReadOptions, Tiling
from nucleiseg.cli import arguments as cli_arguments
from nucleiseg.cli.main import main
from nucleiseg.cli.stems import unique_stems
from nucleiseg.images import Micrograph, read_image, sources
from nucleiseg.inference import Passport, Prediction
from nucleiseg.instances import split_components, write_labels, write_mask
from nucleiseg.segmenter import Segmenter

COLUMNS = [
    "image",
    "labels",
    "label",
    "area",
    "confidence",
    "quality",
    "centroid-0",
    "centroid-1",
    "bbox-0",
    "bbox-1",
    "bbox-2",
    "bbox-3",
    "touches_edge",
    "perimeter",
    "eccentricity",
    "axis_major_length",
    "axis_minor_length",
    "orientation",
    "solidity",
    "equivalent_diameter_area",
    "intensity_mean-0",
    "intensity_min-0",
    "intensity_max-0",
    "intensity_total-0",
]


@dataclasses.dataclass(frozen=True)
class Named(Micrograph):
    """An image that knows where it is from."""

    path: Path = Path()


class Threshold:
    """In place of a model: what is brighter than half of 8 bits is nucleus."""

    def __init__(self):
        self.options = []

    def predict(self, source, options):
        self.options.append(options)
        image = source.shown
        grey = image if image.ndim == 2 else image[..., :3].mean(axis=-1)
        bright = (grey > 127).astype(np.float32)
        return Prediction(image, bright, split_components(bright, min_area=options.min_area or 0), source)


@pytest.fixture
def model(monkeypatch):
    """Stands in for every model that is loaded."""
    threshold = Threshold()
    # Squares of one value are flat or saturated, which is told in tests of its own.
    monkeypatch.setattr("nucleiseg.inference.prediction.judge_image", lambda image, labels: ())
    monkeypatch.setattr(Segmenter, "load", lambda path: threshold)
    plain = sources.open_micrograph
    monkeypatch.setattr(
        sources, "open_micrograph", lambda path, options: Named(**vars(plain(path, options)), path=path)
    )
    return threshold


def squares(*corners, shape=(16, 20), value=200, dtype=np.uint8):
    """A dark image with bright squares of 3 × 3 pixels."""
    image = np.full(shape, 10, dtype)
    for row, column in corners:
        image[row : row + 3, column : column + 3] = value
    return image


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, image, photometric="rgb" if image.ndim == 3 else "minisblack")
    else:
        Image.fromarray(image).save(path)
    return path


def predict(*arguments):
    return main(["predict", *map(str, arguments)])


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".nucleiseg")


def table(folder):
    return pd.read_csv(folder / "measurements.csv")


def segmented(folder):
    """Names of the images in the table, in order, each once."""
    return [Path(name).name for name in table(folder)["image"].unique()]


def test_it_writes_labels_mask_overlay_and_one_table(model, tmp_path, capfd):
    first = save(tmp_path / "first.png", squares((1, 2), (8, 10)))
    second = save(tmp_path / "second.tif", squares((5, 5)))
    assert predict(first, second, "-o", tmp_path / "out") == 0

    assert names(tmp_path / "out") == [
        "first_labels.tif",
        "first_mask.png",
        "first_overlay.png",
        "measurements.csv",
        "run.json",
        "second_labels.tif",
        "second_mask.png",
        "second_overlay.png",
        "summary.csv",
    ]
    labels = tifffile.imread(tmp_path / "out" / "first_labels.tif")
    assert labels.dtype == np.uint16
    assert labels.shape == (16, 20)
    assert labels[2, 3] == 1
    assert labels[9, 11] == 2
    assert np.count_nonzero(labels) == 18
    mask = read_image(tmp_path / "out" / "first_mask.png")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, np.where(labels > 0, 255, 0))
    overlay = read_image(tmp_path / "out" / "first_overlay.png")
    assert (overlay.dtype, overlay.shape) == (np.uint8, (16, 20, 3))
    out, err = capfd.readouterr()
    assert out == f"2 of 2 images segmented, 3 nuclei; results in {tmp_path / 'out'}\n"
    assert err == ""


class Unusual(Threshold):
    """Nuclei of about 3 pixels, in place of 9 to 30."""

    def predict(self, source, options):
        scale = 1.0 if options.scale == "auto" else options.scale
        return dataclasses.replace(super().predict(source, options), passport=Passport(9, 18, 30), scale=scale)


@pytest.mark.parametrize(
    ("flags", "remedy"),
    [
        ((), ""),
        (("--scale", 1), " - try --scale auto or --diameter PIXELS"),
        (("--diameter", 30), " - try --scale auto without --diameter"),
        (("--diameter-um", 8), " - try --scale auto without --diameter-um"),
        (("--scale", 6), None),
    ],
)
def test_images_that_are_not_to_be_trusted_are_named(model, monkeypatch, tmp_path, capfd, flags, remedy):
    monkeypatch.setattr(Segmenter, "load", lambda path: Unusual())
    paths = [save(tmp_path / f"{name}.png", squares((1, 2))) for name in "abcde"]
    paths.append(save(tmp_path / "dark.png", squares()))
    assert predict(*paths, "-o", tmp_path / "out", *flags) == 0
    err = capfd.readouterr().err
    if remedy is None:
        assert err == ""
        return
    told = (
        f"nucleiseg: look at 5 of 6 images before you trust them (unusual size: a.png, b.png, c.png and 2 more{remedy})"
    )
    assert err == f"{told}; all are in summary.csv\n"
    # Those that an earlier run has finished, too.
    assert predict(paths[0], "-o", tmp_path / "out", "--resume", *flags) == 0
    assert "look at 1 of 1 images before you trust them (unusual size: a.png" in capfd.readouterr().err


def test_the_table_measures_the_raw_pixels(model, tmp_path):
    image = squares((1, 2), (8, 10), value=40_000, dtype=np.uint16)
    image[8, 10] = 49_000
    path = save(tmp_path / "deep.tif", image)
    assert predict(path, "-o", tmp_path / "out") == 0
    found = table(tmp_path / "out")
    assert list(found.columns) == COLUMNS
    assert (found["confidence"] > 0.5).all()
    assert found[[*COLUMNS[:4], *COLUMNS[6:13], *COLUMNS[-4:]]].to_numpy().tolist() == [
        [str(path), "deep_labels.tif", 1, 9, 2.0, 3.0, 1, 2, 4, 5, False, 40_000.0, 40_000.0, 40_000.0, 360_000.0],
        [str(path), "deep_labels.tif", 2, 9, 9.0, 11.0, 8, 10, 11, 13, False, 41_000.0, 40_000.0, 49_000.0, 369_000.0],
    ]


def test_every_channel_is_measured(model, tmp_path):
    colours = np.stack([squares((4, 4), value=value) for value in (255, 200, 150)], axis=-1)
    alpha = np.full((16, 20, 1), 99, np.uint8)
    grey = save(tmp_path / "a_grey.png", squares((2, 2)))
    rgba = save(tmp_path / "b_colour.png", np.concatenate([colours, alpha], axis=-1))
    assert predict(grey, rgba, "-o", tmp_path / "out") == 0
    found = table(tmp_path / "out")
    more = [f"intensity_{kind}-{i}" for i in (1, 2) for kind in ("mean", "min", "max", "total")]  # alpha is no channel
    assert list(found.columns) == [*COLUMNS, *more]
    assert found.loc[1, [f"intensity_mean-{i}" for i in range(3)]].tolist() == [255, 200, 150]
    assert found.loc[0, "intensity_mean-0"] == 200
    assert found.loc[0, more].isna().all()


def test_more_than_65535_nuclei_need_32_bits(model, tmp_path):
    image = np.zeros((520, 520), np.uint8)
    image[::2, ::2] = 255
    path = save(tmp_path / "many.png", image)
    assert predict(path, "-o", tmp_path / "out") == 0
    labels = tifffile.imread(tmp_path / "out" / "many_labels.tif")
    assert labels.dtype == np.uint32
    assert labels.max() == 67_600 == len(table(tmp_path / "out"))


def test_no_nuclei_leave_a_table_with_its_header(model, tmp_path, capfd):
    path = save(tmp_path / "dark.png", squares())
    assert predict(path, "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "measurements.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert tifffile.imread(tmp_path / "out" / "dark_labels.tif").max() == 0
    assert "1 of 1 images segmented, 0 nuclei" in capfd.readouterr().out


def test_dark_images_among_others_add_no_rows(model, tmp_path):
    paths = [save(tmp_path / "a.png", squares()), save(tmp_path / "b.png", squares((1, 1)))]
    assert predict(*paths, "-o", tmp_path / "out") == 0
    assert table(tmp_path / "out")["image"].tolist() == [str(paths[1])]


def test_folders_files_and_patterns_each_count_once(model, tmp_path):
    for name in ("plate/a.png", "plate/b.tif", "plate/deep/c.png", "single.png"):
        save(tmp_path / name, squares((1, 1)))
    (tmp_path / "plate" / "notes.txt").write_text("no image")
    plate = tmp_path / "plate"
    assert predict(plate, f"{plate}/**/*.png", plate / "a.png", tmp_path / "single.png", "-o", tmp_path / "out") == 0
    assert segmented(tmp_path / "out") == [
        "a.png",
        "b.tif",
        "c.png",
        "single.png",
    ]


def test_bad_files_are_reported_and_the_others_go_on(model, tmp_path, capfd):
    good = save(tmp_path / "a_good.png", squares((1, 1)))
    whole = good.read_bytes()
    bad = {
        "b_empty.png": b"",
        "c_text.png": b"no image",
        "d_cut.png": whole[: len(whole) // 2],
        "e_stack.tif": None,
    }
    for name, content in bad.items():
        if content is None:
            tifffile.imwrite(tmp_path / name, np.zeros((7, 16, 20), np.uint8))
        else:
            (tmp_path / name).write_bytes(content)
    save(tmp_path / "f_good.png", squares((2, 2)))

    assert predict(tmp_path, "-o", tmp_path / "out") == 1
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert len(lines) == len(bad)
    for line, name in zip(lines, bad, strict=True):
        assert line.startswith(f"nucleiseg: {tmp_path / name}: ")
        assert line.count(name) == 1
    assert "2 of 6 images segmented, 2 nuclei" in out
    assert segmented(tmp_path / "out") == ["a_good.png", "f_good.png"]
    assert len(names(tmp_path / "out")) == 2 * 3 + 4
    errors = pd.read_csv(tmp_path / "out" / "errors.csv")
    assert errors["image"].tolist() == [str(tmp_path / name) for name in bad]
    assert [f"nucleiseg: {image}: {error}" for image, error in errors.to_numpy()] == lines


def test_a_missing_input_is_reported_and_the_others_go_on(model, tmp_path, capfd):
    good = save(tmp_path / "good.png", squares((1, 1)))
    assert predict(tmp_path / "none.png", good, tmp_path / "*.tif", "-o", tmp_path / "out") == 1
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "none.png" in lines[0]
    assert "*.tif" in lines[1]
    assert len(table(tmp_path / "out")) == 1


def test_a_folder_that_cannot_be_listed_is_reported_and_the_others_go_on(model, tmp_path, monkeypatch, capfd):
    good = save(tmp_path / "good.png", squares((1, 1)))
    (tmp_path / "secret").mkdir()
    plain = Path.iterdir

    def iterdir(path):
        if path.name == "secret":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert predict(tmp_path / "secret", good, "-o", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    remedy = "check the path and the permissions of its folders"
    assert line.endswith(f"{tmp_path / 'secret'}: cannot be listed (Permission denied); {remedy}")
    assert segmented(tmp_path / "out") == ["good.png"]


def test_an_unexpected_error_does_not_stop_the_others(model, tmp_path, monkeypatch, capfd):
    paths = [save(tmp_path / f"{name}.png", squares((1, 1))) for name in "abc"]
    plain = model.predict

    def predict_two(source, options):
        if source.path.stem == "b":
            raise RuntimeError("no such device\nwith pages of details")
        return plain(source, options)

    monkeypatch.setattr(model, "predict", predict_two)
    assert predict(*paths, "-o", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line == f"nucleiseg: {paths[1]}: RuntimeError: no such device (run again with --debug to see where)"
    assert len(table(tmp_path / "out")) == 2


def test_debug_shows_where_a_bad_file_fails(model, tmp_path, capfd):
    (tmp_path / "bad.png").write_bytes(b"no image")
    save(tmp_path / "good.png", squares((1, 1)))
    assert predict(tmp_path, "-o", tmp_path / "out", "--debug") == 1
    err = capfd.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert "reading.py" in err
    assert err.splitlines()[-1].startswith(f"nucleiseg: {tmp_path / 'bad.png'}: ")
    assert len(table(tmp_path / "out")) == 1


class Terminal(StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_files_and_nuclei_are_counted(model, tmp_path, monkeypatch, capsys):
    save(tmp_path / "in" / "a.png", squares((2, 2), (10, 10)))
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    save(tmp_path / "in" / "c.png", squares((2, 2)))
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("NUCLEISEG_PROGRESS", raising=False)
    assert predict(tmp_path / "in", "-o", tmp_path / "out") == 1
    shown = re.findall(r"predicting  \|[^|]*\| (\S+ files  \d nuclei  \S+)", stream.getvalue())
    expected = ["0/3 files  0 nuclei  a.png", "1/3 files  2 nuclei  b.png", "2/3 files  2 nuclei  c.png"]
    # Drawn anew below a complaint, and on a slow machine between a file and the next one's name.
    assert [line for line in dict.fromkeys(shown) if line in expected] == expected
    assert f"\rnucleiseg: {tmp_path / 'in' / 'b.png'}: " in stream.getvalue()
    assert capsys.readouterr().out.startswith("2 of 3 images segmented, 3 nuclei; ")


def test_quiet_and_with_a_log_everything_is_written_but_little_said(model, tmp_path, capfd):
    save(tmp_path / "in" / "a.png", squares((2, 2), (10, 10)))
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    log = tmp_path / "run.log"
    assert predict(tmp_path / "in", "-o", tmp_path / "out", "--quiet", "--log-file", log) == 1
    out, err = capfd.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert len(table(tmp_path / "out")) == 2
    text = log.read_text()
    assert re.search(rf"INFO nucleiseg\.cli\.batch: {tmp_path}/in/a\.png: 2 nuclei, segmented in \d+\.\d\d s\n", text)
    assert re.search(r"ERROR nucleiseg\.cli\.terminal: \S+b\.png: ", text)
    assert "1 of 2 images segmented, 2 nuclei" in text
    assert predict(tmp_path / "in", "-o", tmp_path / "out", "--resume", "--quiet", "--log-file", log) == 1
    assert "a.png: 2 nuclei, segmented by an earlier run\n" in log.read_text()


def test_an_interruption_keeps_what_is_done(model, tmp_path, monkeypatch, capfd):
    paths = [save(tmp_path / f"{name}.png", squares((1, 1))) for name in "abc"]
    plain = model.predict

    def predict_until_c(source, options):
        if source.path.stem == "c":
            raise KeyboardInterrupt
        return plain(source, options)

    monkeypatch.setattr(model, "predict", predict_until_c)
    assert predict(*paths, "-o", tmp_path / "out") == 130
    assert capfd.readouterr() == ("", "nucleiseg: interrupted\n")
    assert table(tmp_path / "out")["image"].tolist() == [str(path) for path in paths[:2]]


def test_equal_stems_do_not_overwrite_each_other(model, tmp_path):
    paths = [
        save(tmp_path / "a" / "x.png", squares((1, 1))),
        save(tmp_path / "b" / "x.png", squares((1, 1), (5, 5))),
        save(tmp_path / "b" / "x.tif", squares()),
        save(tmp_path / "b" / "x-2.png", squares((1, 1), (5, 5), (9, 9))),
    ]
    assert predict(*paths, "-o", tmp_path / "out") == 0
    counts = {name: tifffile.imread(tmp_path / "out" / f"{name}_labels.tif").max() for name in unique_stems(paths)}
    assert counts == {"x": 1, "x-2": 2, "x-3": 0, "x-2-2": 3}


def test_exports_take_no_name_of_another_image(model, tmp_path):
    """ImageJ's labels of x.png are called as the labels of x_imagej.png."""
    first, second = save(tmp_path / "x.png", squares((1, 1))), save(tmp_path / "x_imagej.png", squares((1, 1), (5, 5)))
    for number, paths in enumerate(([first, second], [second, first])):
        out = tmp_path / f"out{number}"
        for flags in ((), ("--resume",)):
            assert predict(*paths, "-o", out, "--export", "imagej", *flags) == 0
            found = counts(out)
            assert (
                found
                == [
                    {"x_labels.tif": 1, "x_imagej-2_labels.tif": 2},
                    {"x-2_labels.tif": 1, "x_imagej_labels.tif": 2},
                ][number]
            )
            for name, count in found.items():
                export = name.replace("_labels.tif", "_imagej_labels.tif")
                assert tifffile.imread(out / export).max() == count


@pytest.mark.parametrize("alone", [False, True])
def test_names_that_are_kept_and_do_not_go_with_an_export_are_refused(model, tmp_path, capfd, alone):
    first, second = save(tmp_path / "x.png", squares((1, 1))), save(tmp_path / "x_imagej.png", squares((1, 1), (5, 5)))
    out = tmp_path / "out"
    assert predict(first, second, "-o", out) == 0
    before = (out / "x_imagej_labels.tif").read_bytes()
    capfd.readouterr()
    assert predict(first, *([] if alone else [second]), "-o", out, "--export", "imagej") == 2
    (line,) = capfd.readouterr().err.splitlines()
    owners = f"{second} and of {first}" if alone else f"{first} and of {second}"
    assert f"x_imagej_labels.tif must be of one image, but would be of {owners}; choose another output folder" in line
    assert (out / "x_imagej_labels.tif").read_bytes() == before
    assert predict(second, "-o", out, "--export", "imagej") == 0  # whose files are its own
    assert predict(first, "-o", out, "--export", "geojson") == 0


def wells(folder):
    """Two images of the same name, with one nucleus and with two."""
    return [
        save(folder / "A01" / "img.png", squares((1, 1))),
        save(folder / "A02" / "img.png", squares((1, 1), (5, 5))),
    ]


def counts(folder):
    """Nuclei by the names of label files: what is in the tables, which must fit what is in the files."""
    summary, nuclei = (pd.read_csv(folder / name) for name in ("summary.csv", "measurements.csv"))
    assert list(summary.columns[:5]) == ["image", "labels", "height", "width", "count"]
    assert list(nuclei.columns[:3]) == ["image", "labels", "label"]
    found = dict(zip(summary["labels"], summary["count"], strict=True))
    assert len(found) == len(summary)
    assert nuclei["labels"].value_counts().to_dict() == {name: count for name, count in found.items() if count}
    for name, count in found.items():
        assert tifffile.imread(folder / name).max() == count
    return found


def test_a_later_run_takes_no_name_of_another_image(model, tmp_path):
    first, second = wells(tmp_path)
    out = tmp_path / "out"
    assert predict(first.parent, "-o", out) == 0
    assert predict(second.parent, "-o", out, "--threshold", "0.9") == 0
    assert predict(first.parent, "-o", out, "--threshold", "0.9") == 0
    assert counts(out) == {"img_labels.tif": 1, "img-2_labels.tif": 2}
    summary = pd.read_csv(out / "summary.csv")
    assert dict(zip(summary["labels"], summary["image"], strict=True)) == {
        "img_labels.tif": str(first),
        "img-2_labels.tif": str(second),
    }
    # One of a third folder, whose name differs in case only; and the others keep theirs in any order.
    third = save(tmp_path / "A03" / "IMG.png", squares())
    assert predict(third, second, first, "-o", out, "--threshold", "0.9") == 0
    assert counts(out) == {"IMG-3_labels.tif": 0, "img-2_labels.tif": 2, "img_labels.tif": 1}


def test_an_image_keeps_its_name_wherever_it_is_named_from(model, tmp_path, monkeypatch):
    first, second = wells(tmp_path)
    out = tmp_path / "out"
    assert predict(second, first, "-o", out) == 0
    monkeypatch.chdir(tmp_path)
    assert predict(Path("A01", "img.png"), "-o", "out") == 0
    monkeypatch.chdir(tmp_path / "A02")
    assert predict("img.png", "-o", out) == 0
    assert counts(out) == {"img_labels.tif": 2, "img-2_labels.tif": 1}


def test_an_image_that_was_moved_keeps_its_name(model, tmp_path, capfd):
    wells(tmp_path / "plate")
    assert predict(tmp_path / "plate" / "*" / "*.png", "-o", tmp_path / "out") == 0
    (tmp_path / "plate").rename(tmp_path / "moved")
    assert predict(tmp_path / "moved" / "*" / "*.png", "-o", tmp_path / "out", "--resume") == 0
    assert "2 of 2 images segmented (2 of them before)" in capfd.readouterr().out
    assert counts(tmp_path / "out") == {"img_labels.tif": 1, "img-2_labels.tif": 2}
    # Other pixels are another image, even if the first one is gone.
    (tmp_path / "moved" / "A01" / "img.png").unlink()
    save(tmp_path / "new" / "img.png", squares())
    assert predict(tmp_path / "new", "-o", tmp_path / "out") == 0
    assert counts(tmp_path / "out") == {"img-3_labels.tif": 0, "img_labels.tif": 1, "img-2_labels.tif": 2}


def test_a_name_is_free_again_when_its_files_are_gone(model, tmp_path):
    first, second = wells(tmp_path)
    out = tmp_path / "out"
    assert predict(first, "-o", out) == 0
    for path in out.glob("img_[mo]*.png"):
        path.unlink()
    assert predict(second, "-o", out) == 0  # while one is left, it is not replaced
    assert tifffile.imread(out / "img_labels.tif").max() == 1
    for path in out.glob("img*_*"):
        path.unlink()
    assert predict(second, "-o", out) == 0
    assert counts(out) == {"img_labels.tif": 2}


def test_an_image_that_failed_keeps_its_name_while_it_is_there(model, tmp_path):
    first, second = wells(tmp_path)
    first.write_bytes(b"no image")
    out = tmp_path / "out"
    assert predict(first, "-o", out) == 1
    assert predict(second, "-o", out) == 0
    assert pd.read_csv(out / "errors.csv")["image"].tolist() == [str(first)]
    assert counts(out) == {"img-2_labels.tif": 2}
    save(first, squares((1, 1)))
    assert predict(first, "-o", out) == 0
    assert counts(out) == {"img_labels.tif": 1, "img-2_labels.tif": 2}
    # Its files are known even after it failed again, and no other image replaces them.
    first.write_bytes(b"no image")
    assert predict(first, "-o", out) == 1
    first.unlink()
    third = save(tmp_path / "A03" / "img.png", squares())
    assert predict(third, "-o", out) == 0
    assert tifffile.imread(out / "img_labels.tif").max() == 1


def test_names_of_older_journals_are_known(model, tmp_path):
    """Entries had neither stems nor absolute paths once, and tables had no column for label files."""
    first, second = wells(tmp_path)
    out = tmp_path / "out"
    assert predict(first, "-o", out, "--export", "imagej") == 0
    for path in (out / ".nucleiseg").glob("*.json"):
        stored = json.loads(path.read_text())
        path.write_text(json.dumps({name: stored[name] for name in stored.keys() - {"stem", "source"}}))
    for name in ("summary.csv", "measurements.csv"):
        pd.read_csv(out / name).drop(columns="labels").to_csv(out / name, index=False)
    assert predict(second, first, "-o", out) == 0
    assert counts(out) == {"img-2_labels.tif": 2, "img_labels.tif": 1}


@pytest.mark.parametrize(("name", "made"), [("out.v2", False), ("day.1", False), ("out.png", True)])
def test_folders_may_have_dots_in_their_names(model, tmp_path, name, made):
    path = save(tmp_path / "a.png", squares((1, 1)))
    if made:  # whoever has one may go on with it
        (tmp_path / name).mkdir()
    assert predict(path, "-o", tmp_path / name) == 0
    assert "a_labels.tif" in names(tmp_path / name)


def test_a_second_run_does_not_take_what_the_first_wrote(model, tmp_path):
    for name in ("a.png", "b.tif"):
        save(tmp_path / name, squares((1, 1)))
    assert predict(tmp_path, "-o", tmp_path) == 0
    first = names(tmp_path)
    assert predict(tmp_path, tmp_path / "*_mask.png", tmp_path / "a_overlay.png", "-o", tmp_path) == 0
    assert names(tmp_path) == first
    assert len(table(tmp_path)) == 2


def test_a_damaged_file_of_such_a_name_is_reported_and_the_others_go_on(model, tmp_path, capfd):
    save(tmp_path / "in" / "a.png", squares((1, 1)))
    (tmp_path / "in" / "bad_labels.tif").write_bytes(b"II*\0\0\0\0\0")
    assert predict(tmp_path / "in", "-o", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "bad_labels.tif" in line
    assert segmented(tmp_path / "out") == ["a.png"]


def test_only_earlier_outputs_are_no_input(model, tmp_path, capfd):
    write_mask(tmp_path / "a_mask.png", squares((1, 1)) > 100)
    assert predict(tmp_path, "-o", tmp_path) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith("all images were written by nucleiseg in an earlier run; pass those that were its input")
    assert names(tmp_path) == ["a_mask.png"]


def test_images_of_other_formats_are_left_out_and_told(model, tmp_path, capfd):
    save(tmp_path / "in" / "a.png", squares((1, 1)))
    for name in ("b.gif", "c.vsi", "d.VSI", "notes.txt"):
        (tmp_path / "in" / name).write_bytes(b"another format")
    assert predict(tmp_path / "in", "-o", tmp_path / "out") == 0
    first, _ = capfd.readouterr().out.splitlines()
    assert first == "left out 3 images of formats that nucleiseg does not read (.gif, .vsi); convert them to TIFF"
    assert segmented(tmp_path / "out") == ["a.png"]


def test_files_that_are_named_like_labels_are_told(model, tmp_path, capfd):
    """As Cellpose leaves them beside the images; ``x_mask.png`` alone may be an image."""
    for name in ("a.png", "a_cp_masks.png", "b.png", "b_labels.png", "x_mask.png"):
        save(tmp_path / "in" / name, squares((1, 1)))
    assert predict(tmp_path / "in", "-o", tmp_path / "out") == 0
    assert capfd.readouterr().err == (
        "nucleiseg: a_cp_masks.png and 1 more look like labels of images in the same folder, by the name; segmented as "
        "images, too: to leave such files out, pass the images by name or pattern\n"
    )
    assert len(segmented(tmp_path / "out")) == 5
    (tmp_path / "in" / "b_labels.png").unlink()
    assert predict(tmp_path / "in", "-o", tmp_path / "other") == 0
    assert capfd.readouterr().err.startswith("nucleiseg: a_cp_masks.png looks like labels of")


def test_own_files_of_any_folder_are_left_out(model, tmp_path, capfd):
    for name in "ab":
        save(tmp_path / "in" / f"{name}.png", squares((1, 1)))
    assert predict(tmp_path / "in", "-o", tmp_path / "in", "--pictures") == 0
    capfd.readouterr()
    ours = 2 * len(("labels", "mask", "overlay", "colours")) + len(("contact sheet", "histograms"))
    out = tmp_path / "out"
    for source in (tmp_path / "in", f"{tmp_path}/in/*.*", f"{tmp_path}/in/**/*"):
        assert predict(source, "-o", out) == 0
        told, err = capfd.readouterr()
        assert told.splitlines() == [
            f"left out {ours} files that nucleiseg wrote in earlier runs",
            f"2 of 2 images segmented, 2 nuclei; results in {out}",
        ]
        assert err == ""
        assert segmented(out) == ["a.png", "b.png"]
    # Whoever names one wants it.
    assert predict(tmp_path / "in", tmp_path / "in" / "a_mask.png", "-o", tmp_path / "named") == 0
    assert segmented(tmp_path / "named") == ["a.png", "b.png", "a_mask.png"]
    assert f"left out {ours - 1} files that" in capfd.readouterr().out
    assert predict(tmp_path / "in" / "*_overlay.png", "-o", tmp_path / "none") == 2
    assert "written by nucleiseg in an earlier run" in capfd.readouterr().err


def test_such_names_in_another_folder_are_input(model, tmp_path):
    path = save(tmp_path / "in" / "tissue_mask.png", squares((1, 1)))
    assert predict(path, "-o", tmp_path / "out") == 0
    assert "tissue_mask_labels.tif" in names(tmp_path / "out")


def test_such_names_are_input_where_nucleiseg_did_not_write_them(model, tmp_path):
    save(tmp_path / "tissue_mask.png", squares((1, 1)))
    assert predict(tmp_path, "-o", tmp_path) == 0
    assert segmented(tmp_path) == ["tissue_mask.png"]
    assert "tissue_mask_mask.png" in names(tmp_path)


@pytest.mark.parametrize("name", ["a_mask.png", "a_labels.tif", "a_overlay.png", "measurements.csv", "summary.csv"])
@pytest.mark.parametrize("folder", ["in", "out"])
def test_files_of_others_are_never_replaced(model, tmp_path, capfd, folder, name):
    image = save(tmp_path / "in" / "a.png", squares((1, 1)))
    theirs = tmp_path / folder / name
    if theirs.suffix == ".csv":
        theirs.parent.mkdir(exist_ok=True)
        theirs.write_text("image,stain\na.png,DAPI\n")
    else:
        save(theirs, squares((5, 5)))
    before = theirs.read_bytes()
    assert predict(image, "-o", tmp_path / folder) == 2
    assert predict(tmp_path / "in", "-o", tmp_path / folder) == 2  # also where it is found as an input
    lines = capfd.readouterr().err.splitlines()
    for line in [line for line in lines if "looks like labels" not in line]:
        assert line == (
            f"nucleiseg: {name} in {tmp_path / folder} would be replaced, but nucleiseg did not write it; "
            "choose another output folder"
        )
    assert theirs.read_bytes() == before
    assert names(tmp_path / folder) == sorted({name, *(["a.png"] if folder == "in" else [])})


def test_many_files_of_others_are_one_line(model, tmp_path, capfd):
    for stem in "abc":
        save(tmp_path / "in" / f"{stem}.png", squares((1, 1)))
        save(tmp_path / "out" / f"{stem}_mask.png", squares((1, 1)))
        save(tmp_path / "out" / f"{stem}_overlay.png", squares((1, 1)))
    assert predict(tmp_path / "in", "-o", tmp_path / "out") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "a_mask.png, a_overlay.png, b_mask.png and 3 more in" in line


def test_a_second_run_replaces_what_the_first_wrote(model, tmp_path):
    path = save(tmp_path / "a.png", squares((1, 1)))
    assert predict(path, "-o", tmp_path / "out") == 0
    save(path, squares((1, 1), (8, 8)))
    assert predict(path, "-o", tmp_path / "out") == 0
    assert len(table(tmp_path / "out")) == tifffile.imread(tmp_path / "out" / "a_labels.tif").max() == 2


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_the_others_go_on(model, tmp_path, monkeypatch, capfd):
    paths = [save(tmp_path / f"{name}.png", squares((1, 1))) for name in "ab"]
    write_labels(tmp_path / "out" / "a_labels.tif", [[7]])
    plain = tifffile.imwrite
    calls = []

    def write_half(path, *arguments, **settings):
        plain(path, *arguments, **settings)
        calls.append(path)
        if len(calls) == 1:
            raise OSError("disk full")

    monkeypatch.setattr(tifffile, "imwrite", write_half)
    assert predict(*paths, "-o", tmp_path / "out") == 1
    assert "disk full" in capfd.readouterr().err
    assert tifffile.imread(tmp_path / "out" / "a_labels.tif").tolist() == [[7]]
    assert [name for name in names(tmp_path / "out") if name.startswith(".")] == []
    assert table(tmp_path / "out")["image"].tolist() == [str(paths[1])]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes for a file name")
def test_a_file_name_that_is_no_text_spoils_nothing(model, tmp_path, capfd, caplog):
    odd = tmp_path / os.fsdecode(b"caf\xe9.png")
    odd.write_bytes(save(tmp_path / "plain.png", squares((1, 1))).read_bytes())
    bad = tmp_path / os.fsdecode(b"b\xe4d.png")
    bad.write_bytes(b"no image")
    assert predict(tmp_path, "-o", tmp_path / "out") == 1
    assert len(table(tmp_path / "out")) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert rb"b\udce4d.png" in caplog.text.encode()  # which would fail on half a character


def test_names_with_commas_and_quotes_read_back(model, tmp_path):
    path = save(tmp_path / 'day 1, "left".png', squares((1, 1)))
    assert predict(path, "-o", tmp_path / "out") == 0
    rows = list(csv.DictReader(StringIO((tmp_path / "out" / "measurements.csv").read_text())))
    assert [row["image"] for row in rows] == [str(path)]


# ---- Every option of the library has a flag. ----


VALUES = {int: 48, float: 0.25, bool: True}
OTHERS = {"diameter": 30.0, "diameter_um": 8.0, "max_memory": "3GB", "precision": "mixed_bfloat16"}
READING = {
    "channel": (1, "DAPI"),
    "axes": "CYX",
    "project": "max",
    "select": {"T": 3},
    "scene": "left",
    "level": 2,
    "pixel_size": 0.25,
    "max_pixels": 5000,
}


def flags():
    """Each field of `PredictOptions`, those of its parts in their place: name, how it is got at, and a value."""
    for field in dataclasses.fields(PredictOptions):
        hint = typing.get_type_hints(PredictOptions)[field.name]
        parts = [part for part in typing.get_args(hint) or [hint] if isinstance(part, type) and part is not type(None)]
        kind = parts[0] if parts else str  # names have none
        if kind in (Tiling, ReadOptions):
            for part in dataclasses.fields(kind):
                value = VALUES[int] if kind is Tiling else READING[part.name]
                yield part.name, lambda options, f=field.name, p=part.name: getattr(getattr(options, f), p), value
        else:
            yield (
                field.name,
                lambda options, name=field.name: getattr(options, name),
                OTHERS[field.name] if field.name in OTHERS else VALUES[kind],
            )


FLAGS = {name: (get, value) for name, get, value in flags()}


def given(name, value):
    flag = f"--{name.replace('_', '-')}"
    tile = ["--tile", "100"] if name == "overlap" else []
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    elif isinstance(value, dict):
        value = ",".join(f"{axis}={position}" for axis, position in value.items())
    return [*tile, flag] if value is True else [*tile, flag, str(value)]


def test_there_are_flags_to_test():
    named = {
        "threshold",
        "min_area",
        "min_confidence",
        "scale",
        "diameter",
        "diameter_um",
        "tile",
        "overlap",
        "max_memory",
        "tta",
        "precision",
    }
    assert {*named, "remove_edge", "fill_holes", *READING} <= set(FLAGS)


@pytest.mark.parametrize("name", FLAGS)
def test_every_option_has_a_flag(name):
    get, value = FLAGS[name]
    parser = argparse.ArgumentParser()
    cli_arguments.add_predict_options(parser)
    assert get(cli_arguments.predict_options(parser.parse_args(given(name, value)))) == value


@pytest.mark.parametrize("name", FLAGS)
def test_every_option_arrives(model, tmp_path, monkeypatch, name):
    get, value = FLAGS[name]
    plain, opened, read_with = model.predict, sources.open_micrograph, []

    def open_with_defaults(path, how):
        read_with.append(how)
        return opened(path, ReadOptions())

    def predict_with_defaults(source, options):
        result = plain(source, PredictOptions())
        model.options = [options]
        return result

    monkeypatch.setattr(sources, "open_micrograph", open_with_defaults)
    monkeypatch.setattr(model, "predict", predict_with_defaults)
    path = save(tmp_path / "a.png", squares((1, 1)))
    assert predict(path, "-o", tmp_path / "out", *given(name, value)) == 0
    assert [get(options) for options in model.options] == [value]
    assert read_with == [options.reading for options in model.options]


def test_without_flags_the_options_are_the_defaults(model, tmp_path):
    path = save(tmp_path / "a.png", squares((1, 1)))
    assert predict(path, "-o", tmp_path / "out") == 0
    assert model.options == [PredictOptions()]


def test_the_overlap_is_a_quarter_of_the_tile(model, tmp_path):
    path = save(tmp_path / "a.png", squares((1, 1)))
    assert predict(path, "-o", tmp_path / "out", "--tile", "100") == 0
    assert model.options == [PredictOptions(tiling=Tiling(tile=100, overlap=25))]


# ---- Channels, planes, pixel size and the summary. ----


def stained(path, bright, *, axes="CYX", **metadata):
    """An OME-TIFF whose channel DAPI has bright squares and whose channel actin is grey."""
    actin = np.full_like(bright, 60)
    names = {"Channel": {"Name": ["actin", "DAPI"]}, **metadata}
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.stack([actin, bright]), ome=True, metadata={"axes": axes, **names})
    return path


def test_a_channel_is_segmented_and_all_are_measured(model, tmp_path):
    path = stained(tmp_path / "two.ome.tif", squares((1, 2)), PhysicalSizeX=0.5, PhysicalSizeY=0.5)
    assert predict(path, "-o", tmp_path / "out", "--channel", "DAPI") == 0
    found = table(tmp_path / "out")
    assert found[["intensity_mean-actin", "intensity_mean-DAPI"]].to_numpy().tolist() == [[60, 200]]
    assert found["area_um2"].tolist() == [9 * 0.25]
    assert read_image(tmp_path / "out" / "two.ome_overlay.png").shape == (16, 20, 3)


def test_a_file_that_leaves_the_channel_open_is_reported_and_the_others_go_on(model, tmp_path, capfd):
    stained(tmp_path / "in" / "a.tif", squares((1, 2)))
    save(tmp_path / "in" / "b.png", squares((1, 2)))
    assert predict(tmp_path / "in", "-o", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "has 2 channels (0 'actin', 1 'DAPI'); say which one shows the nuclei" in line
    assert segmented(tmp_path / "out") == ["b.png"]


def test_results_of_another_plane_that_are_replaced_are_told(model, tmp_path, capfd):
    paths = [tmp_path / f"{name}.ome.tif" for name in "ab"]
    for path in paths:
        movie = np.stack([squares((1, 2)), squares((1, 2), (8, 8)), squares()])
        tifffile.imwrite(path, movie, ome=True, metadata={"axes": "TYX"})

    def told(*arguments, out="out"):
        assert predict(*arguments, "-o", tmp_path / out, "--quiet") == 0
        return capfd.readouterr().err

    text = "nucleiseg: replaced the earlier {} made with other options ({}); choose another output folder to keep {}\n"
    assert told(*paths, "--select", "T=0") == ""
    assert told(*paths, "--select", "T=0", "--min-area", "5") == ""  # of the same plane
    assert told(paths[0], "--select", "T=1") == text.format("result of 1 image", "--select T=0", "it") + (
        "nucleiseg: rows of 1 image made with another model, options or version are left out of the tables; segment "
        "all with the same, or choose another output folder\n"
    )
    assert told(*paths, "--select", "T=2", "--channel", "0", "--resume") == text.format(
        "results of 2 images", "no --channel, --select T=1; no --channel, --select T=0", "them"
    )
    assert told(*paths, "--select", "T=1", out="other") == ""
    for entry in (tmp_path / "other" / ".nucleiseg").glob("*.json"):  # as versions wrote them that did not note it
        older = {key: value for key, value in json.loads(entry.read_text()).items() if key != "plane"}
        entry.write_text(json.dumps(older))
    assert told(*paths, "--select", "T=0", out="other") == ""


@pytest.mark.parametrize("item", ["T", "T=x", "T=-1", "=1", "Y=3"])
def test_selections_that_make_no_sense(model, tmp_path, capfd, item):
    path = save(tmp_path / "a.png", squares((1, 1)))
    assert predict(path, "-o", tmp_path / "out", "--select", item) == 2
    assert "select must" in capfd.readouterr().err


def test_the_summary_has_a_row_for_each_image(model, tmp_path):
    paths = [
        save(tmp_path / "a.png", squares((0, 2), (8, 10))),
        save(tmp_path / "b.png", squares()),
    ]
    assert predict(*paths, "-o", tmp_path / "out") == 0
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert summary["image"].tolist() == [str(path) for path in paths]
    assert summary["count"].tolist() == [2, 0]
    assert summary["touching_edge"].tolist() == [1, 0]
    assert summary["density"].tolist() == [2 / 320 * 1e6, 0]
    assert summary["median_area"].tolist()[0] == 9
    assert np.isnan(summary["median_area"].tolist()[1])
    assert "density_mm2" not in summary


# ---- With the model in the box. ----


@pytest.mark.weekly
def test_piped_it_is_quiet_and_right(run_python, disc_dataset, tmp_path):
    code = "import sys; from nucleiseg.cli.main import main; sys.exit(main(sys.argv[1:]))"
    images = [disc_dataset / "images" / f"disc{number}.png" for number in range(2)]
    process = run_python(code, "predict", *images, "-o", tmp_path / "out")
    assert (process.returncode, process.stderr) == (0, "")
    nuclei = len(table(tmp_path / "out"))
    assert process.stdout == f"2 of 2 images segmented, {nuclei} nuclei; results in {tmp_path / 'out'}\n"

    plain = Segmenter.from_pretrained("nuclei").predict(images[0])
    labels = tifffile.imread(tmp_path / "out" / "disc0_labels.tif")
    assert labels.shape == plain.labels.shape
    assert np.count_nonzero((labels > 0) != plain.mask) <= 4  # two processes may round differently


def test_a_model_file_is_used(tmp_path, monkeypatch, disc_dataset):
    from nucleiseg.pretrained import pretrained_path

    own = tmp_path / "own.keras"
    own.write_bytes(pretrained_path("nuclei").read_bytes())
    loaded = []

    def load(path):
        loaded.append(path)
        return Threshold()

    monkeypatch.setattr(Segmenter, "load", load)
    image = disc_dataset / "images" / "disc0.png"
    assert predict(image, "-o", tmp_path / "out", "--model", own) == 0
    assert predict(image, "-o", tmp_path / "out", "--model", "nuclei") == 0
    assert predict(image, "-o", tmp_path / "out") == 0
    assert loaded == [own, pretrained_path("nuclei"), pretrained_path("nuclei")]


def test_one_large_image_becomes_one_file(tmp_path, capsys, monkeypatch):
    """The model is replaced by the brightness, so that no network is needed."""
    pytest.importorskip("zarr")
    import nucleiseg.large

    calls = []

    def label_large(model, image, output, options, scheduler, export):
        calls.append((model, image.shape, output.name, options.max_memory, scheduler, export))
        return nucleiseg.large.LargeLabels(7, ("blurred", "unusual size"))

    monkeypatch.setattr(nucleiseg.large, "label_large", label_large)
    tifffile.imwrite(tmp_path / "slide.tif", np.zeros((300, 200), np.uint8), tile=(64, 64))
    command = ["predict", str(tmp_path / "slide.tif"), "-o", str(tmp_path / "labels.zarr"), "--max-memory", "500MB"]
    assert main([*command, "--scheduler", "tcp://host:1", "--export", "geojson"]) == 0
    # The name of the model, since its file is in another place on each worker.
    assert calls == [("nuclei", (300, 200), "labels.zarr", "500MB", "tcp://host:1", ["geojson"])]
    told = capsys.readouterr()
    assert told.out.startswith("7 nuclei; labels in ")
    assert "look at the image before you trust it (blurred; unusual size)" in told.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.tif", "b.tif"], "one file and takes the labels of one image, got 2 inputs"),
        (
            ["a.tif", "--export", "roi"],
            "unknown format of --export beside one file of labels 'roi'; choose one of geojson",
        ),
        (["a.tif", "--pictures"], "--pictures needs a folder as --output"),
        (["a.tif"], "a.tif: no such file"),
    ],
)
def test_what_one_file_of_labels_does_not_go_with(arguments, message, tmp_path, capsys):
    pytest.importorskip("zarr")
    assert main(["predict", *arguments, "-o", str(tmp_path / "labels.zarr")]) in (1, 2)
    assert message in capsys.readouterr().err
