from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.images import binarize, list_binarizers, register_binarizer, unbinarize
from nucleiseg.images.binarizers import _BINARIZERS

FEW = settings(max_examples=40, deadline=None)
# Sides of 2 at least: a last axis of length 1 would be the channel.
SHAPES = hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=8)


@FEW
@given(st.sampled_from(["u1", "u2", "i4", "i8", "?"]).flatmap(lambda kind: hnp.arrays(kind, SHAPES)))
def test_labels_become_a_mask_with_a_channel(labels):
    labels = np.abs(labels) if labels.dtype.kind == "i" else labels
    labels = np.maximum(labels, 0)
    before = labels.copy()
    mask = binarize(labels)
    assert mask.dtype == np.uint8
    assert mask.shape == (*labels.shape, 1)
    np.testing.assert_array_equal(mask[..., 0] == 1, labels > 0)
    np.testing.assert_array_equal(binarize(labels[..., np.newaxis]), mask)
    np.testing.assert_array_equal(labels, before)


@FEW
@given(hnp.arrays(bool, SHAPES), st.sampled_from([("mask", 1), ("mask255", 255)]), st.sampled_from("Bif"))
def test_masks_come_back_from_what_they_became(nuclei, method, dtype):
    name, top = method
    array = nuclei.astype(dtype) * top
    mask = binarize(array, name)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask[..., 0] == 1, nuclei)
    back = unbinarize(mask, name)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(binarize(back, name), mask)


@FEW
@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)), st.floats(0, 1))
def test_a_probability_above_the_threshold_is_a_nucleus(probability, threshold):
    mask = binarize(probability, "probability", threshold)
    np.testing.assert_array_equal(mask[..., 0] == 1, probability > threshold)
    higher = binarize(probability, "probability", min(1, threshold + 0.25))
    assert (higher <= mask).all()


def test_a_mask_may_be_bool():
    assert binarize(np.array([[True, False]]), "mask").ravel().tolist() == [1, 0]
    assert binarize(np.array([[True, False]])).ravel().tolist() == [1, 0]


@pytest.mark.parametrize(
    ("array", "method", "remedy"),
    [
        (np.array([[0.0, 1.0]]), "labels", "use the binarizer 'probability'"),
        (np.array([[0, -1]]), "labels", "from 0, got shape"),
        (np.array([[0, 255]]), "mask", "use the binarizer 'mask255'"),
        (np.array([[0, 0.5]]), "mask", "'probability' for floats"),
        (np.array([[0, 17, 255]], np.uint8), "mask255", "'probability' on array / 255"),
        (np.array([[False, True]]), "mask255", "use the binarizer 'mask'"),
        (np.array([[0, 1.01]]), "probability", "divide an 8-bit mask by 255"),
        (np.array([[-0.5, 1]]), "probability", "pass scores through a sigmoid"),
        (np.array([[np.nan, 1]]), "probability", "must be finite"),
    ],
)
def test_values_that_a_binarizer_does_not_take(array, method, remedy):
    with pytest.raises(InvalidInputError, match=remedy):
        binarize(array, method)


@pytest.mark.parametrize("shape", [(), (5,), (0, 4), (2, 3, 4, 5), (1, 2, 3, 4, 1)])
def test_shapes_that_are_no_mask(shape):
    with pytest.raises(InvalidInputError, match="array must be"):
        binarize(np.zeros(shape, int))


def test_threshold_and_method_are_checked():
    with pytest.raises(InvalidInputError, match="threshold must be a number from 0 to 1"):
        binarize(np.zeros((2, 2)), "probability", threshold=2)
    with pytest.raises(InvalidInputError, match="did you mean 'labels'"):
        binarize(np.zeros((2, 2)), "label")
    with pytest.raises(InvalidInputError, match="unknown binarizer"):
        unbinarize(np.zeros((2, 2, 1)), "nothing")


@pytest.mark.parametrize("method", ["labels", "probability"])
def test_what_loses_information_cannot_be_undone(method):
    with pytest.raises(InvalidInputError, match=r"cannot be undone.*use one of mask, mask255"):
        unbinarize(np.zeros((2, 2, 1), np.uint8), method)


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros((2, 2, 3)), np.full((2, 2, 1), 255)])
def test_only_masks_are_undone(mask):
    with pytest.raises(InvalidInputError, match="pass what binarize returns"):
        unbinarize(mask, "mask255")


def test_binarizers_can_be_added():
    @register_binarizer("dark", inverse=lambda mask: 9 * (1 - mask))
    def dark(array, threshold):
        return array == 0

    try:
        assert "dark" in list_binarizers()
        assert binarize([[0, 9]], "dark").ravel().tolist() == [1, 0]
        assert unbinarize(binarize([[0, 9]], "dark"), "dark").tolist() == [[0, 9]]
        with pytest.raises(InvalidInputError, match="registered already"):
            register_binarizer("dark")(dark)
    finally:
        _BINARIZERS.unregister("dark")


@pytest.mark.parametrize(
    ("binarizer", "got"),
    [
        (lambda array, threshold: array[..., 0] > 0, r"\(2, 8, 9\)"),
        (lambda array, threshold: np.repeat(array, 2, -1), r"\(2, 8, 9, 2\)"),
        (lambda array, threshold: array.any(), r"\(\)"),
    ],
)
def test_a_binarizer_that_gives_another_shape_is_named(binarizer, got):
    register_binarizer("other")(binarizer)
    try:
        with pytest.raises(InvalidInputError, match=rf"here \(2, 8, 9, 1\), got {got} from 'other'; return an array"):
            binarize(np.ones((2, 8, 9), int), "other")
    finally:
        _BINARIZERS.unregister("other")
