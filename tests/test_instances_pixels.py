from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import PixelCounts, count_pixels

FEW = settings(max_examples=50, deadline=None)
SCORES = ("accuracy", "dice", "iou", "precision", "recall")
PAIRS = hnp.array_shapes(min_dims=2, max_dims=3, max_side=8).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


@FEW
@given(PAIRS)
def test_counts_are_those_of_the_definition(pair):
    truth, predicted = pair
    assert count_pixels(truth, predicted) == PixelCounts(
        tp=(truth & predicted).sum(),
        fp=(~truth & predicted).sum(),
        fn=(truth & ~predicted).sum(),
        tn=(~truth & ~predicted).sum(),
    )


@FEW
@given(PAIRS)
def test_exchanging_the_masks(pair):
    there, back = count_pixels(*pair), count_pixels(*reversed(pair))
    assert (there.dice, there.iou, there.accuracy) == (back.dice, back.iou, back.accuracy)
    assert (there.precision, there.recall) == (back.recall, back.precision)


@FEW
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_the_pixels_does_not_matter(pair, random):
    order = list(range(pair[0].size))
    random.shuffle(order)
    assert count_pixels(*(mask.ravel()[order] for mask in pair)) == count_pixels(*pair)


@FEW
@given(PAIRS, PAIRS)
def test_adding_counts_is_counting_both(first, second):
    both = count_pixels(*(np.concatenate([a.ravel(), b.ravel()]) for a, b in zip(first, second, strict=True)))
    assert count_pixels(*first) + count_pixels(*second) == both


@FEW
@given(PAIRS)
def test_scores_are_shares_and_1_for_equal_masks(pair):
    counts = count_pixels(*pair)
    assert all(0 <= getattr(counts, name) <= 1 for name in SCORES)
    assert counts.iou <= counts.dice
    assert counts.dice == pytest.approx(2 * counts.iou / (1 + counts.iou))
    same = count_pixels(pair[0], pair[0])
    assert [getattr(same, name) for name in SCORES] == [1.0] * 5


@pytest.mark.parametrize(
    ("counts", "scores"),
    [
        (PixelCounts(0, 0, 0, 9), (1.0, 1.0, 1.0, 1.0, 1.0)),
        (PixelCounts(0, 0, 0, 0), (1.0, 1.0, 1.0, 1.0, 1.0)),
        (PixelCounts(0, 2, 0, 2), (0.5, 0.0, 0.0, 0.0, 0.0)),
        (PixelCounts(0, 0, 2, 2), (0.5, 0.0, 0.0, 0.0, 0.0)),
        (PixelCounts(3, 1, 2, 4), (0.7, 6 / 9, 0.5, 0.75, 0.6)),
    ],
)
def test_scores(counts, scores):
    assert tuple(getattr(counts, name) for name in SCORES) == scores


def test_masks_may_be_of_any_dtype():
    truth = np.array([[0, 1, 1]])
    for dtype in (bool, np.uint8, np.float32):
        assert count_pixels(truth, truth.astype(dtype)) == PixelCounts(tp=2, fp=0, fn=0, tn=1)


def test_only_counts_can_be_added():
    with pytest.raises(TypeError):
        PixelCounts(1, 2, 3, 4) + 5


@pytest.mark.parametrize("name", ["tp", "fp", "fn", "tn"])
@pytest.mark.parametrize("value", [-1, 0.5])
def test_counts_are_whole_and_not_negative(name, value):
    with pytest.raises(InvalidInputError, match=f"{name} must be a whole number of at least 0"):
        PixelCounts(**{"tp": 0, "fp": 0, "fn": 0, "tn": 0, name: value})


def test_masks_are_checked():
    with pytest.raises(InvalidInputError, match="must have the same shape"):
        count_pixels(np.zeros((2, 2)), np.zeros((2, 2, 1)))
    with pytest.raises(InvalidInputError, match=r"predicted_mask must hold 0 and 1 only, .* use labels > 0"):
        count_pixels([[0, 1]], [[0, 0.7]])
    with pytest.raises(InvalidInputError, match="truth_mask must hold 0 and 1 only"):
        count_pixels([[0, 255]], [[0, 1]])
