"""Training in bfloat16: which layers compute in it, and that nothing of it is left afterwards."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from nucleiseg.networks import get_encoder, unet
from nucleiseg.training.phases import layers_of
from nucleiseg.training.precision import computed_in


@pytest.fixture
def model(tiny_encoder):
    return unet(get_encoder(tiny_encoder), widths=(4, 4, 4, 4, 4))


def dtypes(model):
    return {layer.name: layer.compute_dtype for layer in layers_of(model) if not isinstance(layer, keras.Model)}


def test_all_but_the_first_and_the_last_layer_with_weights_take_fewer_bits(model):
    weighted = [layer for layer in layers_of(model) if layer.weights and not isinstance(layer, keras.Model)]
    with computed_in(model, "mixed_bfloat16"):
        within = [layer.compute_dtype for layer in weighted]
        assert within == ["float32", *["bfloat16"] * (len(weighted) - 2), "float32"]
        assert {variable.dtype for layer in weighted for variable in layer.weights} == {"float32"}
        assert model(np.zeros((1, 32, 32, 3), np.float32)).dtype == "float32"


def test_numbers_within_are_rounded_and_no_longer_so_afterwards(model):
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    plain = np.array(model(image))
    with computed_in(model, "mixed_bfloat16"):
        rounded = np.array(model(image))
    assert 0 < np.abs(rounded - plain).max() < 0.05
    assert np.array_equal(model(image), plain)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_whatever_happens_layers_are_left_as_they_were(model, error):
    before = dtypes(model)
    context = computed_in(model, "mixed_bfloat16")
    context.__enter__()
    assert dtypes(model) != before
    assert not context.__exit__(error, error(), None)  # which passes the error on
    assert dtypes(model) == before


def test_a_model_without_weights_stays_as_it_is():
    image = keras.Input((4, 4, 1))
    model = keras.Model(image, keras.layers.ReLU()(keras.layers.ReLU()(image)))
    with computed_in(model, "mixed_bfloat16"):
        assert set(dtypes(model).values()) == {"float32"}
