"""The scale passport: which sizes a model knows, and how images of other sizes are brought there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.inference import Passport, measure_diameters, usual_diameter

sizes = st.floats(0.5, 500)
passports = st.tuples(sizes, sizes, sizes).map(lambda three: Passport(*sorted(three)))
label_images = hnp.arrays(np.int32, (8, 9), elements=st.integers(0, 5))


@given(passports, st.floats(0.1, 5000))
def test_what_lies_within_stays_and_all_else_comes_nearer(passport, diameter):
    factor, (low, high) = passport.factor(diameter), passport.known
    assert passport.low <= low <= passport.typical <= high <= passport.high
    if low <= diameter <= high:
        assert factor == 1
    else:
        assert 1 / 8 <= factor <= 4
        assert abs(np.log(factor * diameter / passport.typical)) <= abs(np.log(diameter / passport.typical)) + 1e-9
    if passport.typical / 4 <= diameter <= passport.typical * 8:
        assert low - 1e-6 <= factor * diameter <= high + 1e-6


@example(np.array([[3, 4, 1, 1, 1, 2]]), 3)  # exactly half of the pixels belong to smaller nuclei
@given(label_images, st.integers(2, 4))
def test_diameters_grow_with_the_image(labels, times):
    large = np.kron(labels, np.ones((times, times), int))
    np.testing.assert_allclose(measure_diameters(large), times * measure_diameters(labels))
    small, grown = usual_diameter(labels), usual_diameter(large)
    assert (grown is None) if small is None else grown == pytest.approx(times * small)


@given(label_images.filter(lambda labels: labels.any()))
def test_the_usual_diameter_is_one_of_them_and_not_below_their_median(labels):
    found = measure_diameters(labels)
    assert usual_diameter(labels) in found
    assert usual_diameter(labels) >= np.percentile(found, 50, method="lower")


def test_a_passport_is_made_of_all_nuclei():
    labels = [np.kron(np.diag([1, 2, 3]), np.ones((side, side), int)) for side in (4, 8, 12)]
    passport = Passport.of_labels([*labels, np.zeros((5, 5), int)])
    side = np.sqrt(4 / np.pi)
    assert passport.typical == pytest.approx(8 * side)
    assert 4 * side <= passport.low < passport.typical < passport.high <= 12 * side
    assert Passport.of_labels([np.zeros((5, 5), int)]) is None
    magnified = Passport.of_labels(labels, largest=1.5)
    assert (magnified.low, magnified.typical) == (passport.low, passport.typical)
    assert magnified.high == pytest.approx(1.5 * passport.high)
    with pytest.raises(InvalidInputError, match="largest must be a number from 1 to 100, got 0.5"):
        Passport.of_labels(labels, largest=0.5)


@pytest.mark.parametrize("three", [(0, 1, 2), (3, 2, 4), (1, 5, 4), (-1, 1, 2)])
def test_passports_rise_from_above_0(three):
    with pytest.raises(InvalidInputError, match=r"passport must be above 0 and rising|must be a number from 0"):
        Passport(*three)


@pytest.mark.parametrize("diameter", [0, -3, float("nan"), "8"])
def test_a_diameter_is_above_0(diameter):
    with pytest.raises(InvalidInputError, match="diameter must be"):
        Passport(8, 16, 40).factor(diameter)
