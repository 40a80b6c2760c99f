"""A larger network that begins where a trained one is."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from nucleiseg import Segmenter, grow
from nucleiseg.errors import InvalidInputError
from nucleiseg.networks import register_encoder
from nucleiseg.networks.encoders import _encoders

WIDTHS = (8, 8, 8, 8, 8)


@pytest.fixture
def segmenter(tiny_encoder):
    """With thresholds and a scaling of its own."""
    made = Segmenter(tiny_encoder, None, "distance", widths=WIDTHS, scaling="minmax", seed=3)
    made.model.set_weights([weight + 0.01 for weight in made.model.get_weights()])
    return made


def test_it_finds_the_same_and_is_otherwise_as_it_was(segmenter, tmp_path):
    before = [np.array(weight) for weight in segmenter.model.get_weights()]
    grown = grow(segmenter, refine=True)
    image = np.random.default_rng(0).random((70, 90, 3))
    one, two = segmenter.predict(image), grown.predict(image)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_allclose(one.probability, two.probability, atol=1e-5)
    assert grown.model.count_params() > segmenter.model.count_params()
    loaded = Segmenter.load(grown.save(tmp_path / "grown.keras"))
    np.testing.assert_allclose(loaded.predict(image).probability, two.probability, atol=1e-5)
    settings = [one._settings.to_json()["segmenter"] for one in (segmenter, grown)]
    assert {name for name in settings[0] if settings[0][name] != settings[1][name]} == {"refine"}
    for now, then in zip(segmenter.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_seed_decides_what_is_added(segmenter):
    kernels = [
        grow(segmenter, refine=True, seed=seed).model.get_layer("refine_1_conv").get_weights()[0] for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.any(kernels[0] != kernels[2])


def test_what_is_added_must_change_nothing_at_first(segmenter):
    @register_encoder("bent")
    def bent(weights=None):
        """The layers of the tiny one, with something else between them."""
        image = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
        x = keras.layers.Activation("tanh")(keras.layers.BatchNormalization()(x))
        for _ in range(3):
            x = keras.layers.AveragePooling2D(2)(x)
        return keras.Model(image, keras.layers.Activation("tanh")(keras.layers.Conv2D(8, 3, 2, padding="same")(x)))

    try:
        with pytest.raises(
            InvalidInputError, match=r"must change nothing at first, got maps that differ by 0\.\d+; let"
        ):
            grow(segmenter, encoder="bent")
    finally:
        _encoders.unregister("bent")


def test_another_network_is_refused(segmenter):
    with pytest.raises(InvalidInputError, match="must have every layer of the one whose weights it takes over"):
        grow(segmenter, encoder="residual")
    with pytest.raises(InvalidInputError, match="unknown encoder 'residuel'; did you mean 'residual'"):
        grow(segmenter, encoder="residuel")
