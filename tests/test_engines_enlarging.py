"""Layers that enlarge maps between their pixels, at sizes that nobody knows while they are traced."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from nucleiseg import Segmenter, adopt
from nucleiseg.engines import KerasEngine
from nucleiseg.engines.enlarging import for_any_size, interpolates
from nucleiseg.errors import InvalidInputError

WAYS = ["bilinear", "bicubic", "lanczos3"]


def network(interpolation, size=(2, 2)):
    """Half the size and back, within a nested model, as blocks of upsampling are."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    maps = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    block = keras.Sequential(
        [layers.UpSampling2D(size, interpolation=interpolation), layers.Conv2D(4, 3, padding="same")]
    )
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(block(maps)))


@pytest.mark.parametrize("interpolation", ["nearest", *WAYS])
def test_maps_are_those_of_the_model(interpolation):
    model = network(interpolation)
    engine = KerasEngine(model)
    for shape in ((1, 32, 64, 3), (2, 96, 32, 3)):
        images = np.random.default_rng(0).random(shape, np.float32)
        np.testing.assert_allclose(engine(images), np.asarray(model(images)), atol=1e-5)


def test_height_and_width_may_grow_by_different_factors():
    layer = layers.UpSampling2D((3, 2), interpolation="bilinear")
    maps = np.random.default_rng(0).random((1, 5, 7, 2), np.float32)
    enlarged = np.asarray(for_any_size(layer)(maps))
    assert enlarged.shape == (1, 15, 14, 2)
    np.testing.assert_allclose(enlarged, np.asarray(layer(maps)), atol=1e-6)


def test_channels_may_come_first():
    layer = layers.UpSampling2D(2, interpolation="bilinear", data_format="channels_first")
    maps = np.random.default_rng(0).random((1, 2, 5, 7), np.float32)
    np.testing.assert_allclose(np.asarray(for_any_size(layer)(maps)), np.asarray(layer(maps)), atol=1e-6)


def test_fewer_bits_stay_near():
    model = network("bilinear")
    images = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    assert np.abs(KerasEngine(model, "mixed_bfloat16")(images) - np.asarray(model(images))).max() < 0.02


def test_other_layers_are_left_alone():
    for layer in (layers.UpSampling2D(2), layers.Conv2D(1, 1), layers.Resizing(8, 8)):
        assert not interpolates(layer)
        assert for_any_size(layer) is layer


def test_an_exported_network_takes_any_size(tmp_path):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    model = network("bilinear")
    segmenter = adopt(model)
    exported = Segmenter.load(segmenter.export(tmp_path / "network.onnx"))
    for shape in ((64, 96), (100, 40)):
        image = np.random.default_rng(0).random(shape)
        np.testing.assert_allclose(exported.predict(image).probability, segmenter.predict(image).probability, atol=0.02)


@keras.saving.register_keras_serializable("test_engines_enlarging")
class Block(layers.Layer):
    """A layer of one's own that enlarges by one of Keras's, or to the size of other maps."""

    def __init__(self, by_layer=True, **options):
        super().__init__(**options)
        self.by_layer, self.enlarge = by_layer, layers.UpSampling2D(2, interpolation="bilinear")

    def build(self, maps_shape, like_shape):
        self.enlarge.build(maps_shape)

    def call(self, maps, like):
        return self.enlarge(maps) if self.by_layer else ops.image.resize(maps, ops.shape(like)[1:3])

    def compute_output_shape(self, maps_shape, like_shape):
        return (*like_shape[:3], maps_shape[3])

    def get_config(self):
        return {**super().get_config(), "by_layer": self.by_layer}


def network_of_blocks(by_layer):
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    maps = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(Block(by_layer)(maps, image)))


@pytest.mark.parametrize("by_layer", [True, False])
def test_layers_of_ones_own_predict_at_any_size(by_layer, tmp_path):
    segmenter = adopt(network_of_blocks(by_layer))
    loaded = Segmenter.load(segmenter.save(tmp_path / "network.keras"))
    for shape in ((64, 96), (100, 40)):
        image = np.random.default_rng(0).random(shape)
        np.testing.assert_allclose(loaded.predict(image).probability, segmenter.predict(image).probability, atol=0.01)


def test_layers_of_ones_own_are_exported_or_refused(tmp_path):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    segmenter = adopt(network_of_blocks(True))
    exported = Segmenter.load(segmenter.export(tmp_path / "network.onnx"))
    image = np.random.default_rng(0).random((100, 40))
    np.testing.assert_allclose(exported.predict(image).probability, segmenter.predict(image).probability, atol=0.02)
    with pytest.raises(
        InvalidInputError, match=r"takes images of any size, and .* failed: .*Block.*; save it as \.keras"
    ):
        adopt(network_of_blocks(False)).export(tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()
