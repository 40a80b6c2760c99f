"""A prediction that is watched says how far it is, and can be stopped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg import PredictOptions, Tiling
from nucleiseg.inference import predict_maps
from nucleiseg.inference.memory import Plan
from nucleiseg.inference.segmenting import Decoding, segment
from nucleiseg.inference.watching import expect_passes, one_pass, watched
from nucleiseg.instances import get_decoder


class Engine:
    """Gives the first channel, and counts its calls."""

    multiple = 32
    calls = 0

    def __call__(self, images):
        self.calls += 1
        return images[..., :1]


def decoding(**options):
    return Decoding(get_decoder("components"), {"probability": 0.5}, PredictOptions(**options))


@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    tiling=st.sampled_from([None, Tiling(64, 16), Tiling(96, 48)]),
    windows=st.sampled_from([None, Tiling(128, 64)]),
    tta=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_as_many_passes_are_done_as_were_expected(shape, tiling, windows, tta):
    seen, engine = [], Engine()
    with watched(lambda done, total: seen.append((done, total))):
        segment(np.eye(*shape), engine, "minmax", decoding(tta=tta), Plan(tiling, windows, 32 if windows else 0))
    assert seen == [(done, engine.calls) for done in range(engine.calls)]


def test_what_the_watcher_raises_stops_the_prediction_there():
    engine = Engine()

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    options = PredictOptions(tiling=Tiling(64, 32))
    with watched(stop), pytest.raises(KeyboardInterrupt):
        predict_maps(np.eye(256), engine, "minmax", options)
    assert engine.calls == 2
    with watched(stop), pytest.raises(KeyboardInterrupt):
        segment(np.eye(256), engine, "minmax", decoding(), Plan(None, Tiling(128, 64), 32))
    assert engine.calls == 4


def test_every_look_is_counted_anew():
    seen = []
    with watched(lambda done, total: seen.append((done, total))):
        for _ in range(2):
            predict_maps(np.eye(32), Engine(), "minmax", PredictOptions())
    assert seen == [(0, 1), (0, 1)]


def test_nobody_is_told_after_the_block():
    with watched(lambda done, total: pytest.fail("too late")):
        pass
    expect_passes(lambda: pytest.fail("nobody asked"))
    with one_pass(9):
        pass
