"""Training in bfloat16: which layers compute in it, and that nothing of it is left afterwards."""

from __future__ import annotations

import zipfile

import keras
import numpy as np
import pytest

from nucleiseg import PredictOptions, Segmenter, datasets
from nucleiseg.networks import get_encoder, unet
from nucleiseg.networks.precision import computed_in, layers_of
from nucleiseg.training import FitOptions


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


def test_single_precision_leaves_the_model_alone(model):
    model.predict_on_batch(image := np.zeros((1, 32, 32, 3), np.float32))
    traced = model.predict_function
    with computed_in(model, "float32") as as_before, as_before():
        model.predict_on_batch(image)
        assert model.predict_function is traced
    assert model.predict_function is traced


def test_what_was_traced_within_is_not_used_afterwards(model):
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    plain = model.predict_on_batch(image)
    with computed_in(model, "mixed_bfloat16") as as_before:
        rounded = model.predict_on_batch(image)
        assert np.abs(rounded - plain).max() > 0
        with as_before():
            np.testing.assert_array_equal(model.predict_on_batch(image), plain)
        np.testing.assert_array_equal(model.predict_on_batch(image), rounded)
    np.testing.assert_array_equal(model.predict_on_batch(image), plain)


@pytest.mark.usefixtures("eager_steps")
def test_who_watches_a_training_sees_a_model_in_single_precision(tiny_segmenter, disc_dataset, tmp_path):
    data = datasets.read(disc_dataset)
    image, crop = data[0].image, np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    # After the training it has a passport, which may decide otherwise.
    seen, plain = [], PredictOptions(scale=1.0, precision="float32")

    def watch(history):
        seen.append(tiny_segmenter.predict(image, plain).probability)  # by an engine that was never used before
        seen.append(tiny_segmenter.model.predict_on_batch(crop))
        tiny_segmenter.save(tmp_path / "within.keras")

    options = FitOptions(batch_size=2, crop=(64, 64), precision="mixed_bfloat16", keep="last")
    tiny_segmenter.fit(data[:2], data[2:4], epochs=1, options=options, watch=watch)
    with zipfile.ZipFile(tmp_path / "within.keras") as archive:
        assert b"bfloat16" not in archive.read("config.json")
    saved = Segmenter.load(tmp_path / "within.keras")
    for segmenter in (saved, tiny_segmenter):
        np.testing.assert_allclose(segmenter.predict(image, plain).probability, seen[0], atol=1e-6)
        np.testing.assert_allclose(segmenter.model.predict_on_batch(crop), seen[1], atol=1e-6)
        np.testing.assert_allclose(segmenter.model(crop), seen[1], atol=1e-6)
