"""The weights of a trained network in a larger one."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from nucleiseg.errors import InvalidInputError
from nucleiseg.networks import get_encoder, take_weights, unet

WIDTHS = (12, 10, 8, 6, 4)


@pytest.fixture(scope="module")
def learned():
    """A U-Net whose weights, and statistics of normalisation, are no longer those it was built with."""
    model = unet(get_encoder("residual", weights=None), channels=2, widths=WIDTHS, convolutions=1)
    generator = np.random.default_rng(0)
    model.set_weights([weight + generator.uniform(0, 0.1, weight.shape) for weight in model.get_weights()])
    return model


def grown(**options):
    wanted = {"channels": 2, "widths": WIDTHS, "convolutions": 1, "refine": True, **options}
    return unet(get_encoder("residual_deep", weights=None), **wanted)


def test_what_was_added_changes_nothing_at_first(learned):
    larger = grown()
    images = np.random.default_rng(1).random((2, 64, 96, 3), np.float32)
    assert take_weights(larger, learned) == learned.count_params() < larger.count_params()
    np.testing.assert_array_equal(larger(images), learned(images))


def test_what_was_added_learns(learned):
    larger = grown()
    take_weights(larger, learned)
    images = np.random.default_rng(1).random((2, 64, 64, 3), np.float32)
    added = ["refine_1_conv", "refine_1_norm", "refine_2_conv", "refine_2_norm"]
    before = [larger.get_layer(name).get_weights()[0] for name in added]
    larger.compile(keras.optimizers.Adam(0.01), loss="mse")
    for _ in range(2):  # the first step moves the factors that are 0, the second what is behind them
        larger.train_on_batch(images, np.zeros((2, 64, 64, 2), np.float32))
    for name, start in zip(added, before, strict=True):
        assert np.any(larger.get_layer(name).get_weights()[0] != start), name


def test_layers_of_other_shapes_keep_their_weights(learned):
    other = grown(channels=3)
    maps = other.get_layer("maps").get_weights()
    assert take_weights(other, learned) == learned.count_params() - learned.get_layer("maps").count_params()
    for now, before in zip(other.get_layer("maps").get_weights(), maps, strict=True):
        np.testing.assert_array_equal(now, before)


def test_networks_that_have_little_in_common_are_refused_and_left_alone(learned):
    small = unet(get_encoder("residual_small", weights=None), channels=2, widths=WIDTHS, convolutions=1)
    before = small.get_weights()
    message = r"share at least half of its weights .*, shares [\d,]+ of [\d,]+; build it with the same widths"
    with pytest.raises(InvalidInputError, match=message):
        take_weights(small, learned)
    for now, then in zip(small.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
