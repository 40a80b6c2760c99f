"""What a network needs for each pixel, from the sizes of its maps."""

from __future__ import annotations

import keras
import pytest

from nucleiseg import Segmenter
from nucleiseg.engines.footprint import pixel_bytes
from nucleiseg.networks import get_encoder, unet
from nucleiseg.networks.precision import computed_in


def network(*channels, inside=False):
    """One convolution after the other; if asked for, in a model within the model."""
    image = maps = keras.Input((None, None, 3))
    for count in channels:
        maps = keras.layers.Conv2D(count, 3, padding="same")(maps)
    model = keras.Model(image, maps)
    if not inside:
        return model
    outer = keras.Input((None, None, 3))
    return keras.Model(outer, model(outer))


@pytest.mark.parametrize("inside", [False, True])
def test_the_two_largest_neighbours_count_twice(inside):
    assert pixel_bytes(network(5, 20, 30, 4, inside=inside)) == 2 * 4 * (20 + 30)


def test_what_a_skip_connection_keeps_is_counted():
    image = keras.Input((None, None, 3))
    wide = keras.layers.Conv2D(16, 1)(image)
    small = keras.layers.Conv2D(8, 3, strides=2, padding="same")(wide)
    large = keras.layers.UpSampling2D(2)(small)
    joined = keras.layers.Concatenate()([wide, large])
    assert pixel_bytes(keras.Model(image, keras.layers.Conv2D(1, 1)(joined))) == 4 * (16 + 8 + (16 + 8) + 2 * 1)
    pooled = keras.layers.MaxPooling2D(2)(joined)  # needs the maps in one
    assert pixel_bytes(keras.Model(image, pooled)) == 4 * (16 + 8 + (16 + 8) + 2 * (16 + 8) / 4)


def test_steps_that_are_left_out_make_nothing():
    image = keras.Input((None, None, 3))
    maps = keras.layers.Conv2D(20, 3, padding="same")(image)
    bare = pixel_bytes(keras.Model(image, maps))
    maps = keras.layers.ReLU()(keras.layers.BatchNormalization()(maps))
    assert pixel_bytes(keras.Model(image, maps)) == bare
    twice = keras.layers.Add()([maps, keras.layers.ReLU()(maps)])  # both are needed
    assert pixel_bytes(keras.Model(image, twice)) > bare


def test_models_within_may_take_several_maps():
    """An attention gate: whatever else is alive there counts beside what the gate needs."""
    few, many = keras.Input((None, None, 2)), keras.Input((None, None, 4))
    gate = keras.Model([few, many], keras.layers.Multiply()([keras.layers.Conv2D(4, 1)(few), many]))
    image = keras.Input((None, None, 3))
    maps = [keras.layers.Conv2D(channels, 1)(image) for channels in (2, 4)]
    assert pixel_bytes(keras.Model(image, gate(maps))) == 4 * (4 + 4 + (4 + 4) + 2 * 4)
    joined = [keras.layers.Concatenate()(maps[::way]) for way in (1, -1)]
    twice = keras.Input((None, None, 6)), keras.Input((None, None, 6))
    added = keras.Model(twice, keras.layers.Add()(twice))
    assert pixel_bytes(keras.Model(image, added(joined))) == 4 * (12 + 12 + 2 * 6)


def test_layers_that_do_not_tell_their_size_stop_no_prediction():
    class Silent(keras.layers.Layer):
        def call(self, maps):
            return maps

        def compute_output_shape(self, shape):
            if shape[1] is not None:
                raise RuntimeError("no idea")
            return shape

    image = keras.Input((None, None, 3))
    assert pixel_bytes(keras.Model(image, Silent()(image))) == 2 * pixel_bytes(unet(get_encoder("vgg16", weights=None)))


@pytest.mark.parametrize("inside", [False, True])
def test_fewer_bits_take_fewer_bytes(inside):
    # The first layer and the last compute in single precision. What is widest is made and taken in half as many bits;
    # the last layer convolves thirty channels as they are, but gets a copy of eight.
    for channels, bytes_needed in (((5, 20, 30, 4), 2 * (20 + 30) * 2), ((4, 8, 64), 8 * 2 + 8 * 4 + 8 * 2 + 64 * 8)):
        model = network(*channels, inside=inside)
        with computed_in(model, "mixed_bfloat16"):
            assert pixel_bytes(model) == bytes_needed


@pytest.mark.parametrize(
    ("name", "single", "fewer"), [("nuclei", (190, 230), (115, 145)), ("nuclei-fast", (100, 130), (75, 100))]
)
def test_models_in_the_box_need_about_what_was_measured(name, single, fewer):
    """benchmarks/memory.py, of which something is used whatever the size."""
    model = Segmenter.from_pretrained(name).model
    assert single[0] <= pixel_bytes(model) < single[1]
    with computed_in(model, "mixed_bfloat16"):
        assert fewer[0] <= pixel_bytes(model) < fewer[1]
