"""Quality flags: which images are told to be blurred, flat, clipped or empty."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from nucleiseg.errors import InvalidInputError
from nucleiseg.images import judge_image, sharpness

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


def test_image_and_labels_have_one_size():
    with pytest.raises(InvalidInputError, match="image and labels must have the same height and width"):
        judge_image(SHARP, NUCLEI[:9])
