"""The input pipeline against the training step, `Segmenter.fit` against bare `model.fit`, and bfloat16 against float32.

    python benchmarks/training.py stage1_train.zip

Fine-tuning with the default options: crops of 256 x 256, batches of 8, all augmentation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack

import keras
import numpy as np
import tensorflow as tf
from results import keep
from rounds import compare

from nucleiseg import Segmenter, datasets
from nucleiseg.networks.precision import computed_in
from nucleiseg.training import Augmentation, FitOptions, as_tf_dataset, losses, metrics

BATCHES = 12


def compiled(segmenter: Segmenter) -> keras.Model:
    """Its model, compiled as `Segmenter.fit` does for training all weights."""
    segmenter.model.compile(
        keras.optimizers.Adam(1e-4),
        loss=losses.get("bce_dice"),
        metrics=[metrics.PixelAccuracy(), metrics.IoU(), metrics.Dice()],
        jit_compile=False,
    )
    return segmenter.model


def pipeline_ways(data: datasets.Dataset) -> dict[str, Callable[[], object]]:
    """Train on one batch again and again; draw batches from a fresh iterator, so that nothing is drawn ahead."""
    batches = as_tf_dataset(data, crop=(256, 256), augmentation=Augmentation(), batch_size=8).take(BATCHES)
    model = compiled(Segmenter(weights=None))
    images, masks = next(iter(batches))

    def step() -> None:
        for _ in range(BATCHES):
            model.train_on_batch(images, masks)

    return {"training step": step, "input pipeline": lambda: list(batches)}


def precision_ways(data: datasets.Dataset, held: ExitStack) -> dict[str, Callable[[], object]]:
    """Train the network of the model in the box on one batch again and again, in each precision while that is held."""
    images, masks = next(iter(as_tf_dataset(data, "contact", (192, 192), batch_size=8, shuffle=False)))

    def steps(precision: str) -> Callable[[], object]:
        model = Segmenter.from_pretrained("nuclei").model
        held.enter_context(computed_in(model, precision))
        model.compile("adam", losses.get("mask_depth_and_contact"), jit_compile=False)
        model.train_on_batch(images, masks)
        return lambda: [model.train_on_batch(images, masks) for _ in range(BATCHES)]

    return {precision: steps(precision) for precision in ("float32", "mixed_bfloat16")}


def fit_ways(data: datasets.Dataset, epochs: int) -> dict[str, Callable[[], object]]:
    """Both build, compile and fit for the same number of epochs on the same 96 crops."""
    pairs = list(as_tf_dataset(data[: 8 * BATCHES], crop=(256, 256), batch_size=8, shuffle=False))
    images, masks = (np.concatenate([pair[part].numpy() for pair in pairs]) for part in (0, 1))
    same = datasets.from_arrays((images * 255).round().astype(np.uint8), masks[..., 0].astype(np.int32))
    tensors = tf.constant(images), tf.constant(masks)
    options = FitOptions(augmentation=None, patience=epochs + 1)
    return {
        "model.fit": lambda: compiled(Segmenter(weights=None)).fit(*tensors, batch_size=8, epochs=epochs, verbose=0),
        "Segmenter.fit": lambda: Segmenter(weights=None, scaling="dtype").fit(same, epochs=epochs, options=options),
    }


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a dataset that nucleiseg.datasets.read understands, such as stage1_train.zip")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    data = datasets.read(arguments.data).prepare()
    with ExitStack() as held:
        steps = compare(precision_ways(data, held), arguments.rounds)
    tables = {
        f"{BATCHES} batches of 8 crops": compare(pipeline_ways(data), arguments.rounds),
        f"{BATCHES} steps of the model in the box": steps,
        f"{arguments.epochs} epochs of {BATCHES} batches, building and compiling included": compare(
            fit_ways(data, arguments.epochs), arguments.rounds
        ),
    }
    keep("training", f"python benchmarks/training.py stage1_train.zip --rounds {arguments.rounds}", tables)


if __name__ == "__main__":
    main()
