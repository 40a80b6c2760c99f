"""Thresholds that are chosen by a score: never worse than before, and kept in the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleiseg import PredictOptions, Segmenter, datasets
from nucleiseg._settings import SegmenterSettings
from nucleiseg.errors import InvalidInputError
from nucleiseg.inference import least_confidence, tune_decoder, tune_thresholds
from nucleiseg.inference.tuning import LEAST_CONFIDENCE, tune_settings
from nucleiseg.instances import get_decoder

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


def test_a_model_whose_confidence_is_calibrated_leaves_out_what_is_unsure():
    labels = np.zeros((40, 40), np.int32)
    labels[2:9, 2:9], labels[20:30, 20:30] = 1, 2
    speck = np.zeros((40, 40), bool)
    speck[30:37, 2:9] = True
    maps = np.where(labels > 0, 0.9, np.where(speck, 0.95, 0.1)).astype(np.float32)[..., np.newaxis]
    thresholds = {"probability": 0.5, "min_confidence": 0.9}
    settings = SegmenterSettings("none", None, "semantic", "dice", "pix2pix", (1,), "minmax", 0, thresholds)
    tuned = tune_settings(settings, [(labels, maps)], min_area=0)
    # Nothing is left out while it is tuned and calibrated, or there would be nothing false to learn from.
    perfect = tune_settings(settings, [(np.where(speck, 3, labels), maps)], min_area=0)
    assert tuned.thresholds["min_confidence"] == LEAST_CONFIDENCE
    assert perfect.calibration is None
    assert "min_confidence" not in perfect.thresholds
    # What the model leaves out is left out of a whole image too, until it is asked for.
    assert least_confidence(PredictOptions(), tuned.thresholds).value == LEAST_CONFIDENCE
    assert least_confidence(PredictOptions(min_confidence=0), tuned.thresholds).value == 0


class Echo:
    """In place of an engine: the image is the map."""

    multiple = 32

    def __call__(self, images):
        return images[..., :1]


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
