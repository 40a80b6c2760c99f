"""Networks with fewer steps give the same numbers."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

from nucleiseg.engines.lean import followed_by_norm, lean
from nucleiseg.networks import get_encoder, unet
from nucleiseg.networks.precision import computed_in

layers = keras.layers


def disturbed(model, seed=0):
    """With a normalisation that does something."""
    noise = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name == "kernel" and not seed:
            continue
        scale = 1 if weight.name in ("gamma", "moving_variance") else 0
        weight.assign(scale + noise.normal(0, 0.2, weight.shape).clip(-0.5, 0.5))
    return model


def same(model, side=64):
    images = np.random.default_rng(1).random((2, side, side, 3), np.float32)
    wanted = np.asarray(model(images, training=False))
    assert wanted.std() > 1e-3
    np.testing.assert_allclose(np.asarray(lean(model)(images)), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("upsampling", ["pix2pix", "resize_conv"])
@pytest.mark.parametrize("convolutions", [0, 2])
def test_a_network_gives_the_same_maps(upsampling, convolutions):
    encoder = get_encoder("residual_small", weights=None)
    same(disturbed(unet(encoder, 2, upsampling=upsampling, widths=(9, 8, 7, 6, 5), convolutions=convolutions)))


def test_with_depthwise_convolutions():
    same(disturbed(unet(get_encoder("mobilenet_v2", weights=None), widths=(4, 4, 4, 4, 4))))


def image():
    return keras.Input((None, None, 3))


def conv_norm(maps, convolution):
    return layers.BatchNormalization()(convolution(maps))


CONVOLUTIONS = {
    "plain": lambda: layers.Conv2D(4, 3),
    "with a bias, strided": lambda: layers.Conv2D(4, 3, strides=2, padding="same", bias_initializer="uniform"),
    "wide apart": lambda: layers.Conv2D(4, 3, dilation_rate=2, padding="same"),
    "of groups": lambda: layers.Conv2D(6, 3, groups=3),
    "with an activation": lambda: layers.Conv2D(4, 3, activation="relu"),
    "transposed": lambda: layers.Conv2DTranspose(4, 3, strides=2, padding="same"),
    "transposed, larger": lambda: layers.Conv2DTranspose(4, 2, strides=2, output_padding=1),
    "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_kind_of_convolution(name):
    start = image()
    model = disturbed(keras.Model(start, conv_norm(start, CONVOLUTIONS[name]())))
    assert len(followed_by_norm(model)) == (name != "with an activation")
    same(model)
    start = image()
    joined = layers.Concatenate()([start, layers.Conv2D(3, 1)(start)])
    same(disturbed(keras.Model(start, conv_norm(joined, CONVOLUTIONS[name]()))))


def used_elsewhere(start):
    maps = layers.Conv2D(4, 3, padding="same")(start)
    return layers.Add()([layers.BatchNormalization()(maps), maps])


def given_out(start):
    maps = layers.Conv2D(4, 3)(start)
    return layers.Concatenate()([layers.BatchNormalization()(maps), maps])


def shared_layer(start):
    convolution, norm = layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization()
    return norm(convolution(norm(convolution(start))))


def joined_twice(start):
    joined = layers.Concatenate()([start, layers.Conv2D(2, 1)(start)])
    again = layers.Concatenate()([joined, start])
    return layers.Concatenate()([layers.Conv2D(4, 3, padding="same", activation="relu")(again), joined])


def other_axis(start):
    return layers.Conv2D(4, 3)(layers.Concatenate(axis=1)([start, start]))


def other_normalisations(start):
    maps = layers.Conv2D(4, 3)(start)
    return layers.BatchNormalization(axis=-1, scale=False, center=False)(layers.LayerNormalization()(maps))


def unscaled(start):
    return layers.BatchNormalization(scale=False, center=False)(layers.Conv2D(4, 3, use_bias=False)(start))


def dropped(start):
    return layers.Dropout(0.9)(layers.GaussianNoise(0.9)(layers.Conv2D(4, 3)(start)))


def joined_within(start):
    """Joined maps leave one model and enter the next."""
    inside = image()
    first = keras.Model(inside, layers.Concatenate()([inside, layers.Conv2D(2, 1)(inside)]))
    wider = keras.Input((None, None, 5))
    second = keras.Model(wider, conv_norm(wider, layers.Conv2D(4, 3)))
    return keras.Sequential([layers.Conv2D(3, 1)])(second(first(start)))


@pytest.mark.parametrize(
    "build",
    [
        used_elsewhere,
        given_out,
        shared_layer,
        joined_twice,
        other_axis,
        other_normalisations,
        unscaled,
        dropped,
        joined_within,
    ],
)
def test_unusual_networks_give_the_same_maps(build):
    start = image()
    same(disturbed(keras.Model(start, build(start))), side=16)


def test_the_one_output_of_a_list_is_no_list():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, [layers.Conv2D(2, 3, padding="same")(image)])
    images = np.ones((1, 32, 32, 3), np.float32)
    np.testing.assert_allclose(lean(model)(images), model(images), atol=1e-6)


def test_other_precisions_are_left_alone():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        start = image()
        model = keras.Model(start, conv_norm(start, layers.Conv2D(4, 3)))
    finally:
        keras.config.set_dtype_policy("float32")
    assert not followed_by_norm(model)


def test_a_model_that_does_more_than_its_graph_runs_as_it_is():
    class Doubled(keras.Model):
        def call(self, images, training=None):
            return 2 * super().call(images, training=training)

    start = image()
    same(disturbed(Doubled(start, conv_norm(start, layers.Conv2D(4, 3)))))


@pytest.mark.parametrize("axis", [1, 3, 4, -1, -2])
def test_maps_are_joined_along_the_axis_that_is_asked_for(axis):
    start = image()
    maps = layers.Conv2D(4, 3, padding="same")(start)
    planes = [keras.ops.expand_dims(some, 3) for some in (maps, keras.ops.tanh(maps) + 0.3)]
    joined = layers.Concatenate(axis=axis)(planes)  # (N, H, W, 1 or 2, 4 or 8)
    same(keras.Model(start, keras.ops.mean(keras.ops.max(joined, axis=3), axis=-1, keepdims=True)))


def test_maps_may_be_passed_by_name():
    start = image()
    inner = layers.Input((None, None, 8))
    block = keras.Model(inner, conv_norm(inner, layers.Conv2D(4, 3, padding="same")))
    maps = layers.Conv2D(4, 3, padding="same")(inputs=start)
    maps = layers.BatchNormalization()(inputs=maps)
    joined = layers.Concatenate()(inputs=[maps, layers.ReLU()(inputs=maps)])
    pooled = layers.MaxPooling2D(2)(inputs=joined)
    attended = layers.MultiHeadAttention(1, 2, attention_axes=(1, 2))(
        query=layers.AveragePooling2D(4)(inputs=block(inputs=joined)),
        value=layers.Concatenate()([layers.AveragePooling2D(2)(pooled), layers.MaxPooling2D(2)(pooled)]),
    )
    same(disturbed(keras.Model(start, attended)), side=16)


def test_weights_may_change():
    start = image()
    model = disturbed(keras.Model(start, conv_norm(start, layers.Conv2D(4, 3))))
    run = lean(model)
    images = np.ones((1, 8, 8, 3), np.float32)
    before = np.asarray(run(images))
    disturbed(model, seed=3)
    after = np.asarray(run(images))
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(after, np.asarray(model(images)), rtol=1e-4, atol=1e-5)


def test_layers_may_compute_in_fewer_bits_meanwhile():
    model = disturbed(unet(get_encoder("residual_small", weights=None), widths=(4, 4, 4, 4, 4)))
    images = np.random.default_rng(1).random((1, 64, 64, 3), np.float32)
    run = lean(model)
    wanted = np.asarray(run(images))
    with computed_in(model, "mixed_bfloat16"):
        rounded = np.asarray(run(images))
    assert 0 < np.abs(rounded - wanted).max() < 0.05
    np.testing.assert_array_equal(np.asarray(run(images)), wanted)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads TensorFlow's graph")
@pytest.mark.parametrize(("channels", "copied"), [(16, False), (15, True)])
def test_the_last_layer_copies_no_wide_maps_into_more_bits(channels, copied):
    import tensorflow as tf

    model = keras.Model(start := image(), layers.Conv2D(1, 3)(layers.Conv2D(channels, 3)(layers.Conv2D(5, 3)(start))))
    images = np.random.default_rng(1).random((1, 16, 16, 3), np.float32)
    run, wanted = lean(model), np.asarray(model(images))
    with computed_in(model, "mixed_bfloat16"):
        traced = tf.function(run).get_concrete_function(tf.TensorSpec((1, 16, 16, 3), tf.float32))
        rounded = np.asarray(traced(images))
    kinds = [step.get_attr("T") for step in traced.graph.get_operations() if step.type == "Conv2D"]
    assert kinds == [tf.float32, tf.bfloat16, tf.float32 if copied else tf.bfloat16]
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded, wanted, atol=0.02)


def test_a_keras_that_has_its_graph_elsewhere_runs_the_model_as_it_is(monkeypatch):
    model = disturbed(keras.Model(inputs := image(), conv_norm(inputs, layers.Conv2D(4, 3))))
    asked = []
    monkeypatch.setattr("nucleiseg.engines.lean.hasattr", lambda *_: False, raising=False)
    monkeypatch.setattr(type(model), "call", counted(type(model).call, asked))
    same(model, 16)
    assert len(asked) == 2


def counted(call, asked):
    @functools.wraps(call)
    def counting(*args, **kwargs):
        asked.append(1)
        return call(*args, **kwargs)

    return counting
