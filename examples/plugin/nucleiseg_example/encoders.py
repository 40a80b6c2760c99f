"""An encoder: a function that returns a functional Keras model on images of any size, in [0, 1]."""

import keras


def five_convolutions(weights=None):
    """Five strided convolutions; nucleiseg finds the feature maps at strides 2, 4, 8, 16 and 32."""
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Rescaling(2, offset=-1)(image)  # the preprocessing is part of the model
    for filters in (4, 6, 8, 10, 12):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))  # what follows the last stride is left out
    if weights is not None:
        model.load_weights(weights)
    return model
