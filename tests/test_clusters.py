"""Many files without a cluster: in order, with the same outcome as one by one."""

from __future__ import annotations

import pickle
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
from PIL import Image

import nucleiseg.clusters
from nucleiseg import PredictOptions, ReadOptions, Segmenter, Tiling, predict_dask, predict_many
from nucleiseg._settings import SegmenterSettings
from nucleiseg.errors import ImageFileError
from nucleiseg.images import read_micrograph, tiles
from nucleiseg.inference.large import plan_job
from nucleiseg.inference.memory import Plan


@pytest.fixture
def files(tmp_path):
    tissue = skimage.data.immunohistochemistry()
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        Image.fromarray(tissue[number * 60 :, : 96 + 20 * number][:90]).save(path)
    return paths


def test_files_come_in_order_as_if_one_by_one(files):
    one_by_one = Segmenter.from_pretrained("nuclei")
    found = list(predict_many("nuclei", files))
    assert [path for path, _ in found] == [str(path) for path in files]
    for path, result in found:
        expected = one_by_one.predict(path)
        np.testing.assert_array_equal(result.labels, expected.labels)
        np.testing.assert_array_equal(result.probability, expected.probability)
    assert sum(result.count for _, result in found) > 3
    again = one_by_one.predict(read_micrograph(files[0]))
    np.testing.assert_array_equal(again.labels, found[0][1].labels)


def test_a_bad_file_ends_the_row_at_its_place(files):
    files[2].write_bytes(b"no image")
    before = threading.active_count()
    results = predict_many("nuclei", files)
    assert [next(results)[0], next(results)[0]] == [str(files[0]), str(files[1])]
    with pytest.raises(ImageFileError, match=r"2\.png"):
        next(results)
    assert list(results) == []
    assert threading.active_count() == before


MODEL = SegmenterSettings(
    encoder="none",
    weights=None,
    head="semantic",
    loss="dice",
    upsampling="pix2pix",
    widths=(1,),
    scaling="minmax",
    seed=0,
    thresholds={"probability": 0.5},
)


class Echo:
    """What is bright is nucleus."""

    multiple = 1

    def __call__(self, images):
        return images[..., :1]


@pytest.fixture
def echo(monkeypatch):
    """A plain function in place of every network."""
    segmenter = SimpleNamespace(_engine=Echo(), _settings=MODEL)
    monkeypatch.setattr(nucleiseg.clusters, "load_segmenter", lambda _: segmenter)


@pytest.mark.parametrize("axes", ["CYX", "YCX", "YXC", "TCXY"])
def test_lazy_labels_know_where_rows_and_columns_are(axes, echo, monkeypatch):
    array = pytest.importorskip("dask.array")
    windows = Tiling(64, 32)  # smaller than a budget gives so small an image
    small = {"plan": Plan(None, windows, 8), "windows": tiles((150, 200), windows, 1)}
    monkeypatch.setattr(nucleiseg.clusters, "plan_job", lambda *arguments: replace(plan_job(*arguments), **small))
    image = np.zeros((150, 200), np.uint8)
    image[10:140:20, 15:180] = 200  # seven bars, each across several windows
    stack = np.zeros([{"C": 3, "T": 2, "Y": 150, "X": 200}[axis] for axis in axes], np.uint8)
    where = tuple({"C": 1, "T": 1}.get(axis, slice(None)) for axis in axes)
    stack[where] = image.T if axes.endswith("XY") else image
    reading = ReadOptions(axes=axes, channel=1, select={"T": 1} if "T" in axes else {})
    options = PredictOptions(scale=1, reading=reading)
    labels = predict_dask("any", array.from_array(stack, chunks=50), options)
    assert labels.numblocks > (1, 1)
    found = labels.compute(scheduler="synchronous")
    assert (found.shape, found.max()) == ((150, 200), 7)
    np.testing.assert_array_equal(found > 0, image > 0)


def test_no_task_of_lazy_labels_holds_the_image(echo, monkeypatch):
    pytest.importorskip("dask.array")
    kept = []
    monkeypatch.setattr(nucleiseg.clusters, "lazy_labels", lambda *arguments: kept.append(arguments))
    predict_dask("any", np.zeros((500, 500), np.uint8), PredictOptions(scale=1))
    assert len(pickle.dumps(kept[0][3])) < 10_000
