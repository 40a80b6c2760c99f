"""Quality flags: which images are told to be blurred, flat, clipped or empty."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from nucleiseg.errors import InvalidInputError
from nucleiseg.images import judge_image, sharpness
from nucleiseg.images.quality import judge_sample
from nucleiseg.images.sampling import sample_pixels

NUCLEI = np.zeros((64, 64), int)
NUCLEI[8:24, 8:24], NUCLEI[40:60, 30:50] = 1, 2
SHARP = (np.random.default_rng(0).normal(600, 60, (64, 64)) + 2000 * (NUCLEI > 0)).clip(0, 4094).astype(np.uint16)


@given(st.floats(0.001, 1000), st.floats(-100, 100))
def test_neither_brightness_nor_contrast_changes_sharpness(contrast, shift):
    assert sharpness(SHARP * contrast + shift) == pytest.approx(sharpness(SHARP), rel=1e-3)


@given(st.tuples(st.integers(20, 60), st.integers(20, 60)), st.integers(0, 99))
def test_sharpness_is_what_gaussians_take_away(shape, seed):
    image = gaussian_filter(np.random.default_rng(seed).random(shape), seed % 3)
    fine, coarse = (np.std(image - gaussian_filter(image, sigma, truncate=8)) for sigma in (1, 4))
    assert sharpness(image) == pytest.approx(fine / coarse, rel=0.03)  # Gaussians of whole pixels are not quite such


@pytest.mark.parametrize("shape", [(250, 333), (520, 696), (64, 64)])
def test_one_colour_is_not_sharp(shape):
    for colour in np.random.default_rng(0).integers(0, 256, (9, 3)):
        blank = np.broadcast_to(colour.astype(np.uint8), (*shape, 3))
        assert sharpness(blank) == pytest.approx(0, abs=1e-3)
        assert "blurred" in judge_image(blank, np.zeros(shape, int)) or len(set(colour)) == 1


def test_the_more_blur_the_less_sharpness():
    image = skimage.data.immunohistochemistry().astype(float)
    values = [sharpness(gaussian_filter(image, (blur, blur, 0))) for blur in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.15
    assert values[-1] < 0.12


def test_a_good_image_has_no_flag():
    assert judge_image(SHARP, NUCLEI) == ()
    assert judge_image(np.stack([SHARP] * 3, axis=-1), NUCLEI) == ()


def test_blur_is_told():
    assert judge_image(gaussian_filter(SHARP.astype(float), 3), NUCLEI) == ("blurred",)


def test_clipped_nuclei_are_told_also_where_the_camera_has_fewer_bits_than_the_file():
    for top in (65535, 4095):
        clipped = SHARP.copy()
        clipped[NUCLEI == 1] = top
        assert judge_image(clipped, NUCLEI) == ("saturated",)
    colour = np.stack([SHARP, SHARP, np.where(NUCLEI == 1, 4095, SHARP)], axis=-1)
    assert judge_image(colour, NUCLEI) == ("saturated",)


def test_a_white_ground_is_not_clipped_nuclei():
    tissue = np.where(NUCLEI > 0, 90 + SHARP % 40, 255).astype(np.uint8)
    assert "saturated" not in judge_image(tissue, NUCLEI)


def test_flat_and_empty_are_told():
    assert judge_image(np.full((9, 9), 7, np.uint8), np.zeros((9, 9), int)) == ("flat", "empty")
    assert judge_image(SHARP, NUCLEI * 0) == ("empty",)


TISSUE = skimage.data.immunohistochemistry()


@pytest.mark.parametrize("shape", [(3000, 2500), (600, 8000)])
@pytest.mark.parametrize("blur", [0, 1, 3])
def test_a_sample_tells_how_sharp_a_large_image_is(shape, blur):
    tile = gaussian_filter(TISSUE, (blur, blur, 0)) if blur else TISSUE
    # Mirrored, since edges between tiles would be sharp.
    large = np.pad(tile, ((0, max(shape[0] - 512, 0)), (0, shape[1] - 512), (0, 0)), "symmetric")
    assert sharpness(large) == pytest.approx(sharpness(tile), rel=0.1)
    assert ("blurred" in judge_image(large, np.zeros(shape, int))) == (blur == 3)


def test_large_images_are_judged_without_copies():
    large, labels = np.tile(TISSUE, (6, 6, 1)), np.zeros((3072, 3072), np.int32)
    labels[100:900, 100:900] = 1
    sharpness(TISSUE)  # imports
    tracemalloc.start()
    try:
        judge_image(large, labels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * large.nbytes  # as floats it takes four times its memory


def test_a_sample_of_one_value_is_no_blur():
    """What there is lies between the patches of the sample, which begin some 196 pixels apart."""
    large = np.zeros((3072, 3072), np.uint8)
    large[140:180, 140:180] = np.random.default_rng(0).integers(0, 256, (40, 40))
    labels = np.zeros(large.shape, np.int32)
    labels[150:170, 150:170] = 1
    assert sample_pixels(large).max() == 0
    assert judge_image(large, labels) == ()
    assert judge_sample(sample_pixels(large), sample_pixels(labels), large.shape, 1) == ()
    assert judge_sample(sample_pixels(large), sample_pixels(labels), large.shape, 0) == ("flat", "empty")


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([0, 3]), st.sampled_from([4094, 65535]), st.booleans(), st.booleans())
def test_of_small_images_the_sample_is_judged_as_the_image_is(blur, top, found, flat):
    image = np.full_like(SHARP, 9) if flat else gaussian_filter(np.where(NUCLEI == 1, top, SHARP), blur)
    labels = NUCLEI * found
    assert judge_sample(image, labels, image.shape, int(labels.max())) == judge_image(image, labels)


def test_few_pixels_of_nuclei_in_a_sample_tell_no_clipping():
    large = np.tile(TISSUE, (6, 6, 1))
    sample = sample_pixels(large)
    for side, told in ((20, ()), (100, ("saturated",))):
        labels = np.zeros(sample.shape[:2], int)
        labels[:side, :side] = 1
        assert judge_sample(np.where(labels[..., np.newaxis] > 0, 255, sample), labels, large.shape[:2], 1) == told


def test_image_and_labels_have_one_size():
    with pytest.raises(InvalidInputError, match="image and labels must have the same height and width"):
        judge_image(SHARP, NUCLEI[:9])
