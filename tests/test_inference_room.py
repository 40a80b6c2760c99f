"""A scale that nobody asked for is never a dead end: the nearest one that fits into the memory is taken, and told."""

from __future__ import annotations

import tracemalloc
import warnings
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import disk
from stubs import MODEL, Echo

from nucleiseg import PredictOptions, Tiling, large, predict_large
from nucleiseg.cli.quality import tell_quality
from nucleiseg.errors import InvalidInputError, PredictionWarning
from nucleiseg.images import as_micrograph
from nucleiseg.images.lazy import open_lazy
from nucleiseg.inference import rescaling
from nucleiseg.inference.large import plan_job
from nucleiseg.inference.large_scale import at_one_scale
from nucleiseg.inference.rescaling import segment_at_scale
from nucleiseg.inference.resized import segment_resized
from nucleiseg.inference.room import has_room, has_room_for_maps, nearest_scale, shortage_of_windows
from nucleiseg.inference.scaled_maps import maps_at_scale
from nucleiseg.inference.segmenting import decoding_of
from nucleiseg.instances import match


class Unsure(Echo):
    """Is unsure of what is more than ten pixels wide."""

    def __call__(self, images):
        bright = images[..., :1] > 0.5
        wide = np.zeros_like(bright)
        wide[:, :, 10:] |= bright[:, :, :-10]
        wide[:, :, :-10] |= bright[:, :, 10:]
        return (bright * 0.9 - (bright & wide) * 0.2).astype(np.float32)


def discs(radius, side):
    """As many as there is room for, on a grid."""
    labels, step = np.zeros((side, side), np.int32), int(3 * radius) + 4
    places = [(row + step // 2, column + step // 2) for row in range(0, side, step) for column in range(0, side, step)]
    inside = [place for place in places if max(place) + radius < side - 1]
    for number, place in enumerate(inside):
        labels[disk(place, radius, shape=labels.shape)] = number + 1
    return labels


def picture(labels):
    return (labels > 0).astype(np.uint8) * 200


LARGE, SMALL = discs(60, 1300), discs(3, 800)


def find(labels, engine=None, **options):
    return segment_at_scale(as_micrograph(picture(labels)), engine or Echo(), MODEL, PredictOptions(**options))


@pytest.mark.parametrize("budget", ["220MB", "300MB"])
def test_in_memory_the_nearest_scale_that_fits_is_taken(budget):
    suits = find(LARGE).scale
    with pytest.raises(InvalidInputError, match="max_memory is too small.*give at least"):  # it was asked for
        find(LARGE, scale=suits, max_memory=budget)
    found = find(LARGE, max_memory=budget)
    assert suits < found.scale < 1
    assert found.wanted_scale == pytest.approx(suits, rel=0.05)
    assert "short of memory" in found.quality
    assert "short of memory" in found.summary()["quality"][0]
    assert match(LARGE, found.labels).average_precision(0.5) > 0.95
    again = find(LARGE, scale=found.scale, max_memory=budget)
    np.testing.assert_array_equal(again.labels, found.labels)


def test_a_scale_nearby_at_which_the_model_knows_the_nuclei_is_as_good():
    with pytest.raises(InvalidInputError, match="max_memory is too small.*give at least"):
        find(SMALL, scale=3.19, max_memory="172MB")
    tracemalloc.start()
    try:
        found = find(SMALL, max_memory="172MB")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 2.5 < found.scale < 3.19
    assert found.wanted_scale is None
    assert not {"short of memory", "unusual size"} & set(found.quality)
    assert match(SMALL, found.labels).average_precision(0.5) > 0.95
    assert peak < 172e6


def test_the_command_line_says_what_would_help(capfd):
    entries = [
        SimpleNamespace(image="a/one.png", quality="short of memory"),
        SimpleNamespace(image="b.png", quality=""),
    ]
    tell_quality(entries, PredictOptions(max_memory="220MB"))
    told = capfd.readouterr().err
    assert "look at 1 of 2 images" in told
    assert "short of memory: one.png - their scale needs more than --max-memory 220MB)" in told


def test_with_enough_memory_nothing_is_told():
    found = find(LARGE)
    assert found.wanted_scale is None
    assert "short of memory" not in found.quality


@pytest.mark.parametrize("how", [{"scale": 0.15}, {"diameter": 120}])
def test_a_scale_that_was_asked_for_is_refused_where_it_does_not_fit(how, tmp_path, monkeypatch):
    options = PredictOptions(max_memory="220MB", **how)
    monkeypatch.setattr(large, "load_segmenter", lambda _: SimpleNamespace(_engine=Echo(), _settings=MODEL))
    with pytest.raises(InvalidInputError, match="max_memory is too small.*give at least"):
        find(LARGE, max_memory="220MB", **how)
    with pytest.raises(InvalidInputError, match="max_memory is too small.*give at least"):
        predict_large("any", picture(LARGE), tmp_path / "labels.tif", options)


def test_the_budget_holds_at_the_scale_that_fits():
    tracemalloc.start()
    try:
        found = find(LARGE, max_memory="220MB")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.wanted_scale is not None
    assert peak < 220e6


def test_what_was_found_at_another_scale_is_let_go_or_counted(monkeypatch):
    """Before the image is looked at again, and while its middle is."""
    kept, held = [], []

    def spied(image, engine, scaling, decoding, factor, bounds):
        if image.shape == (1300, 1300):
            held.append(sum(labels() is not None for labels in kept))
        else:
            held.append(PredictOptions().memory_bytes - decoding.options.memory_bytes)
        found = segment_resized(image, engine, scaling, decoding, factor, bounds)
        kept.append(weakref.ref(found.labels))
        return found

    monkeypatch.setattr(rescaling, "segment_resized", spied)
    assert find(LARGE).scale < 0.5
    assert len(held) > 1
    assert not any(held)
    held.clear()
    assert find(discs(13, 1300), Unsure()).scale == 0.5
    assert held == [0, 8 * 1300**2, 0]


@pytest.mark.parametrize("kind", ["zarr", "tif"])
def test_part_by_part_the_nearest_scale_that_fits_is_taken(kind, tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    image = zarr.create_array(str(tmp_path / "image.zarr"), shape=LARGE.shape, chunks=(256, 256), dtype="u1")
    image[...] = picture(LARGE)
    monkeypatch.setattr(large, "load_segmenter", lambda _: SimpleNamespace(_engine=Echo(), _settings=MODEL))
    output, options = tmp_path / f"labels.{kind}", PredictOptions(max_memory="220MB")
    tracemalloc.start()
    try:
        with pytest.warns(PredictionWarning) as caught:
            count = predict_large("any", tmp_path / "image.zarr", output, options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < options.memory_bytes
    (warning,) = caught
    assert warning.filename == __file__
    told = str(warning.message)
    assert "image.zarr: segmented at a scale of 0." in told
    assert "which suits its nuclei, does not fit: max_memory is too small" in told
    enough = told.split("give at least ")[1].split(",")[0]
    found = open_lazy(output)[0:1300, 0:1300]
    assert count == found.max() == LARGE.max()
    assert match(LARGE, found).average_precision(0.7) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict_large("any", tmp_path / "image.zarr", tmp_path / "more.tif", PredictOptions(max_memory=enough))


@pytest.mark.parametrize("megabytes", [170, 190, 260, 500])
@pytest.mark.parametrize("tiling", ["auto", Tiling(256, 64)], ids=["auto", "tiles"])
def test_what_can_be_labelled_as_it_is_can_be_labelled_at_the_scale_that_is_chosen(megabytes, tiling):
    options = PredictOptions(max_memory=f"{megabytes}MB", tiling=tiling)
    image, engine = picture(LARGE), Echo()
    assert has_room(image.shape, 1.0, engine, options)
    assert segment_at_scale(as_micrograph(image), engine, MODEL, options).count > 0
    assert shortage_of_windows(image.shape, 1.0, engine, options) is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PredictionWarning)
        chosen, factor = at_one_scale(open_lazy(image), engine, MODEL, options)
    assert plan_job(open_lazy(image), engine, "minmax", decoding_of(MODEL, chosen), factor).windows


def test_where_memory_is_too_small_to_look_for_the_scale_that_is_told():
    """Its parts are held in memory, so they need a little more than a window."""
    options = PredictOptions(max_memory="165MB", tiling=Tiling(512, 128))
    lazy = open_lazy(picture(LARGE))
    engine = SimpleNamespace(multiple=1, pixel_bytes=212)
    assert shortage_of_windows(lazy.shape, 1.0, engine, options) is None
    with pytest.warns(PredictionWarning, match="which one suits its nuclei can't be told.*give more, or the scale"):
        _, factor = at_one_scale(lazy, engine, MODEL, options)
    assert factor == 1


def test_doubts_that_memory_does_not_suffice_to_dispel_are_told():
    """Pieces are suspected, but half the scale cannot be looked at."""
    labels, engine = discs(13, 2000), Unsure()
    assert find(labels, engine).scale == 0.5
    short = find(labels, engine, max_memory="230MB")
    assert (short.scale, short.wanted_scale) == (1, 0.5)
    # The middle fits, the whole does not.
    between = find(labels, engine, max_memory="255MB")
    assert 0.5 < between.scale < 1
    assert between.wanted_scale == 0.5


def test_maps_for_tuning_are_made_at_a_scale_that_fits():
    options = PredictOptions(max_memory="220MB")
    maps, factor = maps_at_scale(as_micrograph(picture(LARGE)), Echo(), MODEL, options)
    assert maps.shape[:2] == LARGE.shape
    assert 0.15 < factor < 1
    assert has_room_for_maps(LARGE.shape, factor, Echo(), options)


def test_where_there_is_no_room_for_the_whole_it_is_cut_into_windows():
    """It was refused, with a memory that suffices."""
    image, options = picture(discs(3, 412)), PredictOptions(max_memory="250MB")
    found = segment_resized(image, Echo(), "minmax", decoding_of(MODEL, options), 4.0)
    assert found.labels.max() == discs(3, 412).max()


@settings(max_examples=200, deadline=None)
@given(st.floats(0.125, 4), st.floats(0.125, 4), st.floats(0.1, 5))
def test_the_nearest_scale_lies_on_the_way_and_fits(wanted, known, least):
    found = nearest_scale(wanted, known, lambda factor: factor >= least)
    assert min(wanted, known) * 0.999 <= found <= max(wanted, known) * 1.001
    assert found >= least or found == known
    if wanted >= least:
        assert found == wanted
    elif least <= known:
        assert found <= least * (known / wanted) ** (1 / 16) * 1.001
