"""`predict_large` from one end to the other, with a plain function in place of the network."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from stubs import MODEL, Echo

import nucleiseg._progress
import nucleiseg.large
from nucleiseg import PredictOptions, ReadOptions
from nucleiseg.errors import InvalidInputError
from nucleiseg.images import Tiling, as_micrograph, open_lazy, tiles
from nucleiseg.inference.large import plan_job
from nucleiseg.inference.memory import Plan
from nucleiseg.inference.rescaling import segment_at_scale
from nucleiseg.large import label_large, predict_large

pytest.importorskip("zarr")
OPTIONS = PredictOptions(scale=1)
IMAGE = np.zeros((90, 120), np.uint8)
IMAGE[10:80:15, 20:40] = 200  # five bars


class Fragile(Echo):
    """Breaks when it is told to."""

    broken = False

    def __call__(self, images):
        if self.broken:
            raise MemoryError("as if")
        return super().__call__(images)


@pytest.fixture
def engine(monkeypatch):
    """What runs in place of every model."""
    engine = Fragile()
    monkeypatch.setattr(nucleiseg.large, "load_segmenter", lambda _: SimpleNamespace(_engine=engine, _settings=MODEL))
    return engine


def test_further_files_are_named_as_the_labels_whatever_dots_there_are(engine, tmp_path):
    for name in ("2024.05.01_A1.zarr", "2024.05.01_B7.ome.zarr", "c.labels.ome.tif"):
        assert predict_large("any", IMAGE, tmp_path / name, OPTIONS, export=["geojson"]) == 5
    found = {path.name for path in tmp_path.glob("*.geojson")}
    assert found == {"2024.05.01_A1.geojson", "2024.05.01_B7.geojson", "c.labels.geojson"}
    predict_large("any", IMAGE, tmp_path / "2024.05.01_A1.zarr", OPTIONS, export=["geojson"])  # our own is replaced


@pytest.mark.parametrize("name", ["geojson", "parquet"])
def test_further_files_of_others_are_refused_before_the_network_runs(name, engine, tmp_path):
    if name == "parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / f"slide.{name}").write_text("drawn by hand")
    with pytest.raises(InvalidInputError, match=f"slide.{name} would be replaced, but nucleiseg did not write it"):
        predict_large("any", IMAGE, tmp_path / "slide.zarr", OPTIONS, export=[name])
    assert (tmp_path / f"slide.{name}").read_text() == "drawn by hand"
    assert not engine.seen


@pytest.mark.parametrize("change", ["pixels", "date", "version", "processor", "network", "option"])
def test_another_image_or_version_does_not_go_on_with_unfinished_work(change, engine, tmp_path, monkeypatch):
    """However alike they are: same name, size and range."""
    source = tmp_path / "image.tif"
    tifffile.imwrite(source, IMAGE)
    engine.broken = True
    with pytest.raises(MemoryError):
        predict_large("any", source, tmp_path / "labels.tif", OPTIONS)
    engine.broken = False
    date = source.stat()
    expected, options = "file of the image", OPTIONS
    if change == "pixels":
        tifffile.imwrite(source, IMAGE[::-1].copy())
        os.utime(source, ns=(date.st_atime_ns, date.st_mtime_ns))
        expected = "image"
    elif change == "date":
        os.utime(source, ns=(date.st_atime_ns, date.st_mtime_ns + 10**9))
    elif change == "version":
        monkeypatch.setattr(nucleiseg.large, "__version__", "99")
        expected = rf"version of nucleiseg \({nucleiseg.__version__} instead of 99\)"
    elif change == "network":  # of an engine without a Keras model
        engine.fingerprint = "another"
        expected = "model"
    elif change == "option":
        options = replace(OPTIONS, min_area=7)
        expected = r"min_area \(None instead of 7\)"
    else:
        engine.fastest_precision, engine.computing_in = "mixed_bfloat16", lambda precision: engine
        expected = r"precision \(float32 instead of mixed_bfloat16\)"
    with pytest.raises(InvalidInputError, match=f"unfinished prediction with another {expected};"):
        predict_large("any", source, tmp_path / "labels.tif", options)


def test_labels_do_not_replace_their_image(engine, tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", IMAGE)
    with pytest.raises(InvalidInputError, match=r"must not replace the image .*image.tif for both; choose another"):
        predict_large("any", tmp_path / "image.tif", tmp_path / "image.tif", OPTIONS)
    assert not engine.seen


def test_labels_do_not_replace_their_image_that_was_opened_before(engine, tmp_path, monkeypatch):
    """As the command line does. A file of our own may be replaced otherwise."""
    predict_large("any", IMAGE, tmp_path / "labels.tif", OPTIONS)
    before = (tmp_path / "labels.tif").read_bytes()
    engine.seen.clear()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match=r"must not replace the image .*labels.tif for both; choose another"):
        predict_large("any", open_lazy("labels.tif"), tmp_path / "labels.tif", OPTIONS)
    assert not engine.seen
    assert (tmp_path / "labels.tif").read_bytes() == before


def test_another_limit_of_pixels_goes_on_with_unfinished_work(engine, tmp_path):
    """What is read part by part has none."""
    engine.broken = True
    with pytest.raises(MemoryError):
        predict_large("any", IMAGE, tmp_path / "labels.tif", OPTIONS)
    (record,) = tmp_path.glob("*.part/facts.json")
    assert json.loads(record.read_text())["reading"] == repr(ReadOptions())  # as it was in jobs that were begun before
    engine.broken = False
    wider = replace(OPTIONS, reading=ReadOptions(max_pixels=2**40))
    assert predict_large("any", IMAGE, tmp_path / "labels.tif", wider) == 5


@pytest.mark.parametrize("model", ["nuclei", "own.keras"])
def test_workers_are_told_what_they_find_wherever_they_were_started(model, engine, tmp_path, monkeypatch):
    """A shipped model by its name, files by whole paths."""
    sent = []

    def spread(client, work, items, *shared):
        sent.append(pickle.dumps(shared))
        for item in items:
            done = Future()
            with contextlib.chdir(tmp_path / "elsewhere"):
                done.set_result(work(item, *pickle.loads(sent[0])))
            yield item, done

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(nucleiseg.large, "connect", contextlib.nullcontext)
    monkeypatch.setattr(nucleiseg.large, "spread", spread)
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("slide.tif", IMAGE, tile=(64, 64))
    assert predict_large(model, "slide.tif", "labels.tif", OPTIONS, scheduler=object()) == 5
    named, *_ = pickle.loads(sent[0])
    assert named == ("nuclei" if model == "nuclei" else str(tmp_path / model))
    assert str(Path(nucleiseg.large.__file__).parent).encode() not in sent[0]


def test_an_interrupted_export_loses_no_finished_work(engine, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left")

    output = tmp_path / "labels.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(nucleiseg.large, "stream_geojson", full)
        with pytest.raises(OSError, match="no space left"):
            predict_large("any", IMAGE, output, OPTIONS, export=["geojson"])
    looks = len(engine.seen)
    assert predict_large("any", IMAGE, output, OPTIONS, export=["geojson"]) == 5
    assert len(engine.seen) == looks
    assert (tmp_path / "labels.geojson").exists()
    assert not list(tmp_path.glob("*.part"))


def test_the_bar_counts_each_tile_when_it_is_kept(engine, tmp_path, monkeypatch):
    """After an interruption those that are left."""
    bars, windows = [], Tiling(40, 16)

    class Bar(nucleiseg._progress.Progress):
        def __init__(self, description, total):
            super().__init__(description, total)
            bars.append([description, total])

        def advance(self):
            bars[-1].append(len(list(tmp_path.glob("*.part/window_*.npz"))))
            engine.broken = len(bars) == 1

    def small_windows(image, *arguments):
        plan = Plan(None, windows, 8)
        return replace(plan_job(image, *arguments), plan=plan, windows=tiles(image.shape, windows, 1))

    monkeypatch.setattr(nucleiseg._progress, "Progress", Bar)
    monkeypatch.setattr(nucleiseg.large, "plan_job", small_windows)
    with pytest.raises(MemoryError):
        predict_large("any", IMAGE, tmp_path / "labels.tif", OPTIONS)
    engine.broken = False
    assert predict_large("any", IMAGE, tmp_path / "labels.tif", OPTIONS) == 5
    every = len(tiles(IMAGE.shape, windows, 1))
    kept = len(bars[0]) - 2
    assert 0 < kept < every
    assert bars == [["tiles", every, *range(1, kept + 1)], ["tiles", every - kept, *range(kept + 1, every + 1)]]


def test_exports_of_one_channel_of_a_file_have_its_name(engine, tmp_path):
    names = {"axes": "CYX", "Channel": {"Name": ["actin", "DAPI", "Cy5"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.stack([0 * IMAGE, IMAGE, 0 * IMAGE]), metadata=names)
    options = PredictOptions(scale=1, reading=ReadOptions(select={"C": 1}))
    assert predict_large("any", tmp_path / "a.ome.tif", tmp_path / "labels.zarr", options, export=["geojson"]) == 5
    (first, *_) = json.loads((tmp_path / "labels.geojson").read_text())["features"]
    assert "DAPI" in str(first["properties"])
    assert "actin" not in str(first["properties"])


def test_an_image_without_nuclei_has_empty_exports(engine, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pandas as pd

    empty = np.zeros_like(IMAGE)
    for image, count in ((IMAGE, 5), (empty, 0)):
        assert predict_large("any", image, tmp_path / "labels.zarr", OPTIONS, export=["geojson", "parquet"]) == count
        assert len(json.loads((tmp_path / "labels.geojson").read_text())["features"]) == count
        table = pd.read_parquet(tmp_path / "labels.parquet")
        assert len(table) == count
        assert list(table.columns)[:4] == ["label", "area", "confidence", "quality"]
        assert parquet.read_schema(tmp_path / "labels.parquet").field("quality").type == "string"


BLUR = ndimage.gaussian_filter(IMAGE.astype(float), 4)


@pytest.mark.parametrize(
    ("image", "passport", "flags"),
    [
        (IMAGE, None, ("saturated",)),
        (IMAGE // 2, (3, 4, 5), ("saturated", "unusual size")),
        (BLUR / BLUR.max(), None, ("blurred",)),
        (np.zeros_like(IMAGE), None, ("flat", "empty")),
    ],
)
@pytest.mark.parametrize("name", ["labels.zarr", "labels.ome.zarr", "labels.tif"])
def test_images_that_are_read_part_by_part_are_judged_as_others_are(
    monkeypatch, tmp_path, image, passport, flags, name
):
    pytest.importorskip("pyarrow")
    import pandas as pd

    settings = replace(MODEL, passport=passport, scaling="minmax")
    model = SimpleNamespace(_engine=Echo(), _settings=settings)
    monkeypatch.setattr(nucleiseg.large, "load_segmenter", lambda _: model)
    found = segment_at_scale(as_micrograph(image), Echo(), settings, OPTIONS)
    assert found.quality == flags
    assert label_large("any", image, tmp_path / name, OPTIONS, export=["geojson", "parquet"]) == (found.count, flags)
    assert label_large("any", image, tmp_path / name, OPTIONS) == (found.count, flags)
    told = ["; ".join(flags)] * found.count
    assert pd.read_parquet(tmp_path / "labels.parquet")["quality"].tolist() == told
    features = json.loads((tmp_path / "labels.geojson").read_text())["features"]
    assert [feature["properties"]["quality"] for feature in features] == told


def test_what_the_model_hardly_knows_is_told_part_by_part_too(monkeypatch, tmp_path):
    """As of small images, it counts before any nuclei are left out."""
    settings = replace(MODEL, scaling="dtype", calibration={"intercept": 0.0, "certainty": 1.0})
    model = SimpleNamespace(_engine=Echo(), _settings=settings)
    monkeypatch.setattr(nucleiseg.large, "load_segmenter", lambda _: model)
    for options in (OPTIONS, replace(OPTIONS, min_confidence=0.7)):
        for top in (150, 250):
            image = IMAGE // 200 * np.uint8(top)
            found = segment_at_scale(as_micrograph(image), Echo(), settings, options)
            assert ("unfamiliar" in found.quality) == (top == 150)
            judged = label_large("any", image, tmp_path / "labels.zarr", options, export=["geojson"])
            assert judged == (found.count, found.quality)
