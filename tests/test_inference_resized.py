"""Images that the network sees at another size: in windows where memory is short, with the same nuclei."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from stubs import Echo

from nucleiseg.inference import PredictOptions, resized
from nucleiseg.inference.resized import predict_resized, resized_range, segment_resized
from nucleiseg.inference.segmenting import Decoding, segment
from nucleiseg.instances import filter_labels, get_decoder, match


class Pointwise(Echo):
    """Sees nothing around a pixel, and needs little memory."""

    reach = 0
    pixel_bytes = 8


def blobs(side, seed=0, sigma=9.0):
    """Smooth blobs from 0 to 255 on a dark ground, about a quarter of the image."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), sigma, mode="wrap")
    return np.clip(noise / noise.max() * 400 - 50, 0, 255).astype(np.uint8)


def decoding(**options):
    return Decoding(get_decoder("components"), {"probability": 0.5}, PredictOptions(**options))


def test_at_its_own_size_nothing_is_resized():
    image = blobs(64)
    one, two = (found(image, Pointwise(), "minmax", decoding()) for found in (segment, at(1.0)))
    assert np.array_equal(one.labels, two.labels)
    assert np.array_equal(one.probability, two.probability)


def at(factor):
    return lambda *arguments: segment_resized(*arguments, factor)


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 99), st.sampled_from([(0.5, 1300, "190MB"), (0.75, 1300, "160MB"), (2.0, 600, "110MB")]))
@example(40, (0.75, 1300, "160MB"))  # with eight more specks of a pixel or two, of 245
def test_windows_and_the_whole_have_the_same_nuclei(seed, case):
    factor, side, budget = case
    image, engine = blobs(side, seed), Pointwise()
    whole = segment_resized(image, engine, "minmax", decoding(tiling=None), factor)
    assert len(engine.seen) == 1
    windows = segment_resized(image, engine, "minmax", decoding(max_memory=budget), factor)
    assert len(engine.seen) > 2
    assert windows.labels.shape == image.shape
    # Specks come and go with the last digit of a probability.
    one, other = (filter_labels(found.labels, 10) for found in (whole, windows))
    assert match(one, other).average_precision(0.5) > 0.96
    assert other.max() == pytest.approx(one.max(), rel=0.05)


@pytest.mark.parametrize("thresholds", [{"probability": 0.5}, {"probability": 0.5, "min_area": 40}])
def test_the_smallest_area_is_the_same_in_windows_and_in_the_whole_of_a_resized_image(thresholds):
    """Ten of the image's own pixels are asked for, or forty of what the network sees twice as large."""
    image, engine = blobs(600), Pointwise()
    for wanted in (10, None) if len(thresholds) > 1 else (10,):
        kinds = {"tiling": None}, {"max_memory": "110MB"}
        decodings = [
            Decoding(get_decoder("components"), thresholds, PredictOptions(min_area=wanted, **kind)) for kind in kinds
        ]
        whole, windows = (segment_resized(image, engine, "minmax", one, 2.0).labels for one in decodings)
        areas = [np.bincount(labels.ravel())[1:] for labels in (whole, windows)]
        assert len(areas[0]) == len(areas[1])
        assert min(areas[0].min(), areas[1].min()) >= 10


def test_the_area_of_the_model_is_in_pixels_that_the_network_sees():
    image = np.zeros((64, 64), np.uint8)
    image[4:10, 4:10] = image[30:50, 30:50] = 255  # 36 and 400 pixels
    for factor, own, count in ((2.0, 36 * 4, 2), (2.0, 36 * 5, 1), (0.5, 9 - 4, 2), (0.5, 9 + 4, 1)):
        one = Decoding(get_decoder("components"), {"probability": 0.5, "min_area": own}, PredictOptions())
        assert segment_resized(image, Pointwise(), "minmax", one, factor).labels.max() == count


@pytest.mark.parametrize("area", [None, 10])
@pytest.mark.parametrize("factor", [1.7, 2.7])
def test_nuclei_are_numbered_by_their_first_pixels_at_every_scale(factor, area):
    """As in windows, so that tables of both fit together."""
    image = blobs(300, sigma=4.0)
    labels = segment_resized(image, Pointwise(), "minmax", decoding(tiling=None, min_area=area), factor).labels
    found, first = np.unique(labels[labels > 0], return_index=True)
    assert found.tolist() == list(range(1, found.size + 1))
    assert (np.diff(first) > 0).all()


@pytest.mark.parametrize(("factor", "side"), [(0.5, 2400), (2.5, 1200)])
def test_the_budget_holds_at_every_scale(factor, side):
    image, budget = np.stack([blobs(side, sigma=12)] * 3, axis=-1), 250 * 10**6
    tracemalloc.start()
    try:
        found = segment_resized(image, Pointwise(), "minmax", decoding(max_memory=budget), factor)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.labels.max() > 20
    assert peak < budget


def test_where_there_is_room_an_image_is_resized_whole(monkeypatch):
    monkeypatch.setattr(resized, "_in_windows", None)
    assert segment_resized(blobs(128), Pointwise(), "minmax", decoding(), 2.0).labels.shape == (128, 128)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.bool_, np.float32])
def test_a_range_that_the_type_tells_is_that_of_the_pixels_before_they_are_resized(kind, factor):
    most = np.iinfo(kind).max if np.issubdtype(kind, np.integer) else 1
    image = np.zeros((64, 64), kind)
    image[16:48, 16:48] = most * 0.75 if kind != np.bool_ else True
    expected = 1 if kind == np.bool_ else 0.75
    assert resized_range(image, "dtype", factor) == (0, most)
    found = segment_resized(image, Pointwise(), "dtype", decoding(), factor)
    assert found.labels[32, 32] == found.labels.max() == 1
    assert found.probability[32, 32] == pytest.approx(expected, abs=0.01)
    maps = predict_resized(image, Pointwise(), "dtype", PredictOptions(), factor)
    assert maps.max() == pytest.approx(expected, abs=0.02)


def test_smoothed_an_image_has_another_range():
    image = np.zeros((64, 64), np.uint8)
    image[::7, ::5] = 255
    assert resized_range(image, "minmax", 1.0) == (0, 255)
    assert resized_range(image, "minmax", 0.25)[1] < 200
    assert resized_range(image, "minmax", 20.0) == (0, 255)  # at no cost


@pytest.mark.parametrize("factor", [0.4, 0.9, 1.3, 2.0])
def test_an_image_has_one_range_whether_there_is_room_or_not(factor):
    """Magnified, its brightest pixels are between the real ones."""
    rng = np.random.default_rng(0)
    image = np.where(rng.random((96, 80)) > 0.97, 255, rng.integers(0, 90, (96, 80))).astype(np.uint8)
    seen = []

    class Recorder(Pointwise):
        def __call__(self, images):
            seen.append(images)
            return super().__call__(images)

    asked = decoding(tiling=None)
    segment_resized(image, Recorder(), "percentile", asked, factor)
    predict_resized(image, Recorder(), "percentile", asked.options, factor)
    segment_resized(image, Recorder(), "percentile", asked, factor, resized_range(image, "percentile", factor))
    np.testing.assert_array_equal(seen[0], seen[2])
    np.testing.assert_array_equal(seen[1], seen[2])
