"""What a package needs to bring an encoder of its own: a function, and an entry point in `nucleiseg.encoders`.

The folder beside this file is what an installer makes of the entry point in the package's ``pyproject.toml``::

    [project.entry-points."nucleiseg.encoders"]
    tiny_backbone = "tiny_backbone:build"
"""

import keras


def build(weights=None):
    """Five strided convolutions; the taps are found by nucleiseg."""
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Rescaling(2, offset=-1)(image)
    for filters in (4, 6, 8, 10, 12):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    if weights is not None:
        model.load_weights(weights)
    return model
