"""Use a network of your own as the encoder: register a function, train, save, load.

    python examples/custom_encoder.py my_images -o my_encoder.keras --epochs 30

An encoder is a functional Keras model on images of any size with values in [0, 1]. Its feature maps at strides 2, 4, 8,
16 and 32 are found, not typed in. `examples/plugin` is the same as a package that others can install, with a head and
a loss beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras

from nucleiseg import Segmenter, datasets, list_encoders, register_encoder
from nucleiseg.training import FitOptions

layers = keras.layers


def residual(x: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    """Two convolutions around a shortcut (He et al., CVPR 2016), which is pooled where they have a stride."""
    shortcut = layers.Conv2D(filters, 1, use_bias=False)(layers.AveragePooling2D(strides)(x))
    x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.Add()([layers.BatchNormalization()(x), shortcut]))


@register_encoder("small_resnet")
def small_resnet(weights: str | None = None) -> keras.Model:
    """Five residual blocks of stride 2; the preprocessing is part of the model."""
    image = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(2.0, offset=-1.0)(image)  # from [0, 1] to [-1, 1]
    for filters in (16, 24, 32, 48, 64):
        x = residual(x, filters, strides=2)
    model = keras.Model(image, x, name="small_resnet")
    if weights is not None:  # a file of yours; "imagenet" is only asked for where somebody passes it
        model.load_weights(weights)
    return model


def main() -> None:
    """Train a U-Net on the encoder above, and read it back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="images with labels, in any layout of docs/training.md")
    parser.add_argument("-o", "--output", type=Path, default=Path("my_encoder.keras"))
    parser.add_argument("--weights", help="a weights file of the encoder [random weights]")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--crop", type=int, default=256, help="height and width of the crops, a multiple of 32")
    arguments = parser.parse_args()

    print("small_resnet" in list_encoders(), "– it is an encoder like any other, also for `nucleiseg.get_encoder`")
    segmenter = Segmenter("small_resnet", arguments.weights, widths=(64, 48, 32, 24, 16), seed=0)
    print(segmenter)

    train, val = datasets.read(arguments.data).split(0.8, 0.2, seed=0)
    options = FitOptions(crop=(arguments.crop, arguments.crop), batch_size=min(8, len(train)))
    print(segmenter.fit(train, val, arguments.epochs, options))
    path = segmenter.save(arguments.output)

    # The file holds the whole network of plain Keras layers: whoever loads it does not need the function above.
    again = Segmenter.load(path)
    same = (again.predict(val[0].image).labels == segmenter.predict(val[0].image).labels).all()
    print(f"{path}, {path.stat().st_size / 1e6:.1f} MB; read back, it predicts the same: {same}")


if __name__ == "__main__":
    main()
