"""Filters of nuclei and the summary of an image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import filter_labels, filtering, measure, summarize

FEW = settings(max_examples=60, deadline=None)
LABELS = st.builds(
    lambda seed, shape, dtype: np.random.default_rng(seed).choice([0, 1, 1, 2, 5, 200], shape).astype(dtype),
    st.integers(0, 2**32),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from(["?", "u1", "u2", "i8", "u8"]),
)


def same_pixels(labels, numbered):
    """Whether two label images have the same nuclei under other numbers."""
    pairs = np.unique(np.stack([labels.ravel(), numbered.ravel()]), axis=1)
    return len(set(pairs[0])) == len(set(pairs[1])) == pairs.shape[1]


@FEW
@given(LABELS, st.integers(0, 20))
def test_small_nuclei_go_and_the_others_are_numbered_anew(labels, min_area):
    found = filter_labels(labels, min_area)
    values, areas = np.unique(labels[labels > 0], return_counts=True)
    kept = values[areas >= min_area]
    np.testing.assert_array_equal(found > 0, np.isin(labels, kept))
    assert same_pixels(np.where(np.isin(labels, kept), labels, 0), found)
    assert found.dtype == np.int32
    assert set(np.unique(found)) - {0} == set(range(1, len(kept) + 1))
    assert [labels[found == i].min() for i in range(1, len(kept) + 1)] == list(kept)


@FEW
@given(LABELS)
def test_nuclei_at_the_edge_go(labels):
    found = filter_labels(labels, remove_edge=True)
    assert not any(edge.any() for edge in (found[0], found[-1], found[:, 0], found[:, -1]))
    inner = set(np.unique(labels)) - {*labels[0], *labels[-1], *labels[:, 0], *labels[:, -1], 0}
    np.testing.assert_array_equal(found > 0, np.isin(labels, list(inner)))


@FEW
@given(LABELS)
def test_holes_of_single_nuclei_are_filled_as_scipy_does_and_no_others(labels):
    expected = labels.copy()
    for value in np.unique(labels[labels > 0]):
        hole = ndimage.binary_fill_holes(labels == value) & (labels != value)
        pieces, count = ndimage.label(hole)
        for piece in range(1, count + 1):
            if not labels[pieces == piece].any():  # neither is another nucleus in it
                expected[pieces == piece] = value
    assert same_pixels(expected, filter_labels(labels, fill_holes=True))


# Together they may: a nucleus that is left out may have kept a hole from being filled.
@FEW
@given(LABELS, st.one_of(st.fixed_dictionaries({"min_area": st.integers(0, 9), "remove_edge": st.booleans()}),
                         st.just({"fill_holes": True})))  # fmt: skip
def test_filtering_twice_changes_nothing(labels, filters):
    once = filter_labels(labels, **filters)
    np.testing.assert_array_equal(once, filter_labels(once, **filters))


def test_a_filled_hole_counts_towards_the_area():
    ring = np.pad(np.where(np.arange(9).reshape(3, 3) == 4, 0, 1), 1)
    assert filter_labels(ring, 9).max() == 0
    assert filter_labels(ring, 9, fill_holes=True).sum() == 9


def test_labels_may_be_few_and_large():
    assert filter_labels(np.array([[0, 2**40], [7, 2**40]]), 2).tolist() == [[0, 1], [0, 1]]
    assert filter_labels(np.array([[2**40, 7]])).tolist() == [[2, 1]]


def test_arguments_of_the_filter_are_checked():
    with pytest.raises(InvalidInputError, match="labels must be integers"):
        filter_labels(np.zeros((2, 2)))
    with pytest.raises(InvalidInputError, match="min_area must be a whole number"):
        filter_labels(np.zeros((2, 2), int), -1)


@FEW
@given(LABELS, st.sampled_from([None, 0.25]))
def test_the_summary_is_that_of_the_table(labels, size):
    table = measure(labels, labels, pixel_size=size)
    summary = summarize(table, labels.shape, size)
    (row,) = summary.to_dict("records")
    assert (row["height"], row["width"], row["count"]) == (*labels.shape, len(table))
    assert row["covered"] == pytest.approx(np.count_nonzero(labels) / labels.size)
    assert row["density"] == pytest.approx(len(table) / labels.size * 1e6)
    assert row["touching_edge"] == table["touches_edge"].sum()
    for name in ("area", "solidity", "intensity_total-0"):
        np.testing.assert_equal(row[f"median_{name}"], table[name].median())
    if size is not None:
        assert row["density_mm2"] == pytest.approx(len(table) / (labels.size * size**2 / 1e6))
    assert not [name for name in summary.columns if "label" in name or "centroid" in name or "bbox" in name]


def test_without_nuclei_the_summary_has_the_same_columns():
    empty, full = (np.full((3, 4), value) for value in (0, 1))
    first, second = (summarize(measure(labels, full), (3, 4)) for labels in (empty, full))
    assert list(first.columns) == list(second.columns)
    assert (first["count"].item(), first["covered"].item()) == (0, 0)
    assert first["median_area"].isna().all()
    with pytest.raises(InvalidInputError, match="shape must be"):
        summarize(measure(empty), (3,))


def test_large_images_are_counted_in_parts(monkeypatch):
    labels = np.random.default_rng(0).integers(0, 9, (23, 17))
    expected = filter_labels(labels, 40)
    monkeypatch.setattr(filtering, "_AT_ONCE", 50)
    np.testing.assert_array_equal(filter_labels(labels, 40), expected)
    assert 0 < expected.max() < 8
