"""Confidence: a number in [0, 1] for each nucleus, that orders and means what it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import Calibration, calibrate, rate
from nucleiseg.instances._regions import find_regions, find_totals
from nucleiseg.instances.confidence import rate_totals
from nucleiseg.instances.contacts import find_sides, meet, touching_share, united
from nucleiseg.instances.evidence import find_evidence

SHAPE = (6, 7)
label_images = hnp.arrays(np.int32, SHAPE, elements=st.integers(0, 4))
probabilities = hnp.arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))
numbers = st.floats(-5, 5)
calibrations = st.builds(Calibration, numbers, numbers, numbers, numbers, numbers)


@given(label_images, probabilities, st.none() | calibrations)
def test_each_nucleus_has_one_from_0_to_1_whatever_its_number(labels, probability, calibration):
    confidence = rate(labels, probability, calibration)
    assert confidence.shape == (len(np.unique(labels[labels > 0])),)
    assert ((confidence >= 0) & (confidence <= 1)).all()
    renamed = np.array([0, 10, 300, 5000, 60000])[labels]
    np.testing.assert_array_equal(rate(renamed, probability, calibration), confidence)
    np.testing.assert_allclose(rate(np.rot90(labels), np.rot90(probability), calibration), confidence, atol=1e-6)


@given(label_images, probabilities, st.lists(st.booleans(), min_size=5, max_size=5), st.sampled_from([1, 50]))
def test_nuclei_can_be_left_out_of_the_evidence_as_out_of_the_image(labels, probability, keep, factor):
    named = labels * factor
    every = find_evidence(named, probability)
    kept = np.array(keep)[every.labels // factor]
    fewer = find_evidence(np.where(np.isin(named, every.labels[kept]), named, 0), probability)
    rest = every.keeping(kept)
    for field in ("labels", "areas", "sums", "touching"):
        np.testing.assert_array_equal(getattr(rest, field), getattr(fewer, field))


@given(label_images, probabilities, st.sampled_from([np.uint8, np.int64, np.uint64, bool]), st.sampled_from([1, 50]))
def test_totals_are_those_of_the_pixels_of_each_nucleus(labels, values, dtype, factor):
    named = (labels * factor).astype(dtype)
    numbers, areas, sums = find_totals(named, values)
    regions = find_regions(named)
    np.testing.assert_array_equal(numbers, regions.labels)
    np.testing.assert_array_equal(areas, regions.area)
    np.testing.assert_array_equal(sums, regions.sum(values[regions.rows, regions.cols]))


@pytest.mark.parametrize(
    ("calibration", "logits"),
    [
        (Calibration(), [np.log(9), np.log(1.5), 0, 0]),
        (Calibration(certainty=0, intercept=0.5), [0.5] * 4),
        (Calibration(certainty=2), [2 * np.log(9), 2 * np.log(1.5), 0, 0]),
        (Calibration(certainty=0, size=1), np.log([1, 2, 6, 6])),
        (Calibration(certainty=0, size_squared=0.5), np.log([1, 2, 6, 6]) ** 2 / 2),
        (Calibration(certainty=0, touching=2), [0, 0, 0.6, 0.6]),
        (Calibration(0.25, 0.5, -1, touching=3), [0.25 + np.log(3), None, *[1.15 - np.log(6)] * 2]),
    ],
)
def test_it_is_the_logistic_model_that_the_calibration_says(calibration, logits):
    """One pixel at .9, two at .5 and .7, and two nuclei of 2 x 3 pixels that touch along 3 of their 10 sides."""
    labels = np.zeros((8, 9), int)
    labels[0, 0], labels[0, 3:5], labels[3:5, 2:5], labels[5:7, 2:5] = 1, 2, 3, 4
    probability = np.full(labels.shape, 0.5)
    probability[0, 0], probability[0, 3:5] = 0.9, (0.5, 0.7)
    found = rate(labels, probability, calibration)
    for confidence, logit in zip(found, logits, strict=True):
        if logit is not None:
            assert confidence == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-9)


@given(label_images, probabilities, calibrations, st.sampled_from([2, 3]))
def test_areas_count_in_pixels_that_the_network_saw(labels, probability, calibration, scale):
    larger = [np.kron(values, np.ones((scale, scale), values.dtype)) for values in (labels, probability)]
    seen = rate(labels, probability, calibration, scale)
    np.testing.assert_allclose(seen, rate(*larger, calibration), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        rate(*larger, calibration, 1 / scale), rate(labels, probability, calibration), 1e-6, 1e-9
    )


@pytest.mark.parametrize(("probability", "confidence"), [(0.0, 1e-4), (1e-5, 1e-4), (1.0, 1 - 1e-4), (0.3, 0.3)])
def test_nothing_is_certain(probability, confidence):
    assert rate([[1, 1]], [[probability] * 2]) == pytest.approx([confidence], abs=1e-9)
    sums = np.array([2 * probability])
    assert rate_totals(np.array([2]), sums, np.zeros(1), None) == pytest.approx([confidence], abs=1e-9)


def many(seed, share):
    """Squares of one size, of which those with a high probability are more often real."""
    rng = np.random.default_rng(seed)
    labels, truth, probability = (np.zeros((120, 120), kind) for kind in (int, int, float))
    for number, (row, col) in enumerate(np.ndindex(20, 20), start=1):
        place = (slice(6 * row, 6 * row + 4), slice(6 * col, 6 * col + 4))
        likely = rng.uniform(0.5, 1)
        labels[place], probability[place] = number, likely
        if rng.random() < share(likely):
            truth[place] = number
    return truth, labels, probability


def test_it_is_the_share_of_nuclei_that_match():
    def share(likely):
        return (2 * likely - 1) ** 2

    calibration = calibrate(many(seed, share) for seed in range(3))
    truth, labels, probability = many(9, share)
    confidence = rate(labels, probability, calibration)
    real = np.array([truth[labels == number].any() for number in range(1, 401)])
    for low in (0.0, 0.25, 0.5, 0.75):
        chosen = (confidence >= low) & (confidence < low + 0.25)
        if chosen.sum() >= 40:
            assert abs(confidence[chosen].mean() - real[chosen].mean()) < 0.12
    assert confidence[real].mean() > confidence[~real].mean() + 0.2


def test_sizes_that_are_never_real_are_doubted():
    truth, labels, probability = many(0, lambda likely: 1.0)
    speck = np.argwhere(labels == 0)[::97]
    labels[tuple(speck.T)] = np.arange(401, 401 + len(speck))
    probability[labels > 0] = 0.8
    confidence = rate(labels, probability, calibrate([(truth, labels, probability)]))
    assert confidence[:400].min() > 0.8
    assert confidence[400:].max() < 0.5


def drawn(logit, count, seed=0):
    """Nuclei of many sizes, drawn at random, of which the true chance that they match is known: one pixel wide, apart.

    Gives a case of `calibrate`, the areas, and that chance.
    """
    rng = np.random.default_rng(seed)
    areas = np.exp(rng.normal(np.log(60), 0.7, count)).round().clip(5, None).astype(int)
    certainty = rng.normal(1.5, 1, count)
    chance = 1 / (1 + np.exp(-logit(np.log(areas / 60) / 0.7, certainty)))
    labels = np.zeros((count, areas.max()), np.int32)
    labels[np.arange(areas.max()) < areas[:, np.newaxis]] = np.repeat(np.arange(1, count + 1), areas)
    labels = np.insert(labels, slice(1, None), 0, axis=0)  # rows between, so that none touch
    real = np.append(False, rng.random(count) < chance)[labels]
    likely = np.append(-9, certainty)[labels]
    return (np.where(real, labels, 0), labels, 1 / (1 + np.exp(-likely))), areas, chance


def test_the_far_smaller_and_the_far_larger_are_doubted_alike():
    case, areas, chance = drawn(lambda size, certainty: 2 + (certainty - 1.5) - 0.9 * size**2, 3000)
    confidence = rate(*case[1:], calibrate([case]))
    bounds = 60 * np.exp([-9, -1.4, -0.7, 0.7, 1.4, 9])  # two widths of the sizes from the middle, and one
    for low, high in itertools.pairwise(bounds):
        within = (areas >= low) & (areas < high)
        assert within.sum() > 50
        assert abs(confidence[within].mean() - chance[within].mean()) < 0.06


def test_before_the_scale_is_known_no_size_is_too_unusual():
    case, areas, chance = drawn(lambda size, certainty: 2 + (certainty - 1.5) - 0.9 * size**2, 3000)
    calibration = calibrate([case], at_known_scale=False)
    assert calibration.size_squared == 0
    assert (calibration.smallest, calibration.largest) == (areas.min(), areas.max())
    small, large = (rate(*case[1:], calibration)[part].mean() for part in (areas < 25, areas > 150))
    assert min(small, large) > 0.6  # of either, .38 are real
    assert abs(rate(*case[1:], calibration).mean() - chance.mean()) < 0.02


@pytest.mark.parametrize("slope", [0.5, 3.0])
def test_of_many_nuclei_it_learns_how_much_certainty_tells(slope):
    case, _, chance = drawn(lambda _, certainty: slope * (certainty - 1), 4000)
    calibration = calibrate([case])
    assert calibration.certainty == pytest.approx(slope, rel=0.15)
    assert np.abs(rate(*case[1:], calibration) - chance).mean() < 0.03


def squares(sides, real, likely):
    """Squares side by side of these sides, of which those of ``real`` are in the truth, too."""
    step = max(sides) + 2
    labels = np.zeros((step, step * len(sides)), int)
    for number, side in enumerate(sides, start=1):
        labels[:side, step * (number - 1) : step * (number - 1) + side] = number
    probability = np.append(0.0, likely)[labels]
    return np.where(np.isin(labels, real), labels, 0), labels, probability


@pytest.mark.parametrize(("real", "false"), [(24, 5), (5, 24), (79, 20), (81, 19)])
def test_of_few_nuclei_their_sizes_are_not_learned(real, false):
    """The false ones are larger: no reason to doubt every large one of other images."""
    sides = [14 + number % 6 for number in range(real)] + [26] * false
    likely = np.r_[np.linspace(0.8, 0.95, real), np.linspace(0.6, 0.9, false)]
    calibration = calibrate([squares(sides, range(1, real + 1), likely)])
    assert not calibration.knows_size
    assert calibration.certainty > 0
    _, labels, probability = squares([4, 18, 60], (), [0.93] * 3)
    confidence = rate(labels, probability, calibration)
    assert confidence.max() - confidence.min() < 1e-9
    assert rate(labels, np.where(labels, 0.6, 0), calibration).max() < confidence.min()


def test_calibrated_on_magnified_images_areas_are_those_that_the_network_saw():
    sides = [*([10, 12, 14, 16] * 20), *([4, 6, 8] * 14)]
    small = squares(sides, range(1, 81), [0.9] * len(sides))
    large = [np.kron(values, np.ones((2, 2), values.dtype)) for values in small]
    found, expected = calibrate([(*small, 2.0)]), calibrate([large])
    assert (found.smallest, found.largest) == (8**2, 32**2)
    assert vars(found) == pytest.approx(vars(expected), rel=1e-3)


def test_beyond_the_sizes_that_were_seen_nothing_is_made_up():
    sides = [*([10, 12, 14, 16] * 20), *([5, 6, 7, 8] * 10), *([20, 22] * 10)]
    calibration = calibrate([squares(sides, range(1, 81), [0.9] * len(sides))])
    assert calibration.knows_size
    assert abs(calibration.certainty) < 1  # all are equally likely, but for rounding
    assert (calibration.smallest, calibration.largest) == (25, 22**2)
    _, labels, probability = squares([2, 5, 13, 22, 90], (), [0.9] * 5)
    smaller, small, usual, large, larger = rate(labels, probability, calibration)
    assert small < usual
    assert abs(large - usual) > 0.01
    assert (smaller, larger) == pytest.approx((small, large))


def test_pieces_that_touch_are_doubted():
    """All are squares of one size and of one probability; those of the first rows are quarters of larger ones."""
    labels = np.zeros((60, 60), int)
    for number, (row, col) in enumerate(np.ndindex(10, 10), start=1):
        labels[6 * row : 6 * row + 4, 6 * col : 6 * col + 4] = number
    truth = labels.copy()
    labels[:24] = np.kron(np.arange(1, 91).reshape(6, 15), np.ones((4, 4), int))
    labels[24:][labels[24:] > 0] += 100
    truth[24:][truth[24:] > 0] += 100
    truth[:24] = np.kron(np.arange(1, 25).reshape(3, 8), np.ones((8, 8), int))[:, :60]
    confidence = rate(labels, np.full(labels.shape, 0.8), calibrate([(truth, labels, np.full(labels.shape, 0.8))]))
    assert confidence[90:].min() > 0.7
    assert confidence[:90].max() < 0.2


@pytest.mark.parametrize(
    ("labels", "shares"),
    [
        ([[1, 1], [1, 1]], [0]),  # it fills the image
        ([[1, 0, 2]], [0, 0]),
        ([[1, 2, 0]], [1, 0.5]),
        ([[1, 1, 2, 2, 0, 0]], [1, 0.5]),
        ([[1, 2], [0, 2]], [0.5, 0.5]),
        ([[1, 0], [0, 2]], [0, 0]),  # corners do not count
    ],
)
def test_the_share_of_the_outline_that_touches(labels, shares):
    even = np.full(np.shape(labels), 0.5)
    assert rate(labels, even, Calibration(touching=1.0)) == pytest.approx(
        [1 / (1 + np.exp(-share)) for share in shares]
    )


@pytest.mark.parametrize(
    "cases",
    [
        [],
        [many(0, lambda likely: 1.0)],
        [many(0, lambda likely: 0.0)],
        [squares([9] * 200, range(1, 197), [0.9] * 200)],
        [squares([9] * 200, range(1, 5), [0.9] * 200)],
    ],
    ids=["nothing", "all right", "all wrong", "four wrong", "four right"],
)
def test_there_is_nothing_to_learn_where_nearly_all_is_right_or_wrong(cases):
    assert calibrate(cases) is None


def test_an_image_without_nuclei_has_no_confidence():
    assert rate(np.zeros((3, 3), int), np.zeros((3, 3))).shape == (0,)


@pytest.mark.parametrize(
    ("labels", "probability", "message"),
    [
        ([[0.5]], [[0.5]], "labels must be integers"),
        ([[1]], [[1.5]], r"probability must be \(H, W\) in \[0, 1\]"),
        ([[1]], [0.5], r"probability must be \(H, W\) in \[0, 1\]"),
        ([[1]], [[0.5, 0.5]], "labels and probability must have the same height and width"),
    ],
)
def test_what_does_not_fit_is_told(labels, probability, message):
    with pytest.raises(InvalidInputError, match=message):
        rate(labels, probability)
    with pytest.raises(InvalidInputError, match="scale"):
        rate([[1]], [[0.5]], scale=0)


def test_a_calibration_is_made_of_numbers():
    with pytest.raises(InvalidInputError, match="size must be a finite number, got nan"):
        Calibration(size=float("nan"))
    with pytest.raises(InvalidInputError, match=r"areas from 0 that rise, got 9 and 4.0; use calibrate"):
        Calibration(smallest=9, largest=4.0)
    with pytest.raises(InvalidInputError, match=r"areas from 0 that rise, got -1"):
        Calibration(smallest=-1)


@given(label_images, st.integers(1, SHAPE[1] - 1))
def test_sides_add_up_over_the_parts_of_an_image(labels, column):
    left, right = labels[:, :column], labels[:, column:]
    parts = [find_sides(left), find_sides(right), meet(left[:, -1], right[:, 0])]
    np.testing.assert_array_equal(united(np.concatenate(parts)), united(find_sides(labels)))
    np.testing.assert_allclose(
        touching_share(np.concatenate(parts), 4), touching_share(united(find_sides(labels)), 4), rtol=1e-12
    )


@pytest.mark.parametrize("pixels", [1, 2 * SHAPE[1], 4 * SHAPE[1]])
@given(labels=label_images, values=probabilities)
def test_a_large_image_is_rated_in_bands_as_if_it_were_whole(pixels, labels, values):
    totals, sides, confidence = find_totals(labels, values), united(find_sides(labels)), rate(labels, values)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("_regions", "contacts"):
            patch.setattr(f"nucleiseg.instances.{module}._AT_ONCE", pixels)
        for one, other in zip(find_totals(labels, values), totals, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-12)
        np.testing.assert_array_equal(united(find_sides(labels)), sides)
        np.testing.assert_allclose(rate(labels, values), confidence, rtol=1e-9)
