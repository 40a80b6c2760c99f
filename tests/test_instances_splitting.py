from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import watershed

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import split_by_distance, split_components

FEW = settings(max_examples=50, deadline=None)
# Drawn from a seed: Hypothesis fills its own arrays with mostly one value, which leaves hardly any components.
PROBABILITIES = st.builds(
    lambda seed, shape: np.random.default_rng(seed).choice([0.0, 0.4, 0.5, 0.6, 1.0], shape).astype(np.float32),
    st.integers(0, 2**32),
    st.tuples(st.integers(1, 15), st.integers(1, 15)),
)


def flood(mask):
    """Components found the slow and plain way, numbered by their first pixel."""
    labels, count = np.zeros(mask.shape, int), 0
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start]:
            continue
        count += 1
        todo = [start]
        while todo:
            row, col = todo.pop()
            if 0 <= row < mask.shape[0] and 0 <= col < mask.shape[1] and mask[row, col] and not labels[row, col]:
                labels[row, col] = count
                todo += [(row + 1, col), (row - 1, col), (row, col + 1), (row, col - 1)]
    return labels


@FEW
@given(PROBABILITIES, st.sampled_from([0.0, 0.45, 0.5, 1.0]))
def test_labels_are_components_in_raster_order(probability, threshold):
    labels = split_components(probability, threshold)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, flood(probability > threshold))


@FEW
@given(PROBABILITIES, st.integers(0, 8))
def test_small_components_go_and_ids_stay_contiguous(probability, min_area):
    everything = split_components(probability)
    labels = split_components(probability, min_area=min_area)
    areas = np.bincount(everything.ravel())
    kept = np.isin(everything, [i for i in range(1, areas.size) if areas[i] >= min_area])
    np.testing.assert_array_equal(labels, flood(kept))


def test_min_area_is_the_smallest_area_that_stays():
    probability = [[1, 1, 0, 1, 0, 1, 1, 1]]
    assert split_components(probability, min_area=2).tolist() == [[1, 1, 0, 0, 0, 2, 2, 2]]
    assert split_components(probability, min_area=3).tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]]


def test_corners_do_not_connect_and_holes_stay():
    assert split_components(np.eye(3)).max() == 3
    ring = np.ones((3, 3))
    ring[1, 1] = 0
    np.testing.assert_array_equal(split_components(ring), ring)


def test_masks_of_other_dtypes():
    assert split_components(np.array([[True, False, True]])).tolist() == [[1, 0, 2]]
    assert split_components(np.array([[0, 1]], np.uint8)).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("probability", "message"),
    [
        (np.zeros((3, 3, 1)), r"pass one image and one channel"),
        (np.zeros((0, 3)), "at least one pixel"),
        (np.array([[0, 255]]), "got 0 to 255; pass scores through a sigmoid, divide an 8-bit mask by 255"),
        (np.array([[-1.0, 0]]), "from 0 to 1"),
        (np.array([[np.nan]]), "must be finite"),
    ],
)
def test_what_is_no_probability(probability, message):
    with pytest.raises(InvalidInputError, match=message):
        split_components(probability)


def test_settings_are_checked():
    with pytest.raises(InvalidInputError, match="threshold must be a number from 0 to 1"):
        split_components(np.zeros((2, 2)), threshold=1.5)
    with pytest.raises(InvalidInputError, match="min_area must be a whole number of at least 0"):
        split_components(np.zeros((2, 2)), min_area=-1)


@FEW
@given(PROBABILITIES, st.integers(0, 2**32))
def test_a_part_of_the_mask_has_a_nucleus_for_each_seed_and_at_least_one(probability, seed):
    depth = np.random.default_rng(seed).random(probability.shape)
    labels = split_by_distance(probability, depth, 0.45, 0.7)
    mask = probability > 0.45
    np.testing.assert_array_equal(labels > 0, mask)
    seeds, parts = flood(mask & (depth > 0.7)), flood(mask)
    for part in range(1, parts.max(initial=0) + 1):
        inside = parts == part
        wanted = max(1, len(np.unique(seeds[inside & (seeds > 0)])))
        assert len(np.unique(labels[inside])) == wanted
        assert not np.isin(labels[~inside], labels[inside]).any()


@pytest.mark.parametrize("name", ["threshold", "seed_threshold"])
def test_what_maps_are_cut_at_is_from_0_to_1(name):
    with pytest.raises(InvalidInputError, match=rf"^{name} must be a number from 0 to 1, got 1.5"):
        split_by_distance([[0.5]], [[0.5]], **{name: 1.5})


def test_smoothing_is_a_distance():
    with pytest.raises(InvalidInputError, match="smoothing must be a number from 0 to 100, got -1"):
        split_by_distance([[0.5]], [[0.5]], smoothing=-1)


def test_smoothing_leaves_no_seed_for_every_ripple():
    rows, cols = np.mgrid[:21, :41]
    depth = np.maximum(1 - np.hypot(rows - 10, cols - 10) / 10, 1 - np.hypot(rows - 10, cols - 30) / 10).clip(0)
    mask = depth > 0
    rippled = np.where(mask, np.clip(depth + 0.2 * (-1.0) ** (rows + cols), 0, 1), 0)
    assert split_by_distance(mask, rippled).max() > 2
    assert split_by_distance(mask, rippled, smoothing=1.5).max() == 2


@FEW
@given(PROBABILITIES, st.integers(0, 2**32))
def test_nuclei_that_were_split_are_numbered_by_their_first_pixels(probability, seed):
    depth = np.random.default_rng(seed).random(probability.shape)
    labels = split_by_distance(probability, depth, 0.45, 0.7)
    names, first = np.unique(labels[labels > 0], return_index=True)
    assert names.tolist() == list(range(1, len(names) + 1))
    assert (np.diff(first) > 0).all()


@FEW
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 60), st.sampled_from([0.0, 0.7, 1.5]))
def test_nothing_changes_because_a_watershed_is_spared_what_it_need_not_see(seed, height, width, smoothing):
    rng = np.random.default_rng(seed)
    probability, depth = (ndimage.gaussian_filter(rng.random((height, width), np.float32), s) for s in (1, 0.5))
    threshold, seed_threshold = rng.uniform(0.4, 0.6, 2)
    labels = split_by_distance(probability, depth, threshold, seed_threshold, smoothing=smoothing)

    if smoothing:
        depth = np.clip(ndimage.gaussian_filter(depth, smoothing, truncate=3), 0, 1)
    mask = probability > threshold
    parts, count = ndimage.label(mask)
    seeds, _ = ndimage.label(mask & (depth > seed_threshold))
    crowded = [part for part in range(1, count + 1) if len(np.unique(seeds[parts == part])) > 2]  # 0 is one of them
    inside = np.isin(parts, crowded)
    grown = watershed((255 * (1 - depth)).astype(np.uint8), np.where(inside, seeds, 0), mask=inside)
    plain = np.where(inside, count + grown, parts)
    pairs = np.unique(np.stack([labels.ravel(), plain.ravel()]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


def test_maps_are_left_as_they_are():
    probability, depth = np.random.default_rng(0).random((2, 40, 50)).astype(np.float32)
    before = probability.copy(), depth.copy()
    split_by_distance(probability, depth, 0.4, 0.6, smoothing=1.5)
    np.testing.assert_array_equal([probability, depth], before)
