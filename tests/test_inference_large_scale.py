"""Images that are read part by part are brought to the scale that the model knows, once for the whole image."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stubs import MODEL, Echo, discs

from nucleiseg import PredictOptions, ReadOptions, Tiling, large
from nucleiseg.errors import InvalidInputError
from nucleiseg.images import as_micrograph
from nucleiseg.images.lazy import open_lazy
from nucleiseg.inference.large import LargeJob, plan_job, run_here, write_labels_of
from nucleiseg.inference.large_scale import at_one_scale
from nucleiseg.inference.looking import parts_of
from nucleiseg.inference.memory import Plan, usable
from nucleiseg.inference.rescaling import segment_at_scale
from nucleiseg.inference.scaled_plan import aligned_windows, make_scaled_plan
from nucleiseg.inference.segmenting import decoding_of
from nucleiseg.instances import match
from nucleiseg.large import predict_large

zarr = pytest.importorskip("zarr")


def picture(radius, count=5):
    return (discs(radius, count=count) > 0).astype(np.uint8) * 200


def labels_by_windows(image, output, options, tile, context=40):
    """Labels by `write_labels_of`, in windows of a size that no budget would give."""
    lazy, engine = open_lazy(image), Echo()
    options, factor = at_one_scale(lazy, engine, MODEL, options)
    decoding = decoding_of(MODEL, options)
    job = plan_job(lazy, engine, MODEL.scaling, decoding, factor)
    if tile:
        plan = Plan(None, Tiling(tile, tile // 2), context)
        job = LargeJob(lazy, job.bounds, plan, aligned_windows(lazy.shape, plan, 1, factor), factor)
    write_labels_of(job, output, lambda missing: run_here(job, engine, decoding, missing), {}, decoding)
    return zarr.open_array(str(output), mode="r")[...], factor, len(job.windows)


@pytest.mark.parametrize("tile", [0, 150], ids=["one window", "many windows"])
@pytest.mark.parametrize("scale", [0.3, 0.5, 1, 1.7, 3])
def test_the_labels_are_those_of_the_whole_image_in_memory(scale, tile, tmp_path):
    image = picture(17)
    options = PredictOptions(scale=scale)
    expected = segment_at_scale(as_micrograph(image), Echo(), MODEL, options).labels
    found, factor, windows = labels_by_windows(image, tmp_path / "labels.zarr", options, tile)
    assert factor == scale
    assert (windows > 9) == bool(tile)
    assert found.max() == expected.max() == 5
    assert match(expected, found).average_precision(0.9) == 1
    if not tile and scale >= 1:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("radius", [3, 8, 40])
def test_the_scale_is_looked_for_as_in_memory(radius, tmp_path):
    image = picture(radius)
    expected = segment_at_scale(as_micrograph(image), Echo(), MODEL, PredictOptions())
    found, factor, _ = labels_by_windows(image, tmp_path / "labels.zarr", PredictOptions(), 0)
    assert factor == expected.scale
    assert (factor == 1) == (radius == 8)
    assert match(expected.labels, found).average_precision(0.9) == 1


def test_a_diameter_decides_the_scale_and_the_models_own_area_follows():
    engine, image = Echo(), open_lazy(np.zeros((50, 60), np.uint8))
    model = MODEL.__class__(**{**vars(MODEL), "thresholds": {"probability": 0.5, "min_area": 30}})
    options, factor = at_one_scale(image, engine, model, PredictOptions(diameter=90))
    assert factor == pytest.approx(0.3)
    assert (options.scale, options.diameter, options.min_area) == (factor, None, 333)
    assert not engine.seen  # nothing has to be looked for
    assert at_one_scale(image, engine, model, PredictOptions(diameter=90, min_area=7))[0].min_area == 7
    sized = open_lazy(np.zeros((50, 60), np.uint8), ReadOptions(pixel_size=0.25))
    options, factor = at_one_scale(sized, engine, model, PredictOptions(diameter_um=22.5))
    assert (factor, options.diameter, options.diameter_um) == (pytest.approx(0.3), None, None)
    assert at_one_scale(image, engine, model, PredictOptions(scale=1))[0].min_area is None


def test_where_the_middle_is_empty_the_quarters_are_looked_at(monkeypatch):
    """And no other part is ever read."""
    monkeypatch.setattr("nucleiseg.inference.looking.LOOKED_AT", 200)
    image = np.zeros((1200, 1200), np.uint8)
    image[800:1000, 200:400] = picture(40, count=1)[:200, :200].max() * (discs(40, side=200, count=1) > 0)
    engine = Echo()
    _, factor = at_one_scale(open_lazy(image), engine, MODEL, PredictOptions())
    assert factor < 0.5
    assert max(max(shape) for shape in engine.seen) <= 200


def test_specks_in_the_middle_tell_no_scale_in_memory_nor_part_by_part(monkeypatch):
    monkeypatch.setattr("nucleiseg.inference.looking.LOOKED_AT", 180)
    image = np.zeros((720, 720), np.uint8)
    image[280:430:6, 300:420:6] = 200  # single pixels, more of them than there are nuclei
    nuclei = (discs(3, count=6) > 0) * np.uint8(200)
    image[100 : 100 + nuclei.shape[0], 100 : 100 + nuclei.shape[1]] = nuclei
    in_memory = segment_at_scale(as_micrograph(image), Echo(), MODEL, PredictOptions()).scale
    assert at_one_scale(open_lazy(image), Echo(), MODEL, PredictOptions())[1] == pytest.approx(in_memory)
    assert in_memory > 1


def test_no_part_of_a_strip_is_looked_at_twice():
    for shape, count in (((600, 4096), 3), ((4096, 600), 3), ((4096, 4096), 5), ((1024, 1024), 1)):
        parts = [(rows.start, columns.start) for rows, columns in parts_of(shape)]
        assert len(set(parts)) == len(parts) == count


def test_parts_are_seen_by_the_range_of_the_whole_image(monkeypatch):
    """What is dim beside a bright spot elsewhere is no nucleus, in the part that tells the scale neither."""
    monkeypatch.setattr("nucleiseg.inference.looking.LOOKED_AT", 200)
    image = np.zeros((600, 600), np.uint8)
    image[200:400, 200:400] = 90 * (discs(40, side=200, count=1) > 0)
    assert at_one_scale(open_lazy(image), Echo(), MODEL, PredictOptions())[1] < 0.5
    image[0, 0] = 255
    assert at_one_scale(open_lazy(image), Echo(), MODEL, PredictOptions())[1] == 1


class Reads:
    """An array that counts how often a window is taken."""

    def __init__(self, pixels):
        self.pixels, self.shape, self.dtype, self.count = pixels, pixels.shape, pixels.dtype, 0

    def __getitem__(self, window):
        self.count += 1
        return self.pixels[window]


def test_what_tells_the_range_is_read_once(tmp_path, monkeypatch):
    engine, image = Echo(), Reads(picture(8))
    monkeypatch.setattr(large, "load_segmenter", lambda _: SimpleNamespace(_engine=engine, _settings=MODEL))
    assert predict_large("any", image, tmp_path / "labels.tif") == 5
    assert image.count == 4  # the first pixel, the sample, the middle, the window


def test_an_empty_image_keeps_its_scale():
    assert at_one_scale(open_lazy(np.zeros((50, 60), np.uint8)), Echo(), MODEL, PredictOptions())[1] == 1


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(500, 60_000), st.integers(500, 60_000)),
    st.floats(0.125, 4),
    st.sampled_from([32, 128, 224]),
    st.sampled_from([400, 1000, 2000, 8000]),
    st.sampled_from(["auto", Tiling(512, 128), None]),
)
def test_scaled_plans_are_whole_or_have_room_for_nuclei(shape, factor, reach, megabytes, tiling):
    budget = megabytes * 10**6
    try:
        plan = make_scaled_plan(shape, tiling, budget, lambda: reach, factor)
    except InvalidInputError as error:
        advised = int(str(error).split("at least ")[1].split("MB")[0]) * 10**6
        assert advised > budget
        assert make_scaled_plan(shape, tiling, advised, lambda: reach, factor).windows is not None
        return
    windows = plan.windows
    assert windows is not None
    if windows.tile >= max(shape):
        return
    side, around = windows.tile, windows.tile + 2 * plan.context
    assert windows.overlap * factor >= 127
    assert side >= 2 * windows.overlap - 32
    finer = max(1, factor**2)
    network = around**2 * factor**2 if plan.network is None else min(around**2 * factor**2, plan.network.tile**2)
    if factor != 1:
        assert network * 430 + (around**2 * 72 + side**2 * 160) * finer <= usable(budget)
    assert [tile.keep for tile in aligned_windows(shape, plan, 32, factor)][-1][1].stop == shape[1]


def test_the_model_in_the_box_finds_large_nuclei_of_a_large_image(tmp_path):
    """Written to a file and as a Dask array, the labels are those of `Segmenter.predict`."""
    array, skimage_data = pytest.importorskip("dask.array"), pytest.importorskip("skimage.data")
    from nucleiseg import Segmenter, predict_dask
    from nucleiseg.inference import resize_maps

    image = resize_maps(skimage_data.immunohistochemistry()[200:360, 190:350], (640, 640)).astype(np.uint8)
    segmenter = Segmenter.from_pretrained("nuclei")
    every = np.sort(segmenter.predict(image, PredictOptions(scale=0.5)).confidence)
    middle = float(every[len(every) // 2 - 1 : len(every) // 2 + 1].mean())
    options = PredictOptions(scale=0.5, min_confidence=middle)
    expected = segmenter.predict(image, options)
    assert 5 < expected.count < len(every)
    count = predict_large("nuclei", image, tmp_path / "labels.zarr", options, export=["geojson"])
    features = [feature["properties"] for feature in json.loads((tmp_path / "labels.geojson").read_text())["features"]]
    found = zarr.open_array(str(tmp_path / "labels.zarr"), mode="r")[...]
    assert count == found.max() == expected.count
    assert match(expected.labels, found).average_precision(0.9) == 1
    told = {int(feature["name"]): feature["measurements"]["confidence"] for feature in features}
    assert [told[number + 1] for number in range(count)] == pytest.approx(expected.confidence.tolist(), abs=0.01)
    lazy = predict_dask("nuclei", array.from_array(image, chunks=500), options).compute(scheduler="synchronous")
    np.testing.assert_array_equal(lazy, found)
