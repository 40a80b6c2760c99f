from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances.run_lengths import decode_run_lengths, encode_run_lengths

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))


@settings(max_examples=50, deadline=None)
@given(masks)
def test_decoding_undoes_encoding(mask):
    decoded = decode_run_lengths(encode_run_lengths(mask), mask.shape)
    assert decoded.dtype == bool
    np.testing.assert_array_equal(decoded, mask)


@settings(max_examples=50, deadline=None)
@given(masks, st.randoms())
def test_runs_may_come_in_any_order_and_touch(mask, random):
    pixels = [f"{index + 1} 1" for index in np.flatnonzero(mask.ravel(order="F"))]
    random.shuffle(pixels)
    np.testing.assert_array_equal(decode_run_lengths(" ".join(pixels), mask.shape), mask)


def test_pixels_are_counted_from_one_down_the_columns():
    mask = np.zeros((3, 4), bool)
    mask[1, 0] = mask[2, 0] = mask[0, 1] = mask[2, 3] = True
    assert encode_run_lengths(mask) == "2 3 12 1"


def test_labels_count_as_inside():
    assert encode_run_lengths(np.array([[0, 7], [0, 9]])) == "3 2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3", "pairs"),
        ("1 two", "whole numbers"),
        ("1 -2", "whole numbers"),
        ("1.0 2", "whole numbers"),
        ("1 " + "9" * 30, "whole numbers"),
        (float("nan"), "whole numbers"),
        ("1 3 3 1", "overlap"),
        ("5 2 5 2", "overlap"),
        ("0 1", "lie in pixels 1 to 12"),
        ("12 2", "lie in pixels 1 to 12"),
        ("13 1", "lie in pixels 1 to 12"),
        ("2 0", "length of at least 1"),
    ],
)
def test_malformed_text_is_refused(text, message):
    with pytest.raises(InvalidInputError, match=message):
        decode_run_lengths(text, (3, 4))


def test_long_text_is_shortened_in_the_message():
    with pytest.raises(InvalidInputError) as caught:
        decode_run_lengths("1 1 " * 1000 + "1", (3, 4))
    assert len(str(caught.value)) < 200


def test_shape_and_mask_are_checked():
    with pytest.raises(InvalidInputError, match="shape"):
        decode_run_lengths("1 1", (3, 0))
    with pytest.raises(InvalidInputError, match="mask must be"):
        encode_run_lengths(np.zeros((2, 2, 2), bool))
