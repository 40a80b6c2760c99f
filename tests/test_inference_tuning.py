"""Thresholds that are chosen by a score: never worse than before, and kept in the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.draw import disk
from stubs import Echo

from nucleiseg import PredictOptions, Segmenter, datasets
from nucleiseg._settings import SegmenterSettings
from nucleiseg.errors import InvalidInputError
from nucleiseg.inference import decoding_score, least_confidence, tune_decoder, tune_thresholds
from nucleiseg.inference.tuning import LEAST_CONFIDENCE, tune_settings
from nucleiseg.instances import Calibration, get_decoder, rate

values = st.floats(0.02, 0.98)


@given(start=st.dictionaries(st.sampled_from("abc"), values, min_size=1), seed=st.integers(0, 99))
def test_the_score_never_gets_worse(start, seed):
    centre = dict(zip("abc", np.random.default_rng(seed).random(3), strict=True))

    def score(thresholds):
        return -sum(np.sin(9 * abs(value - centre[name])) for name, value in thresholds.items())

    best = tune_thresholds(score, start)
    assert best.keys() == start.keys()
    assert all(0 < value < 1 for value in best.values())
    assert score(best) >= score(start)


@given(wanted=st.tuples(values, values))
def test_a_single_best_point_is_found_to_a_twentieth(wanted):
    best = tune_thresholds(lambda at: -abs(at["a"] - wanted[0]) - abs(at["b"] - wanted[1]), {"a": 0.5, "b": 0.5})
    assert abs(best["a"] - wanted[0]) <= 0.05 + 1e-9
    assert abs(best["b"] - wanted[1]) <= 0.05 + 1e-9


def test_what_is_as_good_is_left_as_it_is():
    assert tune_thresholds(lambda _: 1.0, {"probability": 0.37}) == {"probability": 0.37}


def test_a_given_area_is_not_chosen_anew():
    maps = np.zeros((9, 9, 1), np.float32)
    maps[1, 1], maps[3:8, 3:8] = 0.9, 0.8
    labels = np.zeros((9, 9), int)
    labels[3:8, 3:8] = 1
    decode = get_decoder("components")
    assert tune_decoder([(labels, maps)], decode, {"probability": 0.5})["min_area"] == 5
    assert "min_area" not in tune_decoder([(labels, maps)], decode, {"probability": 0.5}, min_area=0)


def test_the_smallest_area_of_the_model_counts_where_none_is_asked_for(tiny_encoder):
    labels = np.zeros((1, 32, 32), np.int32)
    labels[:, 2:6, 2:6], labels[:, 12:28, 12:28] = 1, 2
    segmenter = Segmenter(tiny_encoder, None, "semantic", widths=(4, 4, 4, 4, 4))
    segmenter._settings = replace(segmenter._settings, thresholds={"probability": 0.5, "min_area": 100})
    segmenter._engine = Echo()
    image = np.repeat(labels[0, ..., np.newaxis] > 0, 3, axis=2).astype(np.uint8)
    assert segmenter.predict(image).count == 1
    assert segmenter.predict(image, PredictOptions(min_area=0)).count == 2


def case(nuclei, specks):
    """So many nuclei, and false ones that no threshold tells apart: labels and maps."""
    labels, maps = np.zeros((24, 12 * (nuclei + specks)), np.int32), np.full((24, 12 * (nuclei + specks), 1), 0.1)
    for number in range(nuclei + specks):
        place = (slice(2, 10), slice(12 * number + 2, 12 * number + 10))
        maps[place] = 0.9
        if number < nuclei:
            labels[place] = number + 1
    return labels, maps.astype(np.float32)


OLD = {"intercept": 0.5, "certainty": 2.0, "size": 0.1, "size_squared": 0.0, "touching": -1.0}


@pytest.mark.parametrize(
    ("nuclei", "specks", "had", "least", "kept"),
    [
        (90, 20, None, LEAST_CONFIDENCE, False),
        (90, 20, 0.4, LEAST_CONFIDENCE, False),
        (20, 6, None, None, False),  # too few to leave anything out by
        (20, 6, 0.4, LEAST_CONFIDENCE, False),
        (20, 1, 0.4, 0.4, True),
        (20, 0, 0.4, 0.4, True),
        (20, 0, None, None, True),
    ],
)
def test_what_few_nuclei_cannot_tell_stays_as_the_model_had_it(nuclei, specks, had, least, kept):
    thresholds = {"probability": 0.5, **({} if had is None else {"min_confidence": had})}
    settings = SegmenterSettings("none", None, "semantic", "dice", "pix2pix", (1,), "minmax", 0, thresholds)
    calibrated = replace(settings, calibration=OLD)
    # Nothing is left out while it is tuned, or there would be nothing false to learn from.
    tuned = tune_settings(calibrated, [case(nuclei, specks)], min_area=0)
    assert tuned.thresholds.get("min_confidence") == least
    assert (tuned.calibration == OLD) == kept
    # What the model leaves out is left out of a whole image too, until it is asked for.
    assert least_confidence(PredictOptions(), tuned.thresholds).value == (least or 0)
    assert least_confidence(PredictOptions(min_confidence=0), tuned.thresholds).value == 0


def test_nuclei_at_a_scale_that_may_not_suit_are_rated_by_a_calibration_of_their_own():
    labels, maps = discs_in_a_row([9, 10] * 60 + [3] * 30 + [14] * 30)
    truth = np.where(labels <= 120, labels, 0)
    settings = SegmenterSettings("none", None, "semantic", "dice", "pix2pix", (1,), "minmax", 0, {"probability": 0.5})
    tuned = tune_settings(settings, [(truth, maps)], 0)
    assert tuned.calibration["size_squared"] < 0 == tuned.scale_calibration["size_squared"]
    few = tune_settings(settings, [case(20, 6)], 0)
    assert few.scale_calibration == few.calibration


def test_tuned_on_a_few_images_a_model_still_finds_nuclei_of_other_sizes():
    """24 nuclei of one size and six false ones, half as wide again, choose; then there are real ones of that size."""
    labels, maps = discs_in_a_row([8, 9, 10, 11] * 6 + [15] * 6)
    settings = SegmenterSettings("none", None, "semantic", "dice", "pix2pix", (1,), "minmax", 0, {"probability": 0.5})
    tuned = tune_settings(settings, [(np.where(labels <= 24, labels, 0), maps)], 0)
    new, maps = discs_in_a_row([9] * 30 + [16] * 5)
    assert rate(new, maps[..., 0], Calibration(**tuned.calibration)).min() > 0.5


def test_thresholds_suit_what_is_left_when_unsure_nuclei_are_left_out():
    """Faint nuclei are worth a lower threshold where the specks that come with them are told by their size."""
    labels, maps = discs_in_a_row([9, 10] * 50 + [3] * 25 + [8] * 30 + [3] * 60)
    truth = np.where(np.isin(labels, [*range(1, 101), *range(126, 156)]), labels, 0)
    maps[labels > 125] = 0.45
    settings = SegmenterSettings("none", None, "semantic", "dice", "pix2pix", (1,), "minmax", 0, {"probability": 0.5})
    assert tune_decoder([(truth, maps)], get_decoder("components"), {"probability": 0.5}, 0)["probability"] == 0.5
    tuned = tune_settings(settings, [(truth, maps)], 0)
    assert tuned.thresholds["probability"] < 0.45
    found = get_decoder("components")(maps, tuned.thresholds, 0)
    sure = rate(found.labels, found.probability, Calibration(**tuned.calibration)) >= LEAST_CONFIDENCE
    assert np.count_nonzero(sure) == 130


def test_the_score_is_half_of_nuclei_and_half_of_images():
    """Nine nuclei in one image are found at .5 alone, the single one of each of two others at .3 alone."""
    crowded, sparse = discs_in_a_row([9] * 9), discs_in_a_row([9])
    cases = [crowded, *2 * [(sparse[0], sparse[1] * 0.43)]]
    score = decoding_score(cases, get_decoder("components"), 0)
    assert score({"probability": 0.5}) == pytest.approx((9 / 11 + 1 / 3) / 2)
    assert score({"probability": 0.3}) == 1
    # A false nucleus in an image without any costs that image all, and the pool a little.
    empty = np.zeros_like(sparse[0]), sparse[1]
    assert decoding_score([crowded, empty], get_decoder("components"), 0)({"probability": 0.5}) == pytest.approx(
        (9 / 10 + 1 / 2) / 2
    )


def test_areas_count_as_the_network_saw_them_where_thresholds_are_chosen():
    """The specks of images that were magnified are told by the size that they have there."""
    labels, maps = discs_in_a_row([9, 10] * 60 + [3] * 30)
    truth = np.where(labels <= 120, labels, 0)
    settings = SegmenterSettings("none", None, "semantic", "dice", "pix2pix", (1,), "minmax", 0, {"probability": 0.5})
    plain, magnified = (tune_settings(settings, [(truth, maps, factor)], 0) for factor in (1.0, 2.0))
    assert magnified.calibration["largest"] == pytest.approx(4 * plain.calibration["largest"], rel=0.02)


def discs_in_a_row(radii):
    labels = np.zeros((40, 40 * len(radii)), np.int32)
    for number, radius in enumerate(radii):
        labels[disk((20, 40 * number + 20), radius)] = number + 1
    return labels, np.where(labels > 0, 0.93, 0.1).astype(np.float32)[..., np.newaxis]


def test_a_segmenter_keeps_its_thresholds(tiny_encoder, tmp_path):
    labels = np.zeros((2, 32, 32), np.int32)
    labels[:, 8:20, 8:20] = 1
    data = datasets.from_arrays((labels * 200).astype(np.uint8), labels)
    segmenter = Segmenter(tiny_encoder, None, "distance", widths=(4, 4, 4, 4, 4))
    # An untrained network's maps are flat: only thresholds below them give any nucleus.
    chosen = segmenter.optimize_thresholds(data)
    assert chosen == segmenter.thresholds
    assert Segmenter.load(segmenter.save(tmp_path / "model.keras")).thresholds == chosen
    with pytest.raises(InvalidInputError, match="empty dataset"):
        segmenter.optimize_thresholds(data[:0])
