"""The shared checks: what passes comes back ready to use, what does not is refused with a remedy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nucleiseg._checks import (
    MAX_CHANNELS,
    check_choice,
    check_count,
    check_flag,
    check_image,
    check_labels,
    check_number_array,
    check_range,
    check_same_size,
    check_size,
    describe,
)
from nucleiseg.errors import InvalidInputError, NucleisegError

LAW = settings(max_examples=50, deadline=None)
NUMBERS = st.one_of(
    arrays.boolean_dtypes(), arrays.integer_dtypes(), arrays.unsigned_integer_dtypes(), arrays.floating_dtypes()
)
SIDES = st.integers(1, 6)


def refused(call, *parts):
    """The call is refused in one line that holds all parts."""
    with pytest.raises(InvalidInputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, NucleisegError)


def test_describe_says_shape_and_dtype():
    assert describe(np.zeros((0, 3), bool)) == "shape (0, 3), dtype bool"


class TestNumberArray:
    @LAW
    @given(NUMBERS, st.lists(SIDES, max_size=3))
    def test_real_numbers_pass_unchanged(self, dtype, shape):
        array = np.ones(shape, dtype)
        assert check_number_array(array, "x") is array

    def test_sequences_become_arrays(self):
        assert check_number_array([[1, 2]], "x").shape == (1, 2)

    @pytest.mark.parametrize("value", ["text", np.array(["a"]), np.ones(2, complex), np.array([object()]), None])
    def test_other_types_are_refused(self, value):
        refused(lambda: check_number_array(value, "intensity"), "intensity must hold real numbers", "convert it")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_not_finite_is_refused(self, bad):
        refused(lambda: check_number_array([1.0, bad], "intensity"), "intensity must be finite", "numpy.nan_to_num")


class TestImage:
    @LAW
    @given(NUMBERS, SIDES, SIDES, st.sampled_from([(), (1,), (2,), (3,), (4,)]))
    def test_images_pass_unchanged(self, dtype, height, width, channels):
        image = np.zeros((height, width, *channels), dtype)
        assert check_image(image) is image

    @pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4, 1), (0, 5), (5, 0), (5, 5, 0)])
    def test_other_shapes_are_refused(self, shape):
        refused(
            lambda: check_image(np.zeros(shape), "tissue"),
            "tissue must be (H, W) or (H, W, C) with at least one pixel",
            f"got shape {shape}, dtype float64",
            "pass one image at a time",
        )

    def test_too_many_channels_are_refused(self):
        refused(
            lambda: check_image(np.zeros((9, 9, MAX_CHANNELS + 1))), "1 to 4 channels", "(9, 9, 5)", "image[..., :3]"
        )

    def test_channels_first_are_recognised(self):
        refused(lambda: check_image(np.zeros((3, 9, 9))), "channels last", "(3, 9, 9)", "numpy.moveaxis(image, 0, -1)")
        refused(lambda: check_image(np.zeros((3, 9, 9))), "list(image) if these are several images")

    def test_numbers_are_checked_too(self):
        refused(lambda: check_image([[np.nan]]), "image must be finite")
        refused(lambda: check_image([["a"]]), "image must hold real numbers")


class TestLabels:
    @LAW
    @given(st.one_of(arrays.boolean_dtypes(), arrays.integer_dtypes(), arrays.unsigned_integer_dtypes()), SIDES, SIDES)
    def test_labels_pass_unchanged(self, dtype, height, width):
        labels = np.ones((height, width), dtype)
        assert check_labels(labels) is labels

    @pytest.mark.parametrize("shape", [(), (5,), (5, 5, 1), (0, 5), (5, 0)])
    def test_other_shapes_are_refused(self, shape):
        refused(lambda: check_labels(np.zeros(shape, int), "truth"), "truth must be (H, W) with at least one pixel")

    def test_masks_with_a_channel_axis_are_recognised(self):
        refused(lambda: check_labels(np.zeros((9, 9, 1), int)), "must be (H, W)", "(9, 9, 1)", "use labels[..., 0]")

    @pytest.mark.parametrize("dtype", [float, complex, "U1"])
    def test_what_is_not_whole_is_refused(self, dtype):
        refused(lambda: check_labels(np.zeros((2, 2), dtype)), "labels must be integers", "labels.astype('int32')")

    def test_negative_values_are_refused(self):
        refused(lambda: check_labels([[0, -7]]), "must not be negative", "minimum of -7", "set background to 0")


class TestSameSize:
    def test_channels_do_not_count(self):
        check_same_size(np.zeros((2, 3, 4)), np.zeros((2, 3)), ("image", "labels"))

    def test_other_sizes_are_refused(self):
        refused(
            lambda: check_same_size(np.zeros((2, 3)), np.zeros((3, 2)), ("image", "labels")),
            "image and labels must have the same height and width",
            "(2, 3) and (3, 2)",
            "same field of view",
        )


class TestRange:
    @LAW
    @given(st.floats(0, 1))
    def test_bounds_are_included(self, value):
        assert check_range(value, "threshold", 0, 1) == value

    @pytest.mark.parametrize("value", [0, 1, np.float32(0.5), np.int8(1)])
    def test_numbers_become_floats(self, value):
        assert type(check_range(value, "threshold", 0, 1)) is float

    @pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf"), "0.5", None, [0.5], 0.5j, True])
    def test_others_are_refused(self, value):
        refused(lambda: check_range(value, "threshold", 0, 1), "threshold must be a number from 0 to 1", repr(value))


class TestCount:
    @LAW
    @given(st.integers(-5, 5), st.integers(0, 1000))
    def test_whole_numbers_from_the_bound_pass(self, low, more):
        assert check_count(low + more, "epochs", low) == low + more

    def test_numpy_integers_become_int(self):
        assert type(check_count(np.uint8(3), "epochs")) is int

    @pytest.mark.parametrize("value", [0, -1, 1.0, "1", True, None, np.bool_(True), float("nan")])
    def test_others_are_refused(self, value):
        refused(lambda: check_count(value, "epochs"), "epochs must be a whole number of at least 1", repr(value))


class TestFlag:
    def test_truth_passes(self):
        assert check_flag(True, "half") is True
        assert check_flag(False, "half") is False

    @pytest.mark.parametrize("value", ["false", "", 1, 0, None])
    def test_what_only_counts_as_truth_is_refused(self, value):
        refused(lambda: check_flag(value, "half"), "half must be true or false", repr(value), "quotation marks")


class TestSize:
    @pytest.mark.parametrize("value", [(3, 4), [3, 4], (np.int64(3), np.uint8(4))])
    def test_height_and_width_become_int(self, value):
        assert check_size(value, "crop") == (3, 4)
        assert {type(length) for length in check_size(value, "crop")} == {int}

    @pytest.mark.parametrize("value", [256, (256,), (1, 2, 3), None, "ab", {1: 2, 3: 4}])
    def test_what_is_no_pair_is_refused(self, value):
        refused(lambda: check_size(value, "crop"), "crop must be (height, width)", repr(value), "(256, 256)")

    @pytest.mark.parametrize("value", [(0, 4), (4, 2.5)])
    def test_pairs_of_other_numbers_are_refused(self, value):
        refused(lambda: check_size(value, "crop"), "crop must be a whole number of at least 1")


class TestChoice:
    def test_a_known_name_passes(self):
        assert check_choice("dice", "loss", ["focal", "dice"]) == "dice"

    def test_an_unknown_one_lists_the_choices_sorted(self):
        refused(lambda: check_choice("xyz", "loss", ["focal", "dice"]), "unknown loss 'xyz'; choose one of dice, focal")

    def test_a_typing_error_is_guessed(self):
        refused(lambda: check_choice("dise", "loss", iter(["focal", "dice"])), "did you mean 'dice'?")

    def test_without_any_choice_it_says_so(self):
        refused(lambda: check_choice("x", "plugin", []), "choose one of (none)")

    @pytest.mark.parametrize("value", [None, 3, ("a",)])
    def test_what_is_no_name_is_refused(self, value):
        refused(lambda: check_choice(value, "loss", ["dice"]), f"unknown loss {value!r}")
