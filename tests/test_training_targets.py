from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.training import get_target, list_targets, register_target, targets
from nucleiseg.training.targets import check_target

FEW = settings(max_examples=40, deadline=None)
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)
LABELS = st.sampled_from(["u1", "u2", "i4", "i8"]).flatmap(
    lambda kind: hnp.arrays(kind, SHAPES, elements=st.integers(0, 100))
)


@pytest.mark.parametrize("name", list_targets())
@FEW
@given(LABELS)
def test_the_contract_of_a_target(name, labels):
    before = labels.copy()
    target = get_target(name)(labels)
    assert target.dtype == np.float32
    assert target.ndim == 3
    assert target.shape[:2] == labels.shape
    assert np.isfinite(target).all()
    np.testing.assert_array_equal(get_target(name)(labels), target)
    np.testing.assert_array_equal(labels, before)


@FEW
@given(LABELS)
def test_the_mask_is_one_inside_nuclei(labels):
    mask = get_target("mask")(labels)
    assert mask.shape == (*labels.shape, 1)
    np.testing.assert_array_equal(mask[..., 0], labels > 0)


def test_the_mask_does_not_depend_on_how_nuclei_are_numbered():
    labels = np.array([[0, 3, 3], [7, 0, 7]])
    np.testing.assert_array_equal(get_target("mask")(labels), get_target("mask")(100 * labels))


def meeting(labels, reach=2):
    """Where two nuclei meet, by its definition, pixel by pixel."""
    found = np.zeros(labels.shape, np.float32)
    for row, column in np.ndindex(labels.shape):
        around = labels[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        found[row, column] = len(np.unique(around[around > 0])) > 1
    return found


@FEW
@given(LABELS)
def test_nuclei_meet_where_two_of_them_are_near(labels):
    target = get_target("contact")(labels)
    np.testing.assert_array_equal(target[..., 2], meeting(labels))
    np.testing.assert_array_equal(target[..., :2], get_target("distance")(labels))


def test_a_boundary_runs_along_what_is_no_part_of_the_nucleus_and_not_along_the_image():
    inside = np.ones((6, 7), np.int32)
    assert (get_target("boundary")(inside).argmax(-1) == 1).all()
    inside[2, 3] = 0
    boundary = get_target("boundary")(inside).argmax(-1) == 2
    assert sorted(map(tuple, np.argwhere(boundary).tolist())) == [(1, 3), (2, 2), (2, 4), (3, 3)]


def test_what_is_no_label_image_is_refused():
    with pytest.raises(InvalidInputError, match="from 0"):
        get_target("mask")(np.array([[0, -1]]))
    with pytest.raises(InvalidInputError, match="use the binarizer 'probability'"):
        get_target("mask")(np.array([[0.0, 0.5]]))


def test_targets_can_be_added_and_names_are_checked():
    @register_target("background")
    def background(labels):
        return (labels == 0).astype(np.float32)[..., np.newaxis]

    try:
        assert "background" in list_targets()
        assert get_target("background")(np.array([[0, 1]])).ravel().tolist() == [1, 0]
        with pytest.raises(InvalidInputError, match="target 'background' is registered already"):
            register_target("background")(background)
    finally:
        targets._targets.unregister("background")
    with pytest.raises(InvalidInputError, match=r"unknown target 'maks'; did you mean 'mask'\?"):
        get_target("maks")


@pytest.mark.parametrize(
    ("function", "channels", "message"),
    [
        (lambda labels: labels > 0, 1, r"must give numbers \(H, W, C\) .* got shape \(32, 32\), dtype bool"),
        (lambda labels: labels[:4, :4, np.newaxis], 1, r"got shape \(4, 4, 1\), dtype int32 for \(32, 32\)"),
        (lambda labels: labels[..., np.newaxis], 2, "as many maps as the network at least, got 1 for 2; use a head"),
    ],
)
def test_a_target_that_no_network_can_learn_is_refused(function, channels, message):
    register_target("unlearnable")(function)
    try:
        with pytest.raises(InvalidInputError, match=message):
            check_target("unlearnable", channels)
        with pytest.raises(InvalidInputError, match=message):
            check_target(function, channels)
    finally:
        targets._targets.unregister("unlearnable")


def test_further_maps_may_be_meant_for_the_loss():
    check_target("contact", 1)
