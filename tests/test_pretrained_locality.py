"""The models in the box look at no image as a whole: what is far away changes nothing, so tiles can't be seen."""

from __future__ import annotations

import numpy as np
import pytest

from nucleiseg import Segmenter, list_pretrained
from nucleiseg.engines.engine import computing_in
from nucleiseg.inference.reach import measure_reach

FAR = 896  # pixels, more than five convolutions at the coarsest stride see on either side


@pytest.mark.parametrize("name", list_pretrained())
def test_what_is_far_away_changes_no_bit(name):
    engine = computing_in(Segmenter.from_pretrained(name)._engine, "float32")
    image = np.random.default_rng(0).random((1, 64, 64 + FAR + 64, 3), np.float32)
    other = image.copy()
    other[:, :, -64:] = 0
    before, after = engine(image), engine(other)
    np.testing.assert_array_equal(before[:, :, :64], after[:, :, :64])
    assert np.abs(before - after)[:, :, -64:].max() > 0.01
    assert measure_reach(engine) < FAR
