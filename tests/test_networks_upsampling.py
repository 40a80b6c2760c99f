"""The blocks, and that ours is the block of pix2pix: pinned layer by layer, and against outputs of the original.

`data/README.md` says where the reference comes from.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import keras
import numpy as np
import pytest

from nucleiseg.errors import InvalidInputError
from nucleiseg.networks import get_upsampling, list_upsamplings, register_upsampling, resize_conv, upsample, upsampling

REFERENCE = Path(__file__).parent / "data" / "pix2pix_upsample.npz"
NORMS = ("batchnorm", "instancenorm")


@pytest.fixture
def reference():
    with np.load(REFERENCE) as arrays:
        return dict(arrays)


def with_reference_weights(reference, norm, **options):
    """Our block with the original's weights, in the original's order."""
    block = upsample(4, 3, norm_type=norm, **options)
    block.build(reference["input"].shape)
    keys = [f"{norm}_weight_{number}" for number in range(len(block.get_weights()))]
    assert [key for key in reference if key.startswith(f"{norm}_weight") and "after" not in key] == keys
    block.set_weights([reference[key] for key in keys])
    return block


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("training", [False, True])
def test_the_output_is_that_of_the_original(reference, norm, training):
    block = with_reference_weights(reference, norm)
    expected = reference[f"{norm}_{'training' if training else 'inference'}"]
    np.testing.assert_allclose(block(reference["input"], training=training), expected, atol=2e-6)


def test_training_moves_the_averages_as_in_the_original(reference):
    block = with_reference_weights(reference, "batchnorm")
    block(reference["input"], training=True)
    for number, weight in enumerate(block.get_weights()):
        np.testing.assert_allclose(weight, reference[f"batchnorm_weight_{number}_after_training"], atol=1e-6)


def test_dropout_is_off_in_inference(reference):
    block = with_reference_weights(reference, "batchnorm", apply_dropout=True)
    np.testing.assert_allclose(block(reference["input"]), reference["batchnorm_inference"], atol=2e-6)
    trained = np.asarray(block(reference["input"], training=True))
    kept = trained > 0
    np.testing.assert_allclose(trained[kept], 2 * reference["batchnorm_training"][kept], rtol=1e-4, atol=1e-5)
    assert 0.3 < kept.sum() / (reference["batchnorm_training"] > 0).sum() < 0.7


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dropout", [False, True])
def test_the_layers_are_those_of_the_original(norm, dropout):
    block = upsample(7, 4, norm, dropout, name="up")
    assert isinstance(block, keras.Sequential)
    assert block.name == "up"
    convolution, normalisation, *rest = block.layers

    assert type(convolution) is keras.layers.Conv2DTranspose
    assert (convolution.filters, convolution.kernel_size, convolution.strides) == (7, (4, 4), (2, 2))
    assert (convolution.padding, convolution.use_bias) == ("same", False)
    assert convolution.output_padding is None
    assert convolution.dilation_rate == (1, 1)
    assert convolution.activation is keras.activations.linear
    assert is_normal(convolution.kernel_initializer, mean=0.0)

    if norm == "batchnorm":
        assert type(normalisation) is keras.layers.BatchNormalization
        assert normalisation.get_config() == {
            **keras.layers.BatchNormalization().get_config(),
            "name": normalisation.name,
        }
    else:
        assert type(normalisation) is keras.layers.GroupNormalization
        assert normalisation.groups == -1  # a group for each channel
        assert (normalisation.epsilon, normalisation.axis) == (1e-5, -1)
        assert (normalisation.scale, normalisation.center) == (True, True)
        assert is_normal(normalisation.gamma_initializer, mean=1.0)
        assert isinstance(normalisation.beta_initializer, keras.initializers.Zeros)

    if dropout:
        assert type(rest[0]) is keras.layers.Dropout
        assert rest.pop(0).rate == 0.5
    (activation,) = rest
    assert type(activation) is keras.layers.ReLU
    assert activation.get_config() == {**keras.layers.ReLU().get_config(), "name": activation.name}


def is_normal(initializer, mean):
    return (type(initializer), initializer.mean, initializer.stddev) == (keras.initializers.RandomNormal, mean, 0.02)


def test_initial_weights_follow_the_initialisers():
    block = upsample(200, 5, "instancenorm")
    block.build((None, None, None, 20))
    kernel, scale, offset = block.get_weights()
    assert kernel.shape == (5, 5, 200, 20)
    assert abs(kernel.mean()) < 1e-3
    assert kernel.std() == pytest.approx(0.02, rel=0.05)
    assert scale.mean() == pytest.approx(1, abs=0.01)
    assert scale.std() == pytest.approx(0.02, rel=0.3)
    assert not offset.any()


def test_arguments_are_those_of_the_original():
    parameters = inspect.signature(upsample).parameters
    assert list(parameters)[:4] == ["filters", "size", "norm_type", "apply_dropout"]
    assert (parameters["norm_type"].default, parameters["apply_dropout"].default) == ("batchnorm", False)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dropout", [False, True])
def test_the_block_equals_the_one_of_tensorflow_examples(norm, dropout):
    pix2pix = pytest.importorskip(
        "tensorflow_examples.models.pix2pix.pix2pix", reason="tensorflow_examples is not on PyPI"
    )
    ours, theirs = upsample(5, 4, norm, dropout), pix2pix.upsample(5, 4, norm, dropout)
    image = np.random.default_rng(0).standard_normal((2, 6, 9, 3)).astype(np.float32)
    ours(image), theirs(image)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(image), theirs(image), atol=1e-5)
    if not dropout:
        np.testing.assert_allclose(ours(image, training=True), theirs(image, training=True), atol=1e-5)


@pytest.mark.parametrize("name", list_upsamplings())
def test_every_block_doubles_height_and_width(name, tmp_path):
    block = get_upsampling(name)(6, 3, name="block")
    assert block.name == "block"
    for height, width in [(5, 8), (1, 1)]:
        features = np.random.default_rng(0).standard_normal((2, height, width, 4)).astype(np.float32)
        assert block(features).shape == (2, 2 * height, 2 * width, 6)
    inputs = keras.Input((None, None, 4))
    model = keras.Model(inputs, block(inputs))
    model.save(tmp_path / "block.keras")
    loaded = keras.saving.load_model(tmp_path / "block.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(features), model(features), atol=1e-6)


def test_resize_conv_narrows_then_repeats_then_convolves():
    block = resize_conv(6, 3)
    layers = keras.layers
    assert [type(layer) for layer in block.layers] == [
        *(layers.Conv2D, layers.BatchNormalization, layers.ReLU, layers.UpSampling2D),
        *(layers.Conv2D, layers.BatchNormalization, layers.ReLU),
    ]
    first, *_, repeat, last = (block.layers[number] for number in (0, 3, 4))
    assert (first.filters, first.kernel_size, first.use_bias) == (6, (1, 1), False)
    assert (repeat.size, repeat.interpolation) == ((2, 2), "nearest")
    assert (last.filters, last.kernel_size, last.padding, last.use_bias) == (6, (3, 3), "same", False)
    assert np.asarray(block(np.ones((1, 2, 2, 4), np.float32))).min() >= 0


def test_resize_conv_is_the_lighter_one_where_the_input_is_wide():
    wide, light = upsample(64, 3), resize_conv(64, 3)
    for block in (wide, light):
        block.build((None, None, None, 512))
    assert light.count_params() < 0.35 * wide.count_params()


@pytest.mark.parametrize("block", [upsample, resize_conv])
@pytest.mark.parametrize(("filters", "size", "named"), [(0, 3, "filters"), (2.5, 3, "filters"), (4, 0, "size")])
def test_numbers_are_checked(block, filters, size, named):
    with pytest.raises(InvalidInputError, match=f"{named} must be a whole number of at least 1"):
        block(filters, size)


def test_the_normalisation_is_checked():
    with pytest.raises(InvalidInputError, match=r"unknown norm_type 'batch'.* choose one of batchnorm, instancenorm"):
        upsample(4, 3, norm_type="batch")


def test_blocks_can_be_added_and_names_are_checked():
    @register_upsampling("twice")
    def twice(filters, size, name=None):
        return keras.Sequential([keras.layers.UpSampling2D(2), keras.layers.Conv2D(filters, 1)], name=name)

    try:
        assert list_upsamplings() == ["pix2pix", "resize_conv", "twice"]
        assert get_upsampling("twice") is twice
        with pytest.raises(InvalidInputError, match="upsampling block 'twice' is registered already"):
            register_upsampling("twice")(twice)
    finally:
        upsampling._upsamplings.unregister("twice")
    with pytest.raises(InvalidInputError, match=r"unknown upsampling block 'pixpix'; did you mean 'pix2pix'\?"):
        get_upsampling("pixpix")
