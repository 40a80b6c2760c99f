from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import split_components
from nucleiseg.training import random_crop
from nucleiseg.training.copies import part_copies
from nucleiseg.training.crops import cut_crop

FEW = settings(max_examples=80, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(1, 40)
SIZES = st.tuples(SIDES, SIDES)


def numbered(height, width):
    """An image and labels in which every pixel has its own number."""
    labels = np.arange(height * width, dtype=np.int32).reshape(height, width)
    return labels.astype(np.float32), labels


def crop(image, labels, size, seed, value_range=None, **options):
    value_range = value_range or (0.0, float(max(labels.max(), 1)))
    return random_crop(image, labels, size, value_range, np.random.default_rng(seed), **options)


@FEW
@given(
    SIZES, SIZES, st.sampled_from(["u1", "u2", "f4"]), st.sampled_from([None, 1, 2, 3, 4]), SEEDS, st.floats(0.1, 10)
)
def test_a_crop_has_its_size_and_range_whatever_the_image(shape, size, dtype, channels, seed, scale):
    rng = np.random.default_rng(seed)
    image = (rng.random(shape if channels is None else (*shape, channels)) * 200).astype(dtype)
    labels = rng.integers(0, 9, shape).astype(np.uint16)
    pixels, found = crop(image, labels, size, seed, (20.0, 180.0), scale=(scale, scale))
    assert pixels.shape == (*size, 3)
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 1 + 1e-6
    assert found.shape == size
    assert found.dtype == np.uint16
    assert set(np.unique(found)) <= set(np.unique(labels))


@FEW
@given(st.integers(24, 40), st.floats(0.1, 1), SEEDS)
def test_stretching_changes_the_ratio_of_height_to_width_and_not_the_area(side, stretch, seed):
    _, labels = numbered(200, 200)
    _, found = crop(labels.astype(np.float32), labels, (side, side), seed, stretch=stretch)
    height, width = (found.max() // 200 - found.min() // 200 + 1, np.ptp(found % 200) + 1)
    assert 1 / (1 + stretch) - 0.1 <= height / width <= 1 + stretch + 0.1
    assert height * width == pytest.approx(side**2, rel=0.15)


def test_stretching_goes_both_ways():
    _, labels = numbered(200, 200)
    found = [crop(labels.astype(np.float32), labels, (32, 32), seed, stretch=0.5)[1] for seed in range(20)]
    widths = [np.ptp(labels % 200) + 1 for labels in found]
    assert min(widths) < 30 < 34 < max(widths)


@FEW
@given(SIZES, SIZES, SEEDS)
def test_without_scaling_it_is_a_window_of_the_mirrored_image(shape, size, seed):
    image, labels = numbered(*shape)
    pixels, found = crop(image, labels, size, seed)
    row, column = divmod(int(found[0, 0]), shape[1])
    missing = [(0, max(0, want - have)) for want, have in zip(size, shape, strict=True)]
    mirrored = np.pad(labels, missing, mode="symmetric")
    np.testing.assert_array_equal(found, mirrored[row : row + size[0], column : column + size[1]])
    for have, want, start in zip(shape, size, (row, column), strict=True):
        assert start <= max(0, have - want)  # mirrored only where the image is too small
    np.testing.assert_allclose(pixels[..., 0], found / max(labels.max(), 1), atol=1e-6)
    assert (np.ptp(pixels, axis=2) == 0).all()


@FEW
@given(st.integers(8, 60), st.integers(8, 60), SIZES, st.floats(0.6, 1.6), SEEDS)
def test_image_and_labels_stay_together_at_every_scale(height, width, size, scale, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (height, width)) * rng.integers(1, 99, (height, width))
    pixels, found = crop((labels > 0).astype(np.uint8), labels, size, seed, (0.0, 1.0), scale=(scale, scale))
    # Where smoothing leaves the image next to 0 or 1, all pixels that it comes from agree, and so must the label.
    np.testing.assert_array_equal(found[pixels[..., 0] > 0.97] > 0, True)
    np.testing.assert_array_equal(found[pixels[..., 0] < 0.03] > 0, False)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_nucleus_grows_by_the_factor(factor):
    rows, columns = np.mgrid[:200, :200]
    labels = ((rows - 100) ** 2 + (columns - 100) ** 2 < 20**2).astype(np.int32)
    size = (round(200 * factor), round(200 * factor))  # all of the image
    pixels, found = crop(labels.astype(np.uint8), labels, size, 0, (0.0, 1.0), scale=(factor, factor))
    assert found.sum() == pytest.approx(labels.sum() * factor**2, rel=0.02)
    assert pixels[..., 0].sum() == pytest.approx(labels.sum() * factor**2, rel=0.02)


def test_a_slope_that_is_enlarged_stays_a_slope():
    image = np.tile(np.arange(32, dtype=np.float32), (32, 1))
    pixels, _ = crop(image, np.zeros((32, 32), int), (64, 64), 0, (0.0, 31.0), scale=(2.0, 2.0))
    steps = np.diff(pixels[..., 0], axis=1)[:, 1:-1]
    np.testing.assert_allclose(steps, 0.5 / 31, atol=1e-5)


def test_scales_are_drawn_from_the_whole_range_and_alike_up_and_down():
    image, labels = numbered(400, 400)
    factors = []
    for seed in range(200):
        _, found = crop(image, labels, (50, 50), seed, scale=(0.5, 2.0))
        factors.append(50 / (found[0].max() - found[0].min() + 1))
    assert 0.49 < min(factors) < 0.55
    assert 1.8 < max(factors) < 2.2
    assert abs(np.mean(np.log(factors))) < 0.1


def test_places_are_drawn_from_the_whole_image():
    image, labels = numbered(10, 12)
    corners = {int(crop(image, labels, (8, 8), seed)[1][0, 0]) for seed in range(200)}
    assert corners == {12 * row + column for row in range(3) for column in range(5)}


@FEW
@given(SEEDS)
def test_the_seed_decides(seed):
    image, labels = numbered(30, 30)
    first, second = (crop(image, labels, (16, 16), seed, scale=(0.5, 2.0)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_values_are_scaled_by_the_range_that_is_given_not_by_the_crop():
    image, labels = np.full((8, 8), 50, np.uint8), np.zeros((8, 8), int)
    pixels, _ = crop(image, labels, (4, 4), 0, (0.0, 200.0))
    np.testing.assert_allclose(pixels, 0.25)
    pixels, _ = crop(image, labels, (4, 4), 0, (60.0, 200.0))
    np.testing.assert_array_equal(pixels, 0)


def test_colours_stay_and_alpha_goes():
    image = np.zeros((8, 8, 4), np.uint8)
    image[...] = (255, 128, 0, 7)
    pixels, _ = crop(image, np.zeros((8, 8), int), (4, 4), 0, (0.0, 255.0))
    np.testing.assert_allclose(pixels, np.broadcast_to([1, 128 / 255, 0], (4, 4, 3)), atol=1e-6)


@FEW
@given(st.tuples(st.integers(1, 12), st.integers(1, 12)), st.tuples(*[st.integers(1, 3)] * 2), SEEDS, st.floats(0.2, 3))
def test_mirrored_copies_are_nuclei_of_their_own_unless_they_touch(shape, times, seed, scale):
    labels = split_components(np.random.default_rng(seed).integers(0, 2, shape)) * 3
    image, size = np.zeros(shape, np.uint8), (shape[0] * times[0], shape[1] * times[1])
    whole, scaled = (
        cut_crop(image, labels, size, (0.0, 1.0), np.random.default_rng(seed), (factor, factor))
        for factor in (1, scale)
    )
    assert (whole.copies is None) == (times == (1, 1))
    if whole.copies is not None:
        parted = part_copies(whole.labels, *whole.copies)
        np.testing.assert_array_equal(same_order(parted), split_components(whole.labels > 0))
    if scaled.copies is not None:
        parted = part_copies(scaled.labels, *scaled.copies)
        np.testing.assert_array_equal(parted > 0, scaled.labels > 0)
        pairs = set(zip(parted.ravel().tolist(), scaled.labels.ravel().tolist(), strict=True))
        assert len(pairs) == len(np.unique(parted))  # each of them lies in one nucleus


def same_order(labels):
    """Numbers in the order of their first pixels."""
    values, first, ranks = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(np.where(values > 0, first, -1)))
    return order[ranks].reshape(labels.shape) + int(values[0] > 0)


def test_a_label_in_pieces_keeps_them_in_every_copy():
    labels = np.array([[0, 4, 0, 4, 0]])
    crop = cut_crop(labels.astype(np.uint8), labels, (1, 10), (0.0, 1.0), np.random.default_rng(0))
    assert part_copies(crop.labels, *crop.copies).tolist() == [[0, 1, 0, 1, 0, 0, 2, 0, 2, 0]]


class OnDisk:
    """An array that remembers how much of it was read."""

    def __init__(self, array):
        self.array, self.shape, self.ndim, self.read = array, array.shape, array.ndim, 0

    def __getitem__(self, window):
        part = self.array[window]
        self.read += part.size
        return part


def test_only_the_window_is_read():
    image, labels = (OnDisk(array) for array in numbered(500, 500))
    random_crop(image, labels, (20, 30), (0.0, 1.0), np.random.default_rng(0))
    assert (image.read, labels.read) == (600, 600)


def test_the_arguments_stay_as_they_were():
    image, labels = numbered(20, 20)
    before = image.copy(), labels.copy()
    pixels, _ = crop(image, labels, (20, 20), 0)
    pixels[:] = -1
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"labels": np.zeros((8, 9), int)},
            r"image and labels must have the same height and width, got \(8, 8\) and \(8, 9",
        ),
        ({"size": (0, 4)}, "size must be a whole number of at least 1, got 0"),
        ({"size": (4, 2.5)}, "size must be a whole number of at least 1, got 2.5"),
        ({"scale": (0.0, 1.0)}, "the lower scale must be a number from 0.1 to 10, got 0.0"),
        ({"scale": (1.0, 11.0)}, "the upper scale must be a number from 0.1 to 10, got 11.0"),
        ({"scale": (2.0, 1.0)}, r"scale must be \(smallest, largest\), got \(2.0, 1.0\); swap the two"),
        ({"scale": 2.0}, r"scale must be \(smallest, largest\), got 2.0; \(1, 1\) leaves the size as it is"),
        ({"image": np.full((8, 8), np.nan)}, "image must be finite"),
        ({"image": np.zeros((8, 8, 5)), "size": (8, 8)}, "must have 1 to 4 channels"),
        ({"value_range": (1.0, 0.0)}, "low"),
    ],
)
def test_arguments_are_checked(options, message):
    arguments = {
        "image": np.zeros((8, 8)),
        "labels": np.zeros((8, 8), int),
        "size": (4, 4),
        "value_range": (0.0, 1.0),
        "rng": np.random.default_rng(0),
        **options,
    }
    with pytest.raises(InvalidInputError, match=message):
        random_crop(**arguments)
