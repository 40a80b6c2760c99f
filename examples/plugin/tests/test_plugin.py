"""The names are there for whoever has installed the package, and a model that uses all of them learns and predicts."""

import numpy as np

from nucleiseg import Segmenter, datasets, list_encoders
from nucleiseg.heads import list_heads
from nucleiseg.training import FitOptions, losses


def test_the_names_are_listed():
    assert "five_convolutions" in list_encoders()
    assert "core" in list_heads()
    assert "log_cosh_dice" in losses.list_losses()


def test_a_model_learns_is_saved_and_predicts(tmp_path):
    labels = np.zeros((64, 64), np.int32)
    labels[8:24, 8:24], labels[8:24, 24:40], labels[40:56, 30:46] = 1, 2, 3
    data = datasets.from_arrays([np.uint8(200) * (labels > 0)] * 2, [labels] * 2)

    segmenter = Segmenter("five_convolutions", weights=None, head="core", widths=(8, 8, 8, 8, 8))
    history = segmenter.fit(data, epochs=2, options=FitOptions(batch_size=2, crop=(64, 64)))
    assert np.isfinite(history.column("loss")).all()

    again = Segmenter.load(segmenter.save(tmp_path / "model.keras"))
    assert again.thresholds == {"probability": 0.5, "core": 0.5}
    np.testing.assert_array_equal(again.predict(data[0].image).labels, segmenter.predict(data[0].image).labels)
