"""Why a score is low: each kind of error on paper, and that every wrong nucleus is one of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg.instances import assign, count_overlap, find_errors, match

FEW = settings(max_examples=50, deadline=None)
KINDS = ("splits", "merges", "misses", "false_positives", "poor_outlines")


def row(text):
    """A label image of one row: a digit a pixel, dots for background."""
    return np.array([[int(character) for character in text.replace(".", "0")]])


CASES = {
    "all right": ("11..22", "44..33", {}),
    "nothing at all": ("......", "......", {}),
    "a miss": ("11..22", "11....", {"misses": 1}),
    "a false positive": ("11....", "11..22", {"false_positives": 1}),
    "a poor outline": ("111111....", "....111111", {"poor_outlines": 1}),
    "a tenth is enough": ("11111.....", "....222222", {"poor_outlines": 1}),
    "less than a tenth is not": ("11111......", "....2222222", {"misses": 1, "false_positives": 1}),
    "too little of it to be one": ("111111111111", "1...........", {"misses": 1, "false_positives": 1}),
    "halves": ("111111", "222333", {"splits": 1}),
    "a small piece came off": ("1111111111", "2222222233", {"splits": 1}),
    "pieces that reach outside": ("..111111..", ".2222.333.", {"splits": 1}),
    "pieces that are mostly outside": ("....1111....", ".22222.33333", {"poor_outlines": 1, "false_positives": 1}),
    "specks are no split": ("111111111111", "1..........2", {"misses": 1, "false_positives": 2}),
    "two in one": ("111222", "444444", {"merges": 1}),
    "a dozen in one": ("123456789123".translate({ord("0"): "."}), "4" * 12, {"merges": 1}),
    "most of a neighbour": ("1111122222", "44444444..", {"merges": 1}),
    "a little of a neighbour": ("1111122222", "4444444...", {"misses": 1}),
    "one split, one merged": ("1111.222333", "5566.777777", {"splits": 1, "merges": 1}),
    "cut in the wrong place": ("11111111222", "33344444444", {"splits": 1, "merges": 1}),
}


@pytest.mark.parametrize(("truth", "predicted", "expected"), CASES.values(), ids=CASES)
def test_kinds_of_errors(truth, predicted, expected):
    counts = match(row(truth), row(predicted)).errors
    assert {kind: getattr(counts, kind) for kind in KINDS} == {**dict.fromkeys(KINDS, 0), **expected}


def test_the_nuclei_are_named():
    errors = find_errors(
        count_overlap(row("1111.222333..77..4444444..."), row("5566.888888.....9.....4444444")[:, :27])
    )
    assert errors.split.tolist() == [1]
    assert errors.merged.tolist() == [8]
    assert errors.missed.tolist() == [7]
    assert errors.false_positive.tolist() == [9]
    assert errors.poorly_outlined.tolist() == [4]


def draw_pair(seed):
    """Strips of nuclei: the same pixels, cut in other places, with holes; some are two-dimensional."""
    random = np.random.default_rng(seed)
    size, width = int(random.integers(1, 25)), int(random.integers(1, 3))

    def cut():
        labels = np.repeat(random.permutation(size) + 1, random.integers(1, 9, size))[:size]
        labels[random.random(size) < 0.15] = 0
        return labels.reshape(-1, 1).repeat(width, axis=1)

    return cut(), cut()


PAIRS = st.builds(draw_pair, st.integers(0, 2**32))


@FEW
@given(PAIRS)
def test_splits_and_merges_by_definition(pair):
    errors = find_errors(count_overlap(*pair))
    for whole, pieces, found in ((*pair, errors.split), (*pair[::-1], errors.merged)):
        expected = set()
        for nucleus in set(np.unique(whole)) - {0}:
            inside = whole == nucleus
            shares = {piece: np.mean(inside[pieces == piece]) for piece in set(np.unique(pieces[inside])) - {0}}
            owned = [piece for piece, share in shares.items() if share > 0.5]
            if len(owned) >= 2 and np.isin(pieces[inside], owned).mean() > 0.5:
                expected.add(nucleus)
        assert set(found.tolist()) == expected
        assert len(found) == len(expected)


@FEW
@given(PAIRS)
def test_every_wrong_nucleus_has_one_reason(pair):
    overlap = count_overlap(*pair)
    errors = find_errors(overlap)
    truth, predicted = pair
    matched = assign(overlap, 0.5)
    sides = (
        (truth, overlap.truth_labels, overlap.truth_index, errors.split, errors.missed, predicted, errors.merged),
        (
            predicted,
            overlap.predicted_labels,
            overlap.predicted_index,
            errors.merged,
            errors.false_positive,
            truth,
            errors.split,
        ),
    )
    for image, labels, index, broken, alone, other, whole in sides:
        wrong = set(labels.tolist()) - set(labels[index[matched]].tolist())
        parts = {
            label for label in labels.tolist() if any(np.mean(other[image == label] == one) > 0.5 for one in whole)
        }
        explained = set(broken.tolist()) | parts
        alone = set(alone.tolist())
        assert alone <= wrong - explained
        # What is left over is poorly outlined.
        assert len(wrong - explained - alone) == errors.poorly_outlined.size


@pytest.mark.parametrize(("radius", "offset", "bias"), [(20, 0, 0), (21, 1, 1), (18, 2, -2), (23, 3, 3)])
def test_the_boundary_offset_is_in_pixels(radius, offset, bias):
    rows, columns = np.mgrid[-30:31, -30:31]
    distance = np.hypot(rows, columns)
    errors = match(distance <= 20, distance <= radius).errors
    assert errors.boundary_offset == pytest.approx(offset, abs=0.25)
    assert errors.boundary_bias == pytest.approx(bias, abs=0.25)


def test_a_shift_has_an_offset_and_no_bias():
    rows, columns = np.mgrid[-30:31, -30:31]
    disc = np.hypot(rows, columns) <= 20
    errors = match(disc, np.roll(disc, 3, axis=1)).errors
    # A shift by 1 moves the outline by |cos| of the angle, on average 2 / pi.
    assert errors.boundary_offset == pytest.approx(3 * 2 / np.pi, rel=0.05)
    assert errors.boundary_bias == 0


def test_outlines_of_merged_nuclei_do_not_count():
    errors = match(row("11111111.22222"), row("33333333333333")).errors
    assert (errors.merges, errors.outline, errors.boundary_offset) == (1, 0, 0)
    errors = match(row("1111.1111.22222.."), row("3333..3333.222222"), [0.5]).errors
    assert errors.too_much > 0
