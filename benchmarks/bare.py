"""The bare network that speeds are compared with: a Keras model, compiled as anybody would."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from nucleiseg.networks.precision import computed_in


def bare_network(model, precision: str = "float32"):
    """From a batch of scaled images to maps, with the inner layers in this precision."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
    def maps(images):
        with computed_in(model, precision):
            return model(images, training=False)

    return lambda images: np.asarray(maps(images))
