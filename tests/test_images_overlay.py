from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.images import overlay, rescale
from nucleiseg.images.overlay import CASING, LINE, overlay_bands


def is_colour(picture, colour):
    return (picture == np.array(colour)).all(axis=2)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, 3)))
def test_line_inside_and_casing_outside(labels):
    image = np.full(labels.shape, 9, np.uint8)
    picture = overlay(image, labels)
    assert picture.shape == (*labels.shape, 3)
    assert picture.dtype == np.uint8
    line, casing = is_colour(picture, LINE), is_colour(picture, CASING)
    assert (labels[line] > 0).all()
    assert (labels[casing] == 0).all()
    differs = np.zeros(labels.shape, bool)
    differs[1:] |= labels[1:] != labels[:-1]
    differs[:-1] |= labels[1:] != labels[:-1]
    differs[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    differs[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    np.testing.assert_array_equal(line, differs & (labels > 0))


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, bool])
def test_without_nuclei_the_picture_is_the_image_stretched(channels, dtype):
    shape = (12, 9) if channels is None else (12, 9, channels)
    image = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    picture = overlay(image, np.zeros((12, 9), int))
    colour = image[..., :3] if channels in (3, 4) else (image if channels is None else image[..., 0])[..., np.newaxis]
    np.testing.assert_array_equal(picture, np.rint(np.broadcast_to(rescale(colour), (12, 9, 3)) * 255))


def test_dark_images_are_shown_bright():
    image = np.random.default_rng(0).integers(100, 140, (50, 50)).astype(np.uint16)
    assert np.ptp(overlay(image, np.zeros((50, 50), int))) > 200


def test_lines_are_wider_on_large_images():
    def width(side):
        labels = np.zeros((side, side), int)
        labels[side // 4 : side // 2] = 1
        return is_colour(overlay(np.zeros((side, side), np.uint8), labels)[:, :1], LINE).sum() // 2

    assert [width(100), width(799), width(800), width(1600)] == [1, 1, 2, 3]


def test_the_arguments_are_not_changed():
    image, labels = np.zeros((6, 6, 3), np.uint8), np.eye(6, dtype=int)
    overlay(image, labels)
    assert not image.any()
    np.testing.assert_array_equal(labels, np.eye(6))


def test_arguments_are_checked():
    with pytest.raises(InvalidInputError, match="image and labels must have the same height and width"):
        overlay(np.zeros((4, 5)), np.zeros((5, 4), int))
    with pytest.raises(InvalidInputError, match="labels must be integers"):
        overlay(np.zeros((4, 5)), np.zeros((4, 5)))
    with pytest.raises(InvalidInputError, match="image must"):
        overlay(np.zeros(4), np.zeros((4, 5), int))


@settings(max_examples=30, deadline=None)
@example(900, 45, 0, 0)
@given(st.integers(1, 900), st.integers(1, 40), st.integers(0, 99), st.integers(0, 3000))
def test_pictures_are_the_same_however_they_are_cut(height, width, seed, at_once):
    """Lines reach as far over a cut as they are wide, two pixels where the shorter side has 800."""
    chance = np.random.default_rng(seed)
    shape = (height, width) if seed % 2 else (height, 20 * width)
    labels = np.kron(chance.integers(0, 4, (-(-shape[0] // 5), -(-shape[1] // 5))), np.ones((5, 5), int))
    labels, image = labels[: shape[0], : shape[1]], chance.integers(0, 256, (*shape, 3)).astype(np.uint8)
    whole = overlay(image, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["nucleiseg.images.overlay"], "_AT_ONCE", at_once)
        np.testing.assert_array_equal(overlay(image, labels), whole)


def test_large_pictures_are_drawn_without_copies_of_the_image():
    image, labels = np.zeros((3000, 3000, 3), np.uint8), np.zeros((3000, 3000), np.int32)
    image[::2] = 200
    labels[500:900, 100:2000] = 1
    tracemalloc.start()
    try:
        rows = sum(len(band) for band in overlay_bands(image, labels))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 3000
    assert peak < 2 * image.nbytes  # as floats alone it takes four times its memory
