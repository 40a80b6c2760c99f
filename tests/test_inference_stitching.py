"""Laws of stitching: whatever the windows, every nucleus is found whole, and once."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure

from nucleiseg import Tiling
from nucleiseg.images import tiles
from nucleiseg.inference.settling import stitch, stitch_stored
from nucleiseg.inference.stitching import final_numbers, make_piece, settle
from nucleiseg.instances import filter_labels, match, split_by_distance, split_components

LAW = settings(max_examples=40, deadline=None)


def stitched(decode, shape, tiling, **final):
    """Labels of an image from those that a function finds in each window."""
    windows = tiles(shape, tiling)
    count, labels, settled = 0, np.full(shape, -1, np.int32), []

    def pieces():
        nonlocal count
        for tile in windows:
            piece = make_piece(tile, decode(tile.read), shape, count)
            count += piece.count
            yield piece

    for part in stitch(pieces(), windows, shape):
        labels[part.tile.keep] = part.labels
        settled.append(part.without_pixels())
    return final_numbers(count, settled, **final)[labels]


@st.composite
def masks(draw):
    """Blobs of any size, from specks to what is larger than every window."""
    shape = draw(st.tuples(st.integers(1, 48), st.integers(1, 48)))
    noise = np.random.default_rng(draw(st.integers(0, 10_000))).random(shape)
    smooth = ndimage.gaussian_filter(noise, draw(st.sampled_from([0, 0.7, 1.5, 3])))
    return smooth > np.quantile(smooth, draw(st.floats(0.2, 0.9)))


@st.composite
def tilings(draw):
    tile = draw(st.integers(8, 40))
    return Tiling(tile, draw(st.integers(1, tile // 2 + 2)))


@LAW
@given(masks(), tilings())
def test_components_are_those_of_the_whole_image(mask, tiling):
    """Also of components larger than the overlap, and than the window; numbers are the same, too."""
    found = stitched(lambda window: split_components(mask[window]), mask.shape, tiling)
    np.testing.assert_array_equal(found, split_components(mask))


@LAW
@given(masks(), tilings(), st.integers(0, 30), st.booleans())
def test_small_nuclei_and_those_at_the_edge_are_left_out_as_of_the_whole_image(mask, tiling, min_area, remove_edge):
    found = stitched(
        lambda window: split_components(mask[window]), mask.shape, tiling, min_area=min_area, remove_edge=remove_edge
    )
    expected = filter_labels(split_components(mask), min_area, remove_edge=remove_edge)
    np.testing.assert_array_equal(found, expected)


def discs(seed, shape=(160, 180), radii=(3, 9)):
    """Discs that may touch but not overlap, with the maps that an ideal distance head gives."""
    noise = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    truth, probability, depth, placed = np.zeros(shape, np.int32), np.zeros(shape), np.zeros(shape), []
    for _ in range(400):
        row, column, radius = noise.uniform(0, shape[0]), noise.uniform(0, shape[1]), noise.uniform(*radii)
        if all((row - r) ** 2 + (column - c) ** 2 > (radius + other + 0.5) ** 2 for r, c, other in placed):
            placed.append((row, column, radius))
            away = np.hypot(rows - row, columns - column)
            truth[away < radius] = len(placed)
            probability[away < radius] = 0.9
            depth = np.maximum(depth, np.clip(1 - away / (radius + 0.5), 0, 1))
    return truth, probability, depth


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(60, 100))
def test_touching_nuclei_are_found_whole_and_once(seed, tile):
    truth, probability, depth = discs(seed)
    found = stitched(
        lambda window: split_by_distance(probability[window], depth[window], 0.5, 0.4), truth.shape, Tiling(tile, 32)
    )
    whole = split_by_distance(probability, depth, 0.5, 0.4)
    counts = match(whole, found)
    assert found.max() == whole.max()
    assert measure.label(found, connectivity=1).max() == found.max()  # each is in one piece
    assert counts.average_precision(0.9) == 1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_a_nucleus_larger_than_the_overlap_is_one(seed):
    truth, probability, depth = discs(seed, (200, 200), (30, 60))
    found = stitched(
        lambda window: split_by_distance(probability[window], depth[window], 0.5, 0.4), truth.shape, Tiling(64, 24)
    )
    assert np.unique(found[truth > 0]).min() > 0
    for label in np.unique(truth)[1:]:
        if (truth == label).sum() > 200:
            inside = np.bincount(found[truth == label])
            assert inside.max() > 0.9 * inside.sum(), (label, inside)


@LAW
@given(masks(), tilings())
def test_labels_are_without_gaps_and_in_the_order_of_first_pixels(mask, tiling):
    found = stitched(lambda window: split_components(mask[window]), mask.shape, tiling)
    names, first = np.unique(found[found > 0], return_index=True)
    assert names.tolist() == list(range(1, len(names) + 1))
    assert (np.diff(first) > 0).all()


def test_a_nucleus_that_two_windows_see_differently_is_one():
    """The network sees other surroundings in every window: here each shrinks what is near its side."""
    mask = np.zeros((20, 60), bool)
    mask[5:15, 22:38] = True

    def decode(window):
        part = mask[window].copy()
        if window[1].start == 0:
            part[:, 36:] = False
        return split_components(part)

    found = stitched(decode, mask.shape, Tiling(40, 20))
    assert found.max() == 1


@LAW
@given(masks(), tilings())
def test_windows_that_are_kept_elsewhere_are_settled_alike(mask, tiling):
    windows = tiles(mask.shape, tiling)
    labels = [split_components(mask[tile.read]) for tile in windows]
    counts = [int(part.max(initial=0)) for part in labels]
    pieces = [make_piece(windows[n], labels[n], mask.shape, sum(counts[:n])) for n in range(len(windows))]
    stored = stitch_stored(labels.__getitem__, counts, windows, mask.shape)
    held = {id(part.tile): part for part in stitch(pieces, windows, mask.shape)}  # in another order
    assert len(held) == len(windows)
    for two in stored:
        one = held[id(two.tile)]
        for name in ("labels", "names", "areas", "first", "at_edge", "links"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)


def test_no_more_than_nine_windows_are_held(monkeypatch):
    """A slide is hundreds of windows wide."""
    shape, tiling = (100, 1000), Tiling(30, 10)
    windows = tiles(shape, tiling)
    loaded, held = [], []

    def load(number):
        labels = np.zeros([side.stop - side.start for side in windows[number].read], np.int32)
        loaded.append(weakref.ref(labels))
        held.append(sum(reference() is not None for reference in loaded))
        return labels

    assert sum(1 for _ in stitch_stored(load, [0] * len(windows), windows, shape)) == len(windows) > 200
    assert max(held) <= 9
    assert len(loaded) < 4 * len(windows)


@pytest.mark.parametrize("own", [0, 1], ids=["background", "torn"])
def test_of_several_windows_that_have_a_nucleus_whole_the_first_decides(own):
    shape = (1, 20)
    left, middle, right = tiles(shape, Tiling(12, 8))
    assert middle.keep == (slice(0, 1), slice(8, 12))
    here, before, after = np.zeros((3, 1, 12), np.int32)
    here[0, 2:] = own  # up to the end of the window, so it may go on
    before[0, 8:11] = after[0, 1:4] = 1  # in pixels 8 to 10 and 9 to 11 of the image
    others = [make_piece(left, before, shape, 10), make_piece(right, after, shape, 20)]
    settled = settle(make_piece(middle, here, shape), others, shape)
    assert settled.labels.tolist() == [[11, 11, 11, 21]]


@pytest.mark.parametrize("empty", [True, False])
def test_windows_without_nuclei(empty):
    mask = np.zeros((30, 30), bool)
    mask[20:24, 20:24] = not empty
    found = stitched(lambda window: split_components(mask[window]), mask.shape, Tiling(12, 4))
    np.testing.assert_array_equal(found, split_components(mask))
