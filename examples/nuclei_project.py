"""The founding document from A to Z: transfer learning for nuclei, step by step, with the library's pieces.

    python examples/nuclei_project.py stage1_train.zip --splits splits.csv -o project

Every step uses plain NumPy, `tf.data` and Keras objects; `nucleiseg.Segmenter` does all of this in three lines. The
ImageNet weights are downloaded by Keras once, or taken from the folder in KERAS_HOME.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np

from nucleiseg import Segmenter, datasets
from nucleiseg.images import binarize, rescale
from nucleiseg.networks import get_encoder, unet
from nucleiseg.plotting import History, Row, plot_architecture, plot_predictions
from nucleiseg.training import FitOptions, arrays_to_tf_dataset, losses, metrics


def load_arrays(data: datasets.Dataset, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Step 1: full NumPy arrays, images normalised to [0, 1], masks exactly 0 and 1 with a channel axis."""
    images, labels = data.to_arrays(size=(size, size))
    return np.stack([rescale(image) for image in images]), binarize(labels)


def build(weights: str | None) -> keras.Model:
    """Step 3: MobileNetV2 as feature extractor, frozen; pix2pix upsampling; a U-Net with skip connections."""
    keras.utils.set_random_seed(0)
    encoder = get_encoder("mobilenet_v2", weights=weights)
    encoder.trainable = False
    model = unet(encoder, channels=1, activation="sigmoid", upsampling="pix2pix")
    model.compile(
        keras.optimizers.Adam(1e-3), loss=losses.get("bce_dice"), metrics=[metrics.PixelAccuracy(), metrics.Dice()]
    )
    return model


def train(model: keras.Model, pairs: dict[str, object], epochs: int) -> History:
    """Train, stop early, keep the best weights; the history becomes one that can draw itself."""
    stop = keras.callbacks.EarlyStopping("val_dice", mode="max", patience=5, restore_best_weights=True)
    record = model.fit(
        pairs["train"], validation_data=pairs["val"], epochs=epochs, callbacks=[stop], shuffle=False, verbose=2
    ).history
    names = list(record)
    rows = zip(*record.values(), strict=True)
    return History(tuple({"epoch": i, **dict(zip(names, row, strict=True))} for i, row in enumerate(rows, start=1)))


def main() -> None:
    """Run all steps and say where the results are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="the DSB2018 stage1_train.zip, or the folder unpacked from it")
    parser.add_argument("--splits", required=True, help="CSV with the columns image_id and split")
    parser.add_argument("-o", "--output", type=Path, default=Path("project"))
    parser.add_argument("--size", type=int, default=128, help="images are resized to this height and width")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--limit", type=int, help="use only so many images of each split, to try things out")
    parser.add_argument("--weights", default="imagenet", help="imagenet or none")
    arguments = parser.parse_args()
    output: Path = arguments.output

    # 1. Images and masks as full arrays.
    splits = datasets.read(arguments.data).split_by(arguments.splits)
    splits = {name: split[: arguments.limit] for name, split in zip(("train", "val", "test"), splits, strict=True)}
    arrays = {name: load_arrays(split, arguments.size) for name, split in splits.items()}
    for name, (images, masks) in arrays.items():
        print(
            f"{name}: images {images.shape} from {images.min():g} to {images.max():g},",
            f"masks {masks.shape} with the values {np.unique(masks).tolist()}",
        )

    # 2. Arrays → tensors → one dataset of (feature, label) pairs, batched and prefetched.
    pairs = {
        name: arrays_to_tf_dataset(images, masks, batch_size=16, shuffle_seed=0 if name == "train" else None)
        for name, (images, masks) in arrays.items()
    }

    # 3. Transfer learning.
    model = build(None if arguments.weights == "none" else arguments.weights)
    history = train(model, pairs, arguments.epochs)

    # 4. Pictures: both architectures, the curves, and the deployment on test images.
    written = [
        plot_architecture(model, output / "base_model.png", part="encoder"),
        plot_architecture(model, output / "unet.png"),
        history.plot(output / "curves.png"),
        history.to_csv(output / "history.csv"),
    ]
    images, masks = arrays["test"]
    probability = model.predict(images, verbose=0)[..., 0]
    rows = [
        Row(f"test image {splits['test'].ids[i][:8]}", images[i], masks[i, ..., 0], (probability[i] > 0.5).astype(int))
        for i in range(min(4, len(images)))
    ]
    written.append(plot_predictions(rows, output / "deployment.png"))
    scores = model.evaluate(pairs["test"], return_dict=True, verbose=0)
    print("test:", ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))

    # 5. The model that comes with the project, and going on from there.
    segmenter = Segmenter.from_pretrained("nuclei")
    print(f"model in the box on test:\n{segmenter.evaluate(splits['test'])}")
    few = FitOptions(crop=(arguments.size, arguments.size), frozen_epochs=0, fine_tune_rate=1e-5)
    segmenter.fit(splits["train"][:16], splits["val"], epochs=1, options=few)
    written.append(segmenter.save(output / "gone_on.keras"))
    print("\n".join(str(path) for path in written))


if __name__ == "__main__":
    main()
