"""What a network needs for each pixel, from the sizes of its maps."""

from __future__ import annotations

import keras
import pytest

from nucleiseg import Segmenter
from nucleiseg.engines.footprint import pixel_bytes


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
    assert pixel_bytes(keras.Model(image, keras.layers.Conv2D(1, 1)(joined))) == 2 * 4 * (16 + 8 + 24)


def test_models_in_the_box_need_no_more_than_was_measured():
    """benchmarks/memory.py: 300 and 120 bytes a pixel."""
    assert 300 <= pixel_bytes(Segmenter.from_pretrained("nuclei").model) < 330
    assert 120 <= pixel_bytes(Segmenter.from_pretrained("nuclei-fast").model) < 330
