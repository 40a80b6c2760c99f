"""Comparing label images: laws of the scores, edge cases, and plain implementations that they must agree with."""

from __future__ import annotations

import math
import re
from dataclasses import astuple, replace
from fractions import Fraction

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import (
    THRESHOLDS,
    ErrorCounts,
    InstanceCounts,
    JaccardCounts,
    MatchCounts,
    PixelCounts,
    assign,
    count_instances,
    count_overlap,
    count_pixels,
    match,
    score_images,
)

FEW = settings(max_examples=50, deadline=None)
MANY_THRESHOLDS = (0.1, 0.25, *THRESHOLDS, 1.0)
SCORES = [
    *("average_precision", "f1", "precision", "recall"),
    *("segmentation_quality", "recognition_quality", "panoptic_quality"),
]


def draw_pair(seed):
    """Two label images with gaps in their numbers, nuclei in pieces, and ties; two times of three they are alike."""
    random = np.random.default_rng(seed)
    shape, scale = random.integers(1, 8, 2), np.ones(random.integers(1, 4, 2), int)
    truth = np.kron(random.choice([0, 0, 3, 4, 90, 700, 1000], shape), scale)
    if seed % 3 == 0:
        return truth, np.kron(random.choice([0, 2, 5, 6], shape), scale)
    predicted = np.roll(truth, random.integers(-1, 2, 2), (0, 1)) * 3
    spots = random.random(truth.shape) < 0.1 * (seed % 3)
    predicted[spots] = random.choice([0, 9, 270, 1], spots.sum())
    return truth, predicted


PAIRS = st.builds(draw_pair, st.integers(0, 2**32))


# ---- Plain implementations: a mask for each nucleus, exact fractions, every pair looked at. ----


def masks(labels):
    """A mask for each nucleus, in the order of their first pixels."""
    return [labels == value for value in dict.fromkeys(labels.ravel().tolist()) if value != 0]


def plain_table(truth, predicted):
    """Shared and joined pixels of each pair of nuclei that touch, by their two numbers."""
    return {
        (i, j): (int((one & other).sum()), int((one | other).sum()))
        for i, one in enumerate(masks(truth))
        for j, other in enumerate(masks(predicted))
        if (one & other).any()
    }


def plain_best(weights):
    """The pairs, one to one, of the highest sum of weights; weights are fractions, scaled to whole numbers."""
    scale = math.lcm(*(weight.denominator for weight in weights.values()))
    graph = networkx.Graph()
    for (i, j), weight in weights.items():
        graph.add_edge(("truth", i), ("predicted", j), weight=int(weight * scale))
    return [(dict(edge)["truth"], dict(edge)["predicted"]) for edge in networkx.max_weight_matching(graph)]


def plain_iou(truth, predicted):
    return {pair: Fraction(*areas) for pair, areas in plain_table(truth, predicted).items()}


def plain_matches(truth, predicted, threshold):
    """IoUs of the pairs that match: most pairs, then the highest sum of all IoUs, then that of the matches."""
    iou = plain_iou(truth, predicted)
    level = Fraction(str(threshold))
    weights = {
        pair: 10**9 * (value >= level) + value + Fraction((value >= level) * value, 10**9)
        for pair, value in iou.items()
    }
    return [iou[pair] for pair in plain_best(weights) if iou[pair] >= level]


def plain_aji(truth, predicted):
    """Kumar et al., algorithm 1."""
    table, predictions = plain_table(truth, predicted), masks(predicted)
    shared = joined = 0
    used = set()
    for i, nucleus in enumerate(masks(truth)):
        partners = {j: Fraction(*areas) for (number, j), areas in table.items() if number == i}
        if not partners:
            joined += int(nucleus.sum())
            continue
        best = max(partners, key=partners.get)  # the first of several
        used.add(best)
        shared += table[i, best][0]
        joined += table[i, best][1]
    joined += sum(int(mask.sum()) for j, mask in enumerate(predictions) if j not in used)
    return JaccardCounts(shared, joined)


def plain_aji_plus(truth, predicted):
    table = plain_table(truth, predicted)
    weights = {pair: Fraction(*areas) + Fraction(areas[0], 10**12) for pair, areas in table.items()}
    pairs = plain_best(weights)
    joined = sum(table[pair][1] for pair in pairs)
    for side, found in enumerate((truth, predicted)):
        paired = {pair[side] for pair in pairs}
        joined += sum(int(mask.sum()) for number, mask in enumerate(masks(found)) if number not in paired)
    return JaccardCounts(sum(table[pair][0] for pair in pairs), joined)


@FEW
@given(PAIRS)
def test_the_overlap_holds_every_pair_that_shares_a_pixel(pair):
    truth, predicted = pair
    overlap = count_overlap(truth, predicted)
    np.testing.assert_array_equal([truth == label for label in overlap.truth_labels], masks(truth))
    np.testing.assert_array_equal([predicted == label for label in overlap.predicted_labels], masks(predicted))
    pairs = zip(overlap.truth_index.tolist(), overlap.predicted_index.tolist(), strict=True)
    areas = zip(overlap.shared.tolist(), overlap.union.tolist(), strict=True)
    assert list(zip(pairs, areas, strict=True)) == list(plain_table(truth, predicted).items())
    assert overlap.truth_areas.tolist() == [mask.sum() for mask in masks(truth)]
    assert overlap.predicted_areas.tolist() == [mask.sum() for mask in masks(predicted)]
    assert overlap.pixels == count_pixels(truth > 0, predicted > 0)


@FEW
@given(PAIRS)
def test_outlines_are_edges_of_pixels_within_the_image(pair):
    truth, _ = pair
    edges = [
        sum(np.count_nonzero(np.diff(mask.astype(int), axis=axis)) for axis in (0, 1)) * math.pi / 4
        for mask in masks(truth)
    ]
    np.testing.assert_allclose(count_overlap(truth, truth).outlines, edges)


@FEW
@given(PAIRS, st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 0.6, 0.95]))
def test_the_assignment_is_the_best_one_to_one(pair, threshold):
    threshold = round(threshold, 9)
    overlap = count_overlap(*pair)
    pairs = assign(overlap, threshold)
    for side in (overlap.truth_index[pairs], overlap.predicted_index[pairs]):
        assert np.unique(side).size == pairs.size
    expected = plain_matches(*pair, threshold)
    assert pairs.size == len(expected)
    assert overlap.iou[pairs].sum() == pytest.approx(float(sum(expected)), abs=1e-9)


@FEW
@given(PAIRS)
def test_scores_agree_with_plain_implementations(pair):
    truth, predicted = pair
    counts = match(truth, predicted)
    assert counts.aji_counts == plain_aji(truth, predicted)
    assert counts.aji_plus_counts == plain_aji_plus(truth, predicted)
    for threshold in (0.5, 0.75):
        matches = plain_matches(truth, predicted, threshold)
        nuclei = len(masks(truth)) + len(masks(predicted))
        expected = sum(matches) / Fraction(nuclei, 2) if nuclei else 1
        assert counts.at(threshold).panoptic_quality == pytest.approx(float(expected), abs=1e-12)


# ---- Laws. ----


@FEW
@given(PAIRS)
def test_identity_scores_one(pair):
    truth, _ = pair
    counts = match(truth, truth, MANY_THRESHOLDS)
    assert {getattr(at, name) for at in counts.matches for name in SCORES} == {1.0}
    assert (counts.aji, counts.aji_plus, counts.mean_average_precision) == (1, 1, pytest.approx(1))
    assert (counts.pixels.dice, counts.pixels.iou, counts.pixels.accuracy) == (1, 1, 1)
    assert counts.errors == ErrorCounts(outline=counts.errors.outline)
    assert counts.errors.boundary_offset == 0


@FEW
@given(PAIRS)
def test_truth_and_prediction_can_be_swapped(pair):
    one, other = match(*pair, MANY_THRESHOLDS), match(*pair[::-1], MANY_THRESHOLDS)
    for here, there in zip(one.matches, other.matches, strict=True):
        assert (here.tp, here.fp, here.fn) == (there.tp, there.fn, there.fp)
        assert (here.precision, here.recall) == (there.recall, there.precision)
        for name in set(SCORES) - {"precision", "recall"}:
            assert getattr(here, name) == pytest.approx(getattr(there, name), abs=1e-12)
    assert one.aji_plus_counts == other.aji_plus_counts
    assert (one.pixels.dice, one.pixels.iou) == (other.pixels.dice, other.pixels.iou)
    assert (one.errors.splits, one.errors.merges) == (other.errors.merges, other.errors.splits)
    assert (one.errors.misses, one.errors.false_positives) == (other.errors.false_positives, other.errors.misses)
    assert one.errors.poor_outlines == other.errors.poor_outlines
    assert (one.errors.too_much, one.errors.too_little) == (other.errors.too_little, other.errors.too_much)


@FEW
@given(PAIRS, st.integers(0, 2**32), st.sampled_from(["uint8", "int16", "uint32", "int64", "uint64"]))
def test_other_numbers_for_the_same_nuclei_change_nothing(pair, seed, dtype):
    random = np.random.default_rng(seed)

    def renumbered(labels):
        values, rank = np.unique(np.append(labels, 0), return_inverse=True)
        highest = np.iinfo(dtype).max
        others = random.choice(min(highest, 10**6), values.size, replace=False)
        new = np.array([highest - int(value) for value in others], dtype)
        new[0] = 0
        return new[rank[:-1]].reshape(labels.shape)

    assert match(*map(renumbered, pair), MANY_THRESHOLDS) == match(*pair, MANY_THRESHOLDS)


@FEW
@given(PAIRS)
def test_scores_fall_with_the_threshold(pair):
    matches = match(*pair, MANY_THRESHOLDS).matches
    for name in ("tp", "average_precision", "f1", "precision", "recall"):
        values = [getattr(at, name) for at in matches]
        assert values == sorted(values, reverse=True)
    # Below .5, two pairs of low IoU may take the place of one of high IoU.
    unique = [at.panoptic_quality for at in matches[MANY_THRESHOLDS.index(0.5) :]]
    assert unique == sorted(unique, reverse=True)


@FEW
@given(PAIRS, PAIRS)
def test_counts_of_a_mosaic_are_the_sum_of_those_of_its_pieces(first, second):
    width = max(first[0].shape[1], second[0].shape[1])

    def stacked(upper, lower):
        pieces = [np.pad(piece, ((0, 1), (0, width - piece.shape[1]))) for piece in (upper, lower)]
        return np.vstack([pieces[0], np.where(pieces[1] > 0, pieces[1] + 10**4, 0)])

    whole = match(stacked(first[0], second[0]), stacked(first[1], second[1]), MANY_THRESHOLDS)
    pooled = match(*first, MANY_THRESHOLDS) + match(*second, MANY_THRESHOLDS)
    for one, other in zip(whole.matches, pooled.matches, strict=True):
        assert astuple(one) == pytest.approx(astuple(other))
    assert (whole.nuclei, whole.found) == (pooled.nuclei, pooled.found)
    assert (whole.aji_counts, whole.aji_plus_counts) == (pooled.aji_counts, pooled.aji_plus_counts)
    assert replace(whole.pixels, tn=0) == replace(pooled.pixels, tn=0)
    assert replace(whole.errors, outline=0.0) == replace(
        pooled.errors, outline=0.0
    )  # edges of the pieces come to light


# ---- Edge cases, on paper. ----

NOTHING, ONE = np.zeros((2, 3), int), np.array([[0, 1, 1], [0, 1, 1]])


@pytest.mark.parametrize(
    ("truth", "predicted", "score"), [(NOTHING, NOTHING, 1.0), (ONE, NOTHING, 0.0), (NOTHING, ONE, 0.0)]
)
def test_without_nuclei_scores_are_one_if_both_agree_else_zero(truth, predicted, score):
    counts = match(truth, predicted)
    assert {getattr(at, name) for at in counts.matches for name in SCORES} == {score}
    assert (counts.aji, counts.aji_plus, counts.mean_average_precision) == (score, score, pytest.approx(score))
    assert (counts.pixels.dice, counts.pixels.iou) == (score, score)
    assert (counts.nuclei, counts.found) == (truth.max(), predicted.max())
    assert (counts.errors.misses, counts.errors.false_positives) == (truth.max(), predicted.max())


def test_an_image_of_one_pixel():
    assert match([[True]], [[2**40]]).average_precision(0.95) == 1
    assert match([[1]], [[0]]).at(0.5) == MatchCounts(tp=0, fp=0, fn=1, sum_iou=0.0)


def test_pieces_of_one_number_are_one_nucleus():
    counts = match([[5, 0, 5, 5]], [[1, 0, 1, 2]], [0.5, 0.7])
    assert counts.at(0.5) == MatchCounts(tp=1, fp=1, fn=0, sum_iou=2 / 3)
    assert counts.at(0.7) == MatchCounts(tp=0, fp=2, fn=1, sum_iou=0.0)


def test_huge_numbers_need_no_huge_table():
    huge = 2**64 - 1
    truth = np.array([[huge, huge, 0, huge - 1]], np.uint64)
    predicted = np.array([[2**62, 2**62, 0, 1]])
    overlap = count_overlap(truth, predicted)
    assert overlap.truth_labels.tolist() == [huge, huge - 1]
    assert overlap.truth_labels.dtype == np.uint64
    assert overlap.predicted_labels.tolist() == [2**62, 1]
    assert count_instances(overlap).average_precision(0.95) == 1


def test_a_bool_mask_is_one_nucleus():
    assert match(np.array([[True, False, True]]), np.array([[7, 0, 7]], np.uint8)).average_precision(0.95) == 1


def test_a_pair_matches_from_the_threshold_on():
    counts = match([[1, 1, 1, 1, 1]], [[1, 1, 1, 0, 0]], np.arange(0.5, 1, 0.05))
    assert [at.tp for at in counts.matches] == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert counts.thresholds == THRESHOLDS
    assert counts.average_precision(0.6000000000000001) == counts.average_precision(3 / 5) == 1


def test_of_two_halves_one_matches():
    counts = match([[3, 3, 3, 3]], [[1, 1, 2, 2]])
    assert counts.at(0.5) == MatchCounts(tp=1, fp=1, fn=0, sum_iou=0.5)
    assert counts.at(0.55) == MatchCounts(tp=0, fp=2, fn=1, sum_iou=0.0)


def test_below_a_half_a_good_pair_gives_way_to_two():
    truth, predicted = [[1, 1, 1, 1, 1, 2, 2, 0]], [[1, 1, 1, 2, 2, 1, 1, 0]]
    overlap = count_overlap(truth, predicted)
    assert overlap.iou.round(2).tolist() == [0.43, 0.4, 0.4]
    assert overlap.shared[assign(overlap, 0.4)].tolist() == [2, 2]
    assert overlap.shared[assign(overlap, 0.41)].tolist() == [3]


def test_of_equal_assignments_the_one_with_better_matches_counts():
    # 1/2 alone, or 1/3 and, below the threshold, 1/6.
    truth, predicted = [[1, 1, 1, 1, 1, 1, 2, 0]], [[7, 7, 7, 7, 8, 8, 7, 7]]
    assert match(truth, predicted, [0.3]).at(0.3).sum_iou == match(predicted, truth, [0.3]).at(0.3).sum_iou == 0.5


@pytest.mark.parametrize("side", [slice(None), slice(None, None, -1)])
def test_of_equal_assignments_aji_plus_takes_the_one_that_shares_more(side):
    # 1/3 is 1 of 3 pixels, or 2 of 6.
    truth, predicted = np.array([[1, 1, 1, 0, 0, 0]])[:, side], np.array([[7, 8, 8, 8, 8, 8]])[:, side]
    assert match(truth, predicted).aji_plus_counts == JaccardCounts(shared=2, joined=7)


def test_aji_uses_a_prediction_again_and_aji_plus_does_not():
    counts = match([[1, 1, 2, 2, 0]], [[9, 9, 9, 9, 8]])
    assert counts.aji_counts == JaccardCounts(shared=4, joined=4 + 4 + 1)
    assert counts.aji_plus_counts == JaccardCounts(shared=2, joined=4 + 2 + 1)


def test_a_thousand_nuclei_that_all_touch_each_other():
    random = np.random.default_rng(0)
    counts = match(random.integers(0, 300, (300, 300)), random.integers(0, 300, (300, 300)), [0.001, 0.5])
    assert counts.at(0.001).tp > 250
    assert counts.at(0.5).tp == 0


# ---- Pooling, names and errors. ----


def test_scores_of_several_images():
    good, bad, empty = match(ONE, ONE), match(ONE, np.roll(ONE, 1, axis=1)), match(NOTHING, NOTHING)
    scores = score_images([good, bad, empty])
    assert (scores["images"], scores["nuclei"], scores["found"]) == (3, 2, 2)
    assert scores["dsb"] == pytest.approx((1 + 0 + 1) / 3)  # a mean over images
    assert scores["ap50"] == scores["ap95"] == pytest.approx(1 / 3)  # of all nuclei together
    assert scores["f1_50"] == scores["precision_50"] == scores["recall_50"] == scores["pq"] == 0.5
    assert (scores["sq"], scores["rq"]) == (1, 0.5)
    assert scores["aji"] == scores["aji_plus"] == scores["iou"] == (4 + 2) / (4 + 6)
    assert scores["mean_dice"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert scores["dice"] == 0.75
    assert scores["poor_outlines"] == 1
    assert scores["pixel_accuracy"] == pytest.approx((good + bad + empty).pixels.accuracy)
    assert scores["boundary_bias"] == (good + bad + empty).errors.boundary_bias
    described = re.findall("``([a-z_0-9]+)``", score_images.__doc__.split("Raises")[0])
    assert set(scores) == {*described, *(f"ap{level}" for level in range(50, 100, 5))}
    assert [name for name in scores if name.startswith("ap")] == [f"ap{level}" for level in range(50, 100, 5)]
    assert {type(value) for value in scores.values()} == {int, float}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: match([1, 2], [[1, 2]]), r"truth must be \(H, W\)"),
        (lambda: match([[1.0]], [[1]]), "truth must be integers"),
        (lambda: match([[1]], [[-1]]), "predicted must not be negative"),
        (lambda: match([[1, 2]], [[1], [2]]), r"same height and width, got \(1, 2\) and \(2, 1\)"),
        (lambda: match(ONE, ONE, []), "thresholds must be rising, at least one"),
        (lambda: match(ONE, ONE, [0.7, 0.5]), r"thresholds must be rising, at least one, got \(0.7, 0.5\)"),
        (lambda: match(ONE, ONE, [0.5, 0.5]), "thresholds must be rising"),
        (lambda: match(ONE, ONE, [0.0, 0.5]), "threshold must be above 0, got 0.0; nuclei that share no pixel"),
        (lambda: match(ONE, ONE, [0.5, 1.5]), "threshold must be a number from 0 to 1, got 1.5"),
        (lambda: assign(count_overlap(ONE, ONE), float("nan")), "threshold must be a number from 0 to 1, got nan"),
        (lambda: match(ONE, ONE).at(0.3), r"nothing was counted at the threshold 0.3.*thresholds=\[0.3\]"),
        (lambda: match(ONE, ONE, [0.3]).mean_average_precision, "nothing was counted at the threshold 0.5"),
        (lambda: match(ONE, ONE) + match(ONE, ONE, [0.5]), "added where their thresholds are the same"),
        (lambda: replace(match(ONE, ONE), matches=()), "counts for each of 10 thresholds, got 0"),
        (lambda: score_images([]), "at least one image, got none"),
        (lambda: MatchCounts(tp=1, fp=-1, fn=0, sum_iou=0.5), "fp must be a whole number of at least 0"),
        (lambda: MatchCounts(tp=1, fp=0, fn=0, sum_iou=1.5), "sum_iou must be a number from 0 to 1"),
        (lambda: JaccardCounts(shared=-1, joined=0), "shared must be a whole number"),
        (lambda: JaccardCounts(shared=1, joined=0.5), "joined must be a whole number"),
        (lambda: ErrorCounts(splits=0.5), "splits must be a whole number"),
        (lambda: ErrorCounts(outline=-1.0), "outline must be a number from 0"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()


@pytest.mark.parametrize(
    "counts",
    [
        MatchCounts(tp=1, fp=0, fn=0, sum_iou=0.5),
        JaccardCounts(shared=1, joined=2),
        ErrorCounts(),
        match(ONE, ONE),
        PixelCounts(tp=1, fp=0, fn=0, tn=0),
    ],
    ids=lambda counts: type(counts).__name__,
)
def test_counts_are_added_to_their_like_only(counts):
    with pytest.raises(TypeError):
        counts + 1
    assert isinstance(counts + counts, type(counts))


def test_counts_are_hashable_and_compare():
    assert len({match(ONE, ONE), match(2 * ONE, ONE)}) == 1
    assert isinstance(match(ONE, ONE), InstanceCounts)
