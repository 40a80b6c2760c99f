"""A Keras model that was built elsewhere does all that any other model does."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from nucleiseg import PredictOptions, Segmenter, Tiling, adopt, datasets, grow
from nucleiseg.errors import InvalidInputError
from nucleiseg.images import rescale
from nucleiseg.instances import split_components
from nucleiseg.networks import get_encoder, unet
from nucleiseg.training import FitOptions


def brightness(channels=1, activation="sigmoid", size=(None, None, 3), strides=1, dtype="float32"):
    """Bright pixels are nuclei: a network of one layer."""
    image = keras.Input(size, dtype=dtype)
    maps = keras.layers.Conv2D(
        channels,
        1,
        strides,
        activation=activation,
        kernel_initializer="ones",
        bias_initializer=keras.initializers.Constant(-1.5),
    )(image)
    return keras.Model(image, maps)


@pytest.fixture
def data():
    labels = np.zeros((2, 70, 90), np.int32)
    labels[:, 10:25, 10:30], labels[:, 40:60, 50:75] = 1, 2
    return datasets.from_arrays((labels > 0).astype(np.uint8) * 200, labels)


def test_it_finds_what_its_maps_say(data, tmp_path):
    model = brightness()
    model.compile("adam", "mse")  # as whoever has trained it
    segmenter = adopt(model, scaling="minmax")
    image = data[0].image
    found = segmenter.predict(image)
    expected = split_components(1 / (1 + np.exp(1.5 - 3 * rescale(image, "minmax"))))
    np.testing.assert_array_equal(found.labels, expected)
    assert found.count == 2
    assert segmenter.evaluate(data).to_dict()["all"]["ap50"] == 1
    segmenter.optimize_thresholds(data)
    again = Segmenter.load(segmenter.save(tmp_path / "mine.keras"))
    np.testing.assert_array_equal(again.predict(image).labels, found.labels)
    assert again.thresholds == segmenter.thresholds


def test_maps_may_be_the_one_output_of_a_list(data, tmp_path):
    segmenter = adopt(ended(lambda maps: [maps]), scaling="minmax")
    found = segmenter.predict(data[0].image)
    again = Segmenter.load(segmenter.save(tmp_path / "mine.keras"))
    np.testing.assert_allclose(again.predict(data[0].image).probability, found.probability, atol=1e-6)


@pytest.mark.usefixtures("eager_steps")
def test_a_network_of_ours_learns_further_and_another_is_refused_with_what_to_do(data, tiny_encoder):
    options = FitOptions(batch_size=2, crop=(32, 32), frozen_epochs=0)
    ours = adopt(unet(get_encoder(tiny_encoder), channels=2, activation="sigmoid", widths=(4, 4, 4, 4, 4)), "distance")
    assert [row["phase"] for row in ours.fit(data, data, epochs=1, options=options).rows][-1] == "fine-tune"
    with pytest.raises(InvalidInputError, match=r"one nested encoder .* build it with nucleiseg.networks.unet"):
        adopt(brightness()).fit(data, data, epochs=1, options=options)


def needs_more():
    """Takes multiples of 64 only."""
    image = keras.Input((None, None, 3))
    small = keras.layers.AveragePooling2D(64)(image)
    large = keras.layers.UpSampling2D(64)(small)
    return keras.Model(image, keras.layers.Conv2D(1, 1, activation="sigmoid")(keras.layers.Add()([image, large])))


def u_net():
    """With what networks of others have: strides, normalisation, and coarse features beside fine ones."""
    image = keras.Input((None, None, 3))
    fine = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    coarse = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3, strides=2, padding="same")(fine))
    joined = keras.layers.Concatenate()([fine, keras.layers.UpSampling2D(2)(coarse)])
    return keras.Model(image, keras.layers.Conv2D(2, 1, activation="sigmoid")(joined))


def test_a_network_of_others_runs_whole_in_tiles_in_fewer_bits_and_after_it_was_loaded(tmp_path):
    segmenter = adopt(u_net(), "distance")
    image = np.random.default_rng(0).integers(0, 255, (150, 190, 3)).astype(np.uint8)
    whole = segmenter.predict(image, PredictOptions(scale=1, precision="float32")).probability
    for options in (PredictOptions(tiling=Tiling(64, 32)), PredictOptions(precision="mixed_bfloat16")):
        np.testing.assert_allclose(segmenter.predict(image, options).probability, whole, atol=0.02)
    again = Segmenter.load(segmenter.save(tmp_path / "mine.keras"))
    np.testing.assert_allclose(again.predict(image).probability, whole, atol=0.02)
    with pytest.raises(InvalidInputError, match="got one that was adopted; build a Segmenter"):
        grow(again, refine=True)


def test_a_sequence_of_layers_will_do(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(1, 1, activation="sigmoid")])
    segmenter = adopt(model)
    assert Segmenter.load(segmenter.save(tmp_path / "mine.keras")).predict(np.zeros((40, 50))).labels.shape == (40, 50)


@keras.saving.register_keras_serializable("tests_adopting")
class Offset(keras.layers.Layer):
    """Computes with what an initializer gives."""

    def __init__(self, start, **options):
        super().__init__(**options)
        self.start = keras.initializers.get(start)

    def call(self, image):
        return image - self.start((3,))

    def get_config(self):
        return {**super().get_config(), "start": keras.saving.serialize_keras_object(self.start)}


def test_what_a_layer_computes_with_is_kept(tmp_path):
    image = keras.Input((None, None, 3))
    maps = keras.layers.Conv2D(1, 1, activation="sigmoid")(Offset(keras.initializers.Constant(0.4))(image))
    segmenter = adopt(keras.Model(image, maps))
    again = Segmenter.load(segmenter.save(tmp_path / "mine.keras"))
    pixels = np.random.default_rng(0).random((40, 50, 3))
    np.testing.assert_allclose(again.predict(pixels).probability, segmenter.predict(pixels).probability, atol=1e-6)


def ended(make, size=(None, None, 3)):
    """A network of one layer, and what is made of its maps."""
    image = keras.Input(size)
    return keras.Model(image, make(keras.layers.Conv2D(1, 1, activation="sigmoid")(image)))


@keras.saving.register_keras_serializable("tests_adopting")
class Looking(keras.layers.Layer):
    """Looks at the numbers, which are not there yet when a function is traced."""

    def call(self, maps):
        return maps if float(keras.ops.max(maps)) > 0 else -maps

    def compute_output_spec(self, maps):
        return keras.KerasTensor(maps.shape, maps.dtype)


@pytest.mark.parametrize(
    ("model", "how", "message"),
    [
        (lambda: "mine.keras", {}, "a functional Keras model of one image, got str for None; build it"),
        (
            lambda: keras.Sequential([keras.layers.Dense(1)]),
            {},
            "a functional Keras model of one image, got Sequential",
        ),
        (
            lambda: brightness(size=(64, 64, 3)),
            {},
            r"images \(None, None, 3\), of any size .* got \(None, 64, 64, 3\) of float32; build",
        ),
        (lambda: brightness(size=(None, None, 1)), {}, r"got \(None, None, None, 1\) of float32; build it again"),
        (needs_more, {}, r"any multiples of 32 rows and columns, and failed for \(64, 96\): .*; pad inside"),
        (
            brightness,
            {"head": "distance"},
            r"head 'distance' needs float32 maps \(N, H, W, 2\) .* got float32 \(1, 64, 96, 1\)",
        ),
        (lambda: brightness(strides=2), {}, r"got float32 \(1, 32, 48, 1\) for \(1, 64, 96, 3\); choose another head"),
        (lambda: brightness(activation=None), {}, r"maps must be from 0 to 1, got -.* to .* for noise; end the model"),
        (lambda: ended(lambda maps: {"a": maps, "b": maps}), {}, "one tensor of maps, got a dict of 2; build it with"),
        (
            lambda: ended(lambda maps: Looking()(maps)),
            {},
            "for images of any size, be saved and be loaded, and one of these failed: .+; use",
        ),
        (
            lambda: brightness(size=(None, None, 3), dtype="uint8"),
            {},
            r"as floats, got \(None, None, None, 3\) of uint8",
        ),
        (brightness, {"head": "flows"}, "unknown head 'flows'; choose one of"),
        (brightness, {"scaling": "none"}, "scaling"),
    ],
)
def test_what_no_head_can_read_is_refused(model, how, message):
    with pytest.raises(InvalidInputError, match=message):
        adopt(model(), **how)


def test_what_cannot_be_saved_is_refused_at_once():
    image = keras.Input((None, None, 3))
    maps = keras.layers.Lambda(lambda values: values[..., :1])(image)
    with pytest.raises(InvalidInputError, match="Lambda"):
        adopt(keras.Model(image, maps))
