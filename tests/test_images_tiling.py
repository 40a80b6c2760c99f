from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg.errors import InvalidInputError
from nucleiseg.images import Tiling, pad_to_multiple, tiles

FEW = settings(max_examples=50, deadline=None)


@st.composite
def tilings(draw):
    tile = draw(st.integers(1, 40))
    return Tiling(tile=tile, overlap=draw(st.integers(0, tile - 1)))


@FEW
@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), tilings())
def test_what_tiles_keep_covers_every_pixel_once(shape, tiling):
    times = np.zeros(shape, int)
    for tile in tiles(shape, tiling):
        times[tile.keep] += 1
    assert (times == 1).all()


@FEW
@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), tilings())
def test_an_image_is_put_together_from_its_tiles(shape, tiling):
    image = np.arange(np.prod(shape)).reshape(shape)
    rebuilt = np.full(shape, -1)
    for tile in tiles(shape, tiling):
        piece = image[tile.read]
        assert piece.shape == tuple(min(side, tiling.tile) for side in shape)
        rebuilt[tile.keep] = piece[tile.inner]
    np.testing.assert_array_equal(rebuilt, image)


@FEW
@given(st.integers(1, 300), tilings())
def test_neighbours_overlap_and_keep_a_margin(width, tiling):
    row = tiles((1, width), tiling)
    for left, right in pairwise(row):
        assert left.read[1].stop - right.read[1].start >= tiling.overlap
        assert left.read[1].stop - left.keep[1].stop >= tiling.overlap // 2
        assert right.keep[1].start - right.read[1].start >= tiling.overlap // 2
    assert row[0].read[1].start == 0
    assert row[-1].read[1].stop == width


@FEW
@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), st.integers(1, 5), st.integers(1, 4), st.integers(0, 30))
def test_tiles_begin_at_multiples(shape, multiple, strides, overlap):
    tiling = Tiling(overlap + multiple * strides, overlap)
    image = np.arange(np.prod(shape)).reshape(shape)
    rebuilt = np.full(shape, -1)
    cut = tiles(shape, tiling, multiple)
    for tile in cut:
        assert all(part.start % multiple == 0 for part in tile.read)
        assert all(part.stop - part.start <= tiling.tile for part in tile.read)
        rebuilt[tile.keep] = image[tile.read][tile.inner]
    np.testing.assert_array_equal(rebuilt, image)
    row = [tile.read[1] for tile in cut if tile.read[0].start == 0]
    assert all(left.stop - right.start >= overlap for left, right in pairwise(row))


def test_there_are_no_more_tiles_than_needed():
    assert len(tiles((256, 256, 3), Tiling(256, 64))) == 1
    assert len(tiles((257, 256), Tiling(256, 64))) == 2
    assert len(tiles((448, 640), Tiling(256, 64))) == 2 * 3


def test_tiles_come_in_raster_order():
    corners = [(tile.read[0].start, tile.read[1].start) for tile in tiles((100, 90), Tiling(32, 8))]
    assert corners == sorted(corners)


def test_tiling_is_frozen_and_has_documented_defaults():
    assert Tiling() == Tiling(tile=256, overlap=64)
    assert Tiling(48) == Tiling(tile=48, overlap=12)
    assert Tiling(1) == Tiling(tile=1, overlap=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Tiling().tile = 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile": 0}, "tile must be a whole number of at least 1"),
        ({"tile": 25.6}, "tile must be a whole number"),
        ({"overlap": -1}, "overlap must be a whole number of at least 0"),
        ({"tile": 64, "overlap": 64}, "overlap must be less than tile.*use overlap=16"),
    ],
)
def test_settings_out_of_bounds(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        Tiling(**settings)


def test_shapes_without_height_and_width():
    with pytest.raises(InvalidInputError, match="shape must be"):
        tiles((5,), Tiling())
    with pytest.raises(InvalidInputError, match="width must be a whole number of at least 1"):
        tiles((5, 0), Tiling())


def test_tiles_that_cannot_begin_at_multiples():
    with pytest.raises(InvalidInputError, match="must begin at multiples of 32.*use a tile of at least 80"):
        tiles((90, 90), Tiling(64, 48), 32)


@FEW
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([None, 1, 3, 4]), st.integers(1, 64))
def test_padding_reaches_the_multiple_and_is_undone_by_the_crop(height, width, channels, multiple):
    shape = (height, width) if channels is None else (height, width, channels)
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    padded, crop = pad_to_multiple(image, multiple)
    assert padded.dtype == image.dtype
    assert padded.shape[2:] == image.shape[2:]
    for before, after in zip(image.shape[:2], padded.shape[:2], strict=True):
        assert after % multiple == 0
        assert 0 <= after - before < multiple
    np.testing.assert_array_equal(padded[crop], image)
    assert set(np.unique(padded)) == set(np.unique(image))


@pytest.mark.parametrize("shape", [(1, 1), (1, 10_000), (10_000, 1, 3)])
def test_padding_larger_than_the_image(shape):
    padded, crop = pad_to_multiple(np.ones(shape, np.float32), 256)
    assert padded.shape[0] % 256 == padded.shape[1] % 256 == 0
    assert (padded == 1).all()
    assert padded[crop].shape == shape


def test_padding_reflects():
    padded, _ = pad_to_multiple(np.array([[1, 2, 3, 4, 5]]), 8)
    assert padded[0].tolist() == [1, 2, 3, 4, 5, 5, 4, 3]


def test_padding_checks_its_arguments():
    with pytest.raises(InvalidInputError, match="multiple must be a whole number of at least 1"):
        pad_to_multiple(np.zeros((3, 3)), 0)
    with pytest.raises(InvalidInputError, match="image must"):
        pad_to_multiple(np.zeros(3), 4)
