"""Train a StarDist model for the benchmarks that compare with it, on the same images as the model in the box.

    python benchmarks/train_stardist.py stage1_train.zip splits.csv FOLDER [--epochs 30] [--steps 60] [--grid 2]

It learns from RGB images of the split `train`, scaled as nucleiseg scales them, in patches of 192 x 192 pixels with
StarDist's own settings otherwise (32 rays, batches of 4, rate .0003; a grid of (2, 2) or (1, 1)), flipped, turned, and
dimmed or brightened at random. Its best weights and its thresholds are chosen on `val`. For its speed, how long it
learns matters little: time depends on how many candidates pass its thresholds, and an untrained model has far too many.
Needs StarDist: pip install "nucleiseg[compare]". Weights that are in FOLDER already are learned further; with
--epochs 0, only the thresholds are chosen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from results import as_text
from stardist.matching import matching_dataset
from stardist.models import Config2D, StarDist2D
from tqdm import tqdm

from nucleiseg import datasets
from nucleiseg.images import rescale, to_rgb

PATCH = 192


def scaled(samples):
    """RGB images in [0, 1] and their labels; images that are smaller than a patch are left out."""
    images, labels = [], []
    for sample in tqdm(samples, disable=None):
        if min(sample.image.shape[:2]) >= PATCH:
            images.append(to_rgb(rescale(sample.image)).astype(np.float32))
            labels.append(np.asarray(sample.labels, np.int32))
    return images, labels


def augment(image, labels):
    """A random flip and turn, and a random brightness."""
    noise = np.random.default_rng()
    turns, flip = int(noise.integers(4)), int(noise.choice([-1, 1]))
    image, labels = (np.rot90(array[:, ::flip], turns) for array in (image, labels))
    return image * np.float32(noise.uniform(0.6, 1.4)) + np.float32(noise.uniform(-0.1, 0.1)), labels


def main() -> None:
    """Leaves the model in FOLDER, and prints how well it does on val."""
    parser = argparse.ArgumentParser()
    parser.add_argument("archive")
    parser.add_argument("splits")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=60, help="batches of an epoch")
    parser.add_argument("--grid", type=int, default=2, choices=(1, 2), help="pixels from candidate to candidate")
    arguments = parser.parse_args()
    train, val, _ = datasets.read(arguments.archive).split_by(arguments.splits)
    settings = Config2D(
        n_rays=32,
        grid=(arguments.grid, arguments.grid),
        n_channel_in=3,
        train_patch_size=(PATCH, PATCH),
        train_epochs=max(arguments.epochs, 1),
        train_steps_per_epoch=arguments.steps,
        train_tensorboard=False,
        train_checkpoint_epoch=None,
    )
    model = StarDist2D(settings, name=arguments.folder.name, basedir=str(arguments.folder.parent))
    images, labels = scaled(val)
    weights = arguments.folder / "weights_best.h5"
    if weights.is_file():
        model.load_weights(weights.name)
    if arguments.epochs:
        model.train(*scaled(train), validation_data=(images, labels), augmenter=augment, seed=0)
    thresholds = model.optimize_thresholds(images, labels)
    found = [model.predict_instances(image)[0] for image in tqdm(images, disable=None)]
    scores = matching_dataset(labels, found, thresh=0.5, by_image=False, show_progress=False)
    row = {
        "probability": round(float(thresholds["prob"]), 3),
        "overlap": round(float(thresholds["nms"]), 3),
        "AP at IoU .5 on val": round(float(scores.accuracy), 3),
        "nuclei": int(scores.n_true),
        "found": int(scores.n_pred),
    }
    print(as_text([row]))


if __name__ == "__main__":
    main()
