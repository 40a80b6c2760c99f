"""The way through a network, with plain functions in its place: what they are given, and what comes of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from nucleiseg import PredictOptions, Tiling
from nucleiseg.images import rescale, to_rgb
from nucleiseg.inference import predict_maps

LAW = settings(max_examples=40, deadline=None)
REACH = 3


class Engine:
    """Runs a function from an image (H, W, 3) to maps (H, W, C), and remembers what it was given."""

    def __init__(self, function, multiple=32):
        self.function, self.multiple, self.batches = function, multiple, []

    def __call__(self, images):
        self.batches.append(images)
        return np.stack([self.function(image) for image in images]).astype(np.float32)


def echo(image):
    return image


def smooth(image):
    """Every pixel depends on its neighbours as far as REACH, as a small network's does."""
    return uniform_filter(image, (2 * REACH + 1, 2 * REACH + 1, 0), mode="reflect")


def ramp(image):
    """Depends on the place, so that turned images give other maps."""
    return image[..., :1] * np.linspace(0, 1, image.shape[1])[:, np.newaxis]


shapes = st.tuples(st.integers(1, 70), st.integers(1, 70))
channels = st.sampled_from([(), (1,), (2,), (3,), (4,)])


@st.composite
def pictures(draw):
    """Any size, number of channels and type."""
    shape = draw(shapes) + draw(channels)
    noise = np.random.default_rng(draw(st.integers(0, 99))).random(shape)
    dtype = np.dtype(draw(st.sampled_from(["?", "u1", "u2", "i2", "i4", "f2", "f4", "f8"])))
    return (noise > 0.5 if dtype.kind == "b" else noise * (1 if dtype.kind == "f" else 200)).astype(dtype)


def options(tta, tile):
    return PredictOptions(tta=tta, tiling=None if tile is None else Tiling(tile, tile // 2))


@LAW
@given(pictures(), st.booleans(), st.sampled_from([None, 8, 32]))
def test_maps_have_the_height_and_width_of_the_image(image, tta, tile):
    engine = Engine(ramp)
    maps = predict_maps(image, engine, "percentile", options(tta, tile))
    assert maps.shape == (*image.shape[:2], 1)
    assert maps.dtype == np.float32
    for batch in engine.batches:
        assert batch.dtype == np.float32
        assert batch.shape[0] == 1
        assert batch.shape[3] == 3
        assert batch.shape[1] % 32 == batch.shape[2] % 32 == 0
        assert batch.flags.c_contiguous
        assert 0 <= batch.min() <= batch.max() <= 1


@LAW
@given(pictures(), st.booleans(), st.sampled_from([None, 8, 32]), st.sampled_from(["percentile", "minmax", "dtype"]))
def test_every_pixel_comes_back_to_its_place(image, tta, tile, scaling):
    maps = predict_maps(image, Engine(echo), scaling, options(tta, tile))
    np.testing.assert_allclose(maps, to_rgb(rescale(image, scaling)), atol=1e-6)


@LAW
@given(shapes, st.integers(2 * REACH + 1, 40), st.integers(0, 9))
def test_tiles_that_overlap_enough_give_what_the_whole_image_gives(shape, tile, seed):
    image = np.random.default_rng(seed).random(shape)
    whole = predict_maps(image, Engine(smooth, multiple=1), "dtype", PredictOptions())
    tiling = Tiling(tile, 2 * REACH)
    tiled = predict_maps(image, Engine(smooth, multiple=1), "dtype", PredictOptions(tiling=tiling))
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_tiles_are_no_larger_than_asked_for():
    engine = Engine(echo)
    predict_maps(np.eye(200, 150), engine, "minmax", PredictOptions(tiling=Tiling(96, 32)))
    assert {batch.shape for batch in engine.batches} == {(1, 96, 96, 3)}
    assert len(engine.batches) == 3 * 2


def halving(image):
    """Depends on whether a pixel's row and column are even, and on the place within four."""
    return np.repeat(np.repeat(image[::4, ::4], 4, 0), 4, 1)


@LAW
@given(st.integers(1, 90), st.integers(1, 90), st.booleans(), st.integers(4, 12), st.integers(0, 9))
def test_a_network_with_a_grid_gives_the_same_maps_in_tiles(height, width, tta, quarter, seed):
    """Turned and mirrored, too, although the image is no multiple of the grid."""
    image, engine = np.random.default_rng(seed).random((height, width)), Engine(halving, multiple=4)
    whole = predict_maps(image, engine, "dtype", PredictOptions(tiling=None, tta=tta))
    tiled = predict_maps(image, engine, "dtype", PredictOptions(tiling=Tiling(4 * quarter, 8), tta=tta))
    np.testing.assert_allclose(tiled, whole, atol=1e-6)


def test_the_image_is_scaled_once_and_not_tile_by_tile():
    image = np.zeros((64, 128), np.uint8)
    image[:, 64:] = np.random.default_rng(0).integers(200, 255, (64, 64))
    maps = predict_maps(image, Engine(echo), "minmax", PredictOptions(tiling=Tiling(64, 0)))
    np.testing.assert_allclose(maps[..., 0], image / image.max(), atol=1e-6)


@LAW
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 9), st.integers(0, 3), st.booleans())
def test_with_augmentation_turned_images_give_turned_maps(rows, columns, seed, turns, flip):
    """Where nothing is padded."""
    image = np.random.default_rng(seed).random((32 * rows, 32 * columns, 3))

    def turn(array):
        return np.rot90(array[:, ::-1] if flip else array, turns)

    found = predict_maps(turn(image), Engine(ramp), "minmax", PredictOptions(tta=True))
    expected = turn(predict_maps(image, Engine(ramp), "minmax", PredictOptions(tta=True)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_without_it_they_need_not():
    image = np.random.default_rng(0).random((32, 32))
    found = predict_maps(image[:, ::-1], Engine(ramp), "minmax", PredictOptions())[:, ::-1]
    assert np.abs(found - predict_maps(image, Engine(ramp), "minmax", PredictOptions())).max() > 0.1


def test_augmentation_averages_eight_views():
    engine = Engine(ramp)
    predict_maps(np.random.default_rng(0).random((32, 64)), engine, "minmax", PredictOptions(tta=True))
    assert len({batch.tobytes() for batch in engine.batches}) == len(engine.batches) == 8


def test_every_tile_is_averaged():
    engine = Engine(ramp)
    predict_maps(np.random.default_rng(0).random((64, 32)), engine, "minmax", options(True, 32))
    assert len({batch.tobytes() for batch in engine.batches}) == len(engine.batches) == 8 * 3


@pytest.mark.parametrize("tile", [None, 32])
def test_the_image_is_left_as_it_is(tile):
    image = np.random.default_rng(0).random((50, 40, 3)).astype(np.float32)
    before = image.copy()
    predict_maps(image, Engine(echo), "percentile", options(True, tile))
    np.testing.assert_array_equal(image, before)
