from __future__ import annotations

import keras
import numpy as np
import pytest

from nucleiseg.errors import InvalidInputError
from nucleiseg.networks import STRIDES, pyramid

layers = keras.layers


def convolution(filters, strides=2, padding="same"):
    return layers.Conv2D(filters, 3, strides=strides, padding=padding)


@pytest.fixture
def image():
    return keras.Input((None, None, 3), name="image")


def test_the_last_map_of_each_stride_is_tapped(image):
    x, wanted = image, []
    for filters in (2, 3, 4, 5, 6):
        x = convolution(filters)(x)
        wanted.append(layers.ReLU()(convolution(10 * filters, strides=1)(x)))
        x = wanted[-1]
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x), name="plain")
    taps = pyramid(model)
    assert [tap is map_ for tap, map_ in zip(taps.outputs, wanted, strict=True)] == [True] * 5
    assert taps.name == "plain"
    # The layers are the model's own: what is learnt in one is learnt in the other.
    assert set(map(id, taps.weights)) == set(map(id, model.weights))


def test_a_branch_that_is_pooled_to_a_point_is_no_map(image):
    x = image
    for filters in (2, 3, 4, 5, 6):
        x = convolution(filters)(x)
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        x = layers.Multiply()([x, layers.Conv2D(filters, 1, activation="sigmoid")(gate)])
    taps = pyramid(keras.Model(image, x))
    assert [tap.shape[-1] for tap in taps.outputs] == [2, 3, 4, 5, 6]
    assert [tap.shape for tap in taps(np.zeros((1, 64, 96, 3), np.float32))] == [
        (1, 64 // stride, 96 // stride, filters) for stride, filters in zip(STRIDES, (2, 3, 4, 5, 6), strict=True)
    ]


def test_padding_before_a_strided_layer_is_no_map(image):
    x = image
    for filters in (2, 3, 4, 5, 6):
        x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        x = convolution(filters, padding="valid")(x)
    assert [tap.shape[-1] for tap in pyramid(keras.Model(image, x)).outputs] == [2, 3, 4, 5, 6]


def test_a_layer_that_is_used_twice_has_a_map_at_each_place(image):
    x, wanted, shared = image, [], layers.ReLU()
    for filters in (2, 3, 4, 5, 6):
        x = shared(convolution(filters)(x))
        wanted.append(x)
    taps = pyramid(keras.Model(image, x)).outputs
    assert [tap is map_ for tap, map_ in zip(taps, wanted, strict=True)] == [True] * 5


def gate(filters):
    maps, seen = keras.Input((None, None, filters)), keras.Input((None, None, filters))
    return keras.Model([maps, seen], layers.Multiply()([maps, layers.Conv2D(filters, 1, activation="sigmoid")(seen)]))


def functional(filters):
    maps = keras.Input((None, None, filters))
    return keras.Model(maps, layers.ReLU()(convolution(filters, strides=1)(maps)))


@pytest.mark.parametrize(
    "block",
    [
        lambda x, filters: keras.Sequential([convolution(filters, strides=1), layers.ReLU()])(x),
        lambda x, filters: functional(filters)(x),
        lambda x, filters: gate(filters)([x, convolution(filters, strides=1)(x)]),
        lambda x, filters: x + functional(filters)(x),
    ],
)
def test_models_within_are_steps_like_others(block, image):
    x, wanted = image, []
    for filters in (2, 3, 4, 5, 6):
        x = block(convolution(filters)(x), filters)
        wanted.append(x)
    model = keras.Model(image, x)
    taps = pyramid(model)
    assert [tap is map_ for tap, map_ in zip(taps.outputs, wanted, strict=True)] == [True] * 5
    assert set(map(id, taps.weights)) == set(map(id, model.weights))
    images = np.random.default_rng(0).random((1, 64, 96, 3), np.float32)
    np.testing.assert_array_equal(taps(images)[-1], model(images))


def test_five_outputs_that_fit_are_kept(image):
    x, outputs = image, []
    for filters in (2, 3, 4, 5, 6):
        x = convolution(filters)(x)
        outputs.append(x)
        x = layers.ReLU()(x)  # not what the author chose
    model = keras.Model(image, outputs)
    assert pyramid(model) is model
    assert pyramid(keras.Model(image, outputs[::-1])).outputs[0].shape[-1] == 2


@pytest.mark.parametrize(
    "arrange",
    [
        lambda maps: {f"P{number}": map_ for number, map_ in enumerate(maps, 1)},
        lambda maps: {f"stride_{stride}": map_ for stride, map_ in zip(STRIDES, maps, strict=True)},  # 16 before 2
        tuple,
        lambda maps: [maps[:2], maps[2:]],
        lambda maps: maps[::-1],
    ],
)
def test_five_outputs_in_another_structure_or_order_become_a_list_by_stride(arrange, image):
    x, outputs = image, []
    for filters in (2, 3, 4, 5, 6):
        x = convolution(filters)(x)
        outputs.append(x)
        x = layers.ReLU()(x)  # not what the author chose
    model = keras.Model(image, arrange(outputs), name="features")
    taps = pyramid(model)
    assert [tap is map_ for tap, map_ in zip(taps.output, outputs, strict=True)] == [True] * 5
    assert taps.name == "features"
    assert set(map(id, taps.weights)) == set(map(id, model.weights))
    given = taps(np.zeros((1, 64, 96, 3), np.float32))
    assert [map_.shape for map_ in given] == [
        (1, 64 // stride, 96 // stride, filters) for stride, filters in zip(STRIDES, (2, 3, 4, 5, 6), strict=True)
    ]


@pytest.mark.parametrize(
    ("strides", "missing", "found"),
    [
        ((2, 2, 2, 2), "32", "[1, 2, 4, 8, 16]"),
        ((4, 2, 2, 2), "2", "[1, 4, 8, 16, 32]"),
        ((2, 4, 2, 2), "4", "[1, 2, 8, 16, 32]"),
        ((2, 2), "8, 16, 32", "[1, 2, 4]"),
    ],
)
def test_a_stride_that_is_missing_is_named(strides, missing, found, image):
    x = layers.ReLU()(image)
    for step in strides:
        x = convolution(2, strides=step)(x)
    with pytest.raises(InvalidInputError) as caught:
        pyramid(keras.Model(image, x, name="shallow"))
    message = str(caught.value)
    assert f"'shallow' has none at stride {missing} (found {found})" in message
    assert "pad its strided layers with 'same'" in message


def test_layers_without_padding_have_no_whole_stride(image):
    x = image
    for _ in range(5):
        x = convolution(2, padding="valid")(x)
    with pytest.raises(InvalidInputError, match="none at stride 2, 4, 8, 16, 32"):
        pyramid(keras.Model(image, x))


def test_strides_that_differ_between_rows_and_columns_do_not_count(image):
    x = convolution(2, strides=(4, 2))(image)
    with pytest.raises(InvalidInputError, match="none at stride 2, 4"):
        pyramid(keras.Model(image, x))


class Subclassed(keras.Model):
    pass


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: "mobilenet_v2", "must be a functional keras.Model, got str; build it with"),
        (lambda: layers.Conv2D(2, 3), "must be a functional keras.Model, got Conv2D"),
        (Subclassed, "must be a functional keras.Model, got Subclassed"),
        (lambda: one_input(None, None, 3, make=keras.Function), "must be a functional keras.Model, got Function"),
        (lambda: two_inputs(), r"must take one image batch of shape \(None, None, None, 3\), 'pair' takes \["),
        (lambda: one_input(64, 64, 3), r"takes \[\(None, 64, 64, 3\)\]; build it with input_shape=\(None, None, 3\)"),
        (lambda: one_input(None, None, 1), r"takes \[\(None, None, None, 1\)\]"),
    ],
)
def test_what_is_no_encoder(model, message):
    with pytest.raises(InvalidInputError, match=message):
        pyramid(model())


def one_input(*shape, make=keras.Model):
    image = keras.Input(shape)
    return make(image, layers.ReLU()(image))


def two_inputs():
    images = [keras.Input((None, None, 3)) for _ in range(2)]
    return keras.Model(images, layers.Add()(images), name="pair")
