"""Thresholds that are chosen by a score: never worse than before, and kept in the model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleiseg import Segmenter, datasets
from nucleiseg.errors import InvalidInputError
from nucleiseg.inference import tune_thresholds

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
