from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg.errors import InvalidInputError
from nucleiseg.networks import DEFAULT_WIDTHS, find_encoder, list_upsamplings, unet, upsampling

WIDTHS = (12, 10, 8, 6, 4)


def small_encoder(name="small"):
    image = keras.Input((None, None, 3))
    x = image
    for filters in (3, 4, 5, 6, 7):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(image, x, name=name)


@pytest.fixture(scope="module")
def model():
    """A U-Net with two output maps."""
    return unet(small_encoder(), channels=2, widths=WIDTHS)


def images(height, width, number=1):
    return np.random.default_rng(0).random((number, height, width, 3), np.float32)


def inputs_of(model, name):
    """The layers whose outputs a layer of the model takes."""
    taken = model.get_layer(name).input
    return [tensor._keras_history.operation.name for tensor in (taken if isinstance(taken, list) else [taken])]


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3))
def test_height_and_width_may_be_any_multiples_of_the_stride(model, rows, columns, number):
    height, width = 32 * rows, 32 * columns
    maps = np.asarray(model(images(height, width, number)))
    assert maps.shape == (number, height, width, 2)
    assert maps.dtype == np.float32


def test_it_is_a_plain_functional_model(model):
    assert type(model).__name__ == "Functional"
    assert model.name == "unet"
    assert [tuple(tensor.shape) for tensor in model.inputs] == [(None, None, None, 3)]
    assert model.output_shape == (None, None, None, 2)
    assert not model.compiled
    modules = {type(layer).__module__.split(".")[0] for layer in model._flatten_layers(include_self=False)}
    assert modules == {"keras"}


def test_it_computes_with_a_height_and_width_that_are_not_known_yet(model):
    # As an exported or compiled model does.
    import tensorflow as tf

    anything = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec((None, None, None, 3))])
    batch = images(64, 32)
    np.testing.assert_allclose(anything(batch), model(batch), atol=1e-6)


def test_widths_are_those_of_the_blocks(model):
    for stride, width in zip((16, 8, 4, 2, 1), WIDTHS, strict=True):
        assert model.get_layer(f"upsample_{stride}").output.shape[-1] == width
    default = unet(small_encoder())
    assert [default.get_layer(f"upsample_{stride}").output.shape[-1] for stride in (16, 8, 4, 2, 1)] == [
        *DEFAULT_WIDTHS
    ]
    assert default.output_shape[-1] == 1


def test_each_skip_brings_the_map_of_its_stride_and_the_last_the_image(model):
    before = "small"
    for stride, channels in zip((16, 8, 4, 2, 1), (6, 5, 4, 3, 3), strict=True):
        assert inputs_of(model, f"upsample_{stride}") == [before]
        assert inputs_of(model, f"skip_{stride}") == [f"upsample_{stride}", "small" if stride > 1 else "image"]
        assert model.get_layer(f"skip_{stride}").input[1].shape[-1] == channels
        before = f"skip_{stride}"
    assert inputs_of(model, "maps") == ["skip_1"]


@pytest.mark.parametrize("name", list_upsamplings())
@pytest.mark.parametrize("channels", [1, 3])
def test_any_block_and_any_number_of_maps(name, channels):
    model = unet(small_encoder(), channels, upsampling=name, widths=WIDTHS, name="mine")
    assert model.name == "mine"
    assert model(images(32, 64)).shape == (1, 32, 64, channels)


@pytest.mark.parametrize(
    ("activation", "law"),
    [
        ("sigmoid", lambda maps: ((maps > 0) & (maps < 1)).all()),
        ("softmax", lambda maps: np.allclose(maps.sum(axis=-1), 1, atol=1e-6)),
        ("linear", lambda maps: (maps < 0).any()),
    ],
)
def test_the_activation_is_that_of_the_maps(activation, law):
    model = unet(small_encoder(), 2, activation=activation, widths=WIDTHS)
    assert law(np.asarray(model(images(32, 32))))


def test_maps_are_float32_in_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = unet(small_encoder(), widths=WIDTHS)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert model.get_layer("upsample_16").compute_dtype == "float16"
    assert model.output.dtype == "float32"


def test_every_weight_of_encoder_and_decoder_learns():
    import tensorflow as tf

    model = unet(small_encoder(), widths=WIDTHS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(images(32, 32, 2), training=True) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    assert len(model.trainable_variables) > len(find_encoder(model).trainable_variables) > 0


def test_the_encoder_is_one_layer_that_can_be_frozen():
    model = unet(small_encoder("frozen_one"), widths=WIDTHS)
    encoder = model.get_layer("frozen_one")
    assert encoder is find_encoder(model)
    before = len(model.trainable_variables)
    encoder.trainable = False
    assert len(model.trainable_variables) == before - 10


def test_it_is_saved_and_loaded_in_safe_mode(model, tmp_path):
    model.save(tmp_path / "unet.keras")
    loaded = keras.saving.load_model(tmp_path / "unet.keras", safe_mode=True)
    batch = images(32, 96)
    np.testing.assert_allclose(loaded(batch), model(batch), atol=1e-6)
    assert find_encoder(loaded).name == "small"
    assert loaded.output_shape == model.output_shape


@pytest.mark.parametrize("count", [1, 2])
def test_convolutions_follow_every_skip_but_the_last(count):
    model = unet(small_encoder(), widths=WIDTHS, convolutions=count)
    for stride, width in zip((16, 8, 4, 2), WIDTHS, strict=False):
        convolutions = [layer for layer in model.layers if layer.name.startswith(f"merge_{stride}_")]
        assert [layer.output.shape[-1] for layer in convolutions] == [width] * 3 * count
        assert inputs_of(model, f"merge_{stride}_1_conv") == [f"skip_{stride}"]
    assert inputs_of(model, "upsample_8") == [f"merge_16_{count}_relu"]
    assert inputs_of(model, "maps") == ["skip_1"]


def test_the_last_block_refines_what_it_sees_beside_the_image():
    model = unet(small_encoder(), widths=WIDTHS, refine=True)
    assert inputs_of(model, "refine_seen") == ["upsample_1", inputs_of(model, "skip_1")[1]]
    assert inputs_of(model, "refine_1_conv") == ["refine_seen"]
    assert inputs_of(model, "refine_add") == ["refine_2_norm", "upsample_1"]
    assert inputs_of(model, "skip_1")[0] == "refine_relu"
    assert model.get_layer("refine_add").output.shape[-1] == WIDTHS[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (8, 8, 8)}, r"widths must be 5 numbers, one for each of the strides 16, 8, 4, 2, 1, got 3; for ex"),
        ({"widths": (8,) * 6}, "got 6"),
        ({"widths": (8, 8, 0, 8, 8)}, "widths must be a whole number of at least 1, got 0"),
        ({"widths": (8, 8, 8.5, 8, 8)}, "widths must be a whole number of at least 1, got 8.5"),
        ({"convolutions": -1}, "convolutions must be a whole number of at least 0, got -1"),
        ({"refine": "yes"}, "refine must be true or false, got 'yes'"),
        ({"channels": 0}, "channels must be a whole number of at least 1, got 0"),
        ({"activation": "sigmoidd"}, r"activation must be one that Keras knows, got 'sigmoidd'; usual are 'sigmoid'"),
        ({"activation": 3}, "activation must be one that Keras knows, got 3"),
        ({"upsampling": "pixpix"}, "unknown upsampling block 'pixpix'; did you mean 'pix2pix'"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(InvalidInputError, match=message):
        unet(small_encoder(), **options)


@pytest.fixture
def register():
    """Add a block named mine for the test."""

    def add(build):
        upsampling.register_upsampling("mine")(build)

    yield add
    upsampling._upsamplings.unregister("mine")


def block(*layers):
    """A function that builds a block; a layer may be a function of the number of channels."""

    def build(filters, size, name=None):
        made = [
            layer(filters) if not isinstance(layer, keras.Layer) else layer.from_config(layer.get_config())
            for layer in layers
        ]
        return keras.Sequential(made, name=name)

    return build


def same(filters):
    return keras.layers.Conv2D(filters, 3, padding="same")


@pytest.mark.parametrize(
    ("build", "got"),
    [
        (block(same), r"\(1, 8, 12, 12\)"),
        (block(keras.layers.UpSampling2D((2, 1)), same), r"\(1, 16, 12, 12\)"),
        (block(keras.layers.UpSampling2D(4), same), r"\(1, 32, 48, 12\)"),
        (block(keras.layers.UpSampling2D(2)), r"\(1, 16, 24, 7\)"),
        (block(keras.layers.UpSampling2D(2), lambda filters: keras.layers.Conv2D(filters, 3)), r"\(1, 14, 22, 12\)"),
        (block(keras.layers.UpSampling2D(2), same, keras.layers.Permute((2, 1, 3))), r"\(1, 24, 16, 12\)"),
        (lambda filters, size, name: lambda x: [same(filters)(x)], "list"),
    ],
)
def test_a_block_that_does_not_double_is_refused_when_the_network_is_built(build, got, register):
    register(build)
    message = rf"'mine' must make \(1, 16, 24, 12\) of \(1, 8, 12, 7\), got {got}; begin it with"
    with pytest.raises(InvalidInputError, match=message):
        unet(small_encoder(), widths=WIDTHS, upsampling="mine")


@pytest.mark.parametrize("build", [lambda filters, size: None, lambda filters, name: None, lambda *, name: None])
def test_a_block_that_cannot_be_built_by_filters_size_and_name_is_refused(build, register):
    register(build)
    with pytest.raises(
        InvalidInputError, match=r"built by \(filters, size, name=None\), which 'mine' can't be \(.*\); give"
    ):
        unet(small_encoder(), widths=WIDTHS, upsampling="mine")


class Repeated(keras.Layer):
    """Tells Keras no shapes, so that it has to find them."""

    def call(self, x):
        return keras.ops.repeat(keras.ops.repeat(x, 2, axis=1), 2, axis=2)


@pytest.mark.parametrize(
    "build",
    [
        block(keras.layers.UpSampling2D(2), same),
        lambda filters, size, name=None: lambda x: same(filters)(keras.layers.UpSampling2D(2)(x)),
        lambda *numbers, **options: lambda x: Repeated()(same(numbers[0])(x)),
    ],
)
def test_a_block_may_be_any_function_that_doubles(build, register):
    register(build)
    assert unet(small_encoder(), widths=WIDTHS, upsampling="mine")(images(32, 64)).shape == (1, 32, 64, 1)


def test_an_encoder_without_all_strides_is_refused():
    image = keras.Input((None, None, 3))
    shallow = keras.Model(image, keras.layers.Conv2D(4, 3, strides=2, padding="same")(image), name="shallow")
    with pytest.raises(InvalidInputError, match="'shallow' has none at stride 4, 8, 16, 32"):
        unet(shallow)


def test_an_encoder_may_give_its_maps_by_name():
    encoder = small_encoder("named")
    maps = [layer.output for layer in encoder.layers[1:]]
    named = keras.Model(encoder.input, {f"P{number}": map_ for number, map_ in enumerate(maps, 1)}, name="named")
    model = unet(named, widths=WIDTHS)
    assert model(images(32, 64)).shape == (1, 32, 64, 1)
    assert find_encoder(model).name == "named"


def test_a_model_without_one_encoder_has_none_to_find():
    plain = small_encoder("plain")
    with pytest.raises(
        InvalidInputError, match="'plain' must hold one nested encoder with 5 outputs, found 0; build it"
    ):
        find_encoder(plain)
    image = keras.Input((None, None, 3))
    maps = [unet(small_encoder(name), widths=WIDTHS) for name in ("one", "two")]
    two = keras.Model(image, keras.layers.Add()([find_encoder(part)(image)[0] for part in maps]), name="pair")
    with pytest.raises(InvalidInputError, match="'pair' must hold one nested encoder with 5 outputs, found 2"):
        find_encoder(two)
