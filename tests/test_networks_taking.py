"""The weights of a trained network in a larger one."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from nucleiseg.errors import InvalidInputError
from nucleiseg.networks import find_encoder, get_encoder, take_weights, unet

WIDTHS = (12, 10, 8, 6, 4)


def unnamed(further=False, first=lambda images: images):
    """An encoder of layers that Keras names, and numbers through all models of a process."""
    image = keras.Input((None, None, 3))
    x = first(image)
    for filters in (3, 4, 5, 6, 7):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
        x = keras.layers.BatchNormalization()(x)
    return keras.Model(image, keras.layers.Conv2D(7, 3, padding="same")(x) if further else x)


def learned(model):
    """With weights, and statistics of normalisation, that are no longer those it was built with."""
    generator = np.random.default_rng(0)
    model.set_weights([weight + generator.uniform(0, 0.1, weight.shape) for weight in model.get_weights()])
    return model


def small(**options):
    return unet(
        get_encoder("residual", weights=None), **{"channels": 2, "widths": WIDTHS, "convolutions": 1, **options}
    )


def large(**options):
    encoder = get_encoder("residual_deep", weights=None)
    return unet(encoder, **{"channels": 2, "widths": WIDTHS, "convolutions": 1, "refine": True, **options})


def images():
    return np.random.default_rng(1).random((2, 64, 96, 3), np.float32)


@pytest.mark.parametrize("upsampling", ["pix2pix", "resize_conv"])
def test_what_was_added_changes_nothing_at_first(upsampling):
    source, model = learned(small(upsampling=upsampling)), large(upsampling=upsampling)
    take_weights(model, source)
    assert source.count_params() < model.count_params()
    np.testing.assert_array_equal(model(images()), source(images()))


def test_layers_that_keras_has_named_are_known_by_their_places():
    source, model = learned(unet(unnamed(), widths=WIDTHS)), unet(unnamed(), widths=WIDTHS, refine=True)
    assert {layer.name for layer in find_encoder(source).layers}.isdisjoint(
        {layer.name for layer in find_encoder(model).layers if layer.weights}
    )
    take_weights(model, source)
    np.testing.assert_array_equal(model(images()), source(images()))


@pytest.mark.usefixtures("eager_steps")
def test_what_was_added_learns():
    model = large()
    take_weights(model, learned(small()))
    added = ["refine_1_conv", "refine_1_norm", "refine_2_conv", "refine_2_norm"]
    before = [model.get_layer(name).get_weights()[0] for name in added]
    model.compile(keras.optimizers.Adam(0.01), loss="mse")
    for _ in range(2):  # the first step moves the factors that are 0, the second what is behind them
        model.train_on_batch(images(), np.zeros((2, 64, 96, 2), np.float32))
    for name, start in zip(added, before, strict=True):
        assert np.any(model.get_layer(name).get_weights()[0] != start), name


@pytest.mark.parametrize(
    ("other", "lacks"),
    [
        (lambda: large(channels=3), "'maps'; build it"),
        (lambda: large(convolutions=0), r"'merge_16_1_conv', 'merge_16_1_norm', .* and \d+ more"),
        (lambda: large(upsampling="resize_conv"), "'conv2d_transpose"),
        (lambda: unet(unnamed(), channels=2, widths=WIDTHS, convolutions=1), "'stem_conv', 'stem_norm'"),
    ],
)
def test_a_network_that_lacks_a_layer_is_refused_and_left_alone(other, lacks):
    model = other()
    before = model.get_weights()
    with pytest.raises(InvalidInputError, match=f"every layer .* in the same shape, lacks .*{lacks}"):
        take_weights(model, learned(small()))
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_normalisation_is_taken_with_what_it_computes():
    def normalised():
        norm = keras.layers.Normalization()
        return norm, unet(unnamed(first=norm), widths=WIDTHS)

    (norm, source), (_, model) = normalised(), normalised()
    norm.adapt(np.random.default_rng(0).random((8, 8, 8, 3)) / 9 + 5)
    assert np.abs(source(images()) - model(images())).max() > 0.1
    take_weights(model, source)
    np.testing.assert_array_equal(model(images()), source(images()))


def test_as_many_layers_that_keras_has_named_must_be_there():
    with pytest.raises(InvalidInputError, match="lacks 'conv2d"):
        take_weights(unet(unnamed(further=True), widths=WIDTHS), unet(unnamed(), widths=WIDTHS))
