"""What must hold on every backend of Keras; run in a process of its own by test_backends.py, with KERAS_BACKEND set.

Reads ``tensorflow.keras`` and ``images.npz`` from the folder that is given, writes what it trained
and predicted into it.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np

from nucleiseg import Segmenter, datasets, grow, register_encoder
from nucleiseg.engines import KerasEngine
from nucleiseg.heads import Head, get_head, list_heads, register_head
from nucleiseg.training import FitOptions, get_target, losses, metrics, register_target

QUICK = FitOptions(batch_size=2, crop=(32, 32), learning_rate=0.02, fine_tune_rate=0.01, augmentation=None)


def tiny(weights=None):
    x = image = keras.Input((None, None, 3))
    for filters in (4, 4, 8, 8, 8):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.Model(image, x)


def build(head="semantic", seed=1):
    return Segmenter("tiny", None, head, widths=(4, 4, 4, 4, 4), seed=seed)


def weights(segmenter):
    return [keras.ops.convert_to_numpy(weight) for weight in segmenter.model.weights]


def check_engine(segmenter):
    engine = KerasEngine(segmenter.model)
    images = np.random.default_rng(0).random((2, 32, 64, 3), np.float32)
    maps = engine(images)
    assert isinstance(maps, np.ndarray)
    assert (maps.shape, maps.dtype) == ((2, 32, 64, 1), np.float32)
    np.testing.assert_array_equal(engine(images), maps)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(engine, [images] * 8):
            np.testing.assert_allclose(found, maps, atol=1e-6)
    segmenter.model.set_weights([weight * 0 for weight in weights(segmenter)])
    np.testing.assert_allclose(engine(images), 0.5)  # new weights count at once


def check_training(discs, folder):
    """Two phases, resumed after the first as if nothing had happened; the best weights are kept, be it the start."""
    start = build().save(folder / "start.keras")

    def run(epochs, **options):
        segmenter = Segmenter.load(start)
        segmenter._settings = type(segmenter._settings)(**{**vars(segmenter._settings), "trained": True})
        return segmenter, segmenter.fit(discs[:4], discs[4:], epochs, QUICK, **options)

    whole, history = run(2)
    assert [row["phase"] for row in history.rows] == ["start", "frozen", "fine-tune"]
    assert np.isfinite(history.column("loss")[1:]).all()
    original = datasets.Dataset.__getitem__
    stopped = {"reads": 0}

    class StoppedError(Exception):
        pass

    def stop(dataset, index):
        stopped["reads"] += 1
        if stopped["reads"] > 30:
            raise StoppedError
        return original(dataset, index)

    datasets.Dataset.__getitem__ = stop
    try:
        run(2, checkpoint=folder / "checkpoint")
    except Exception:
        assert (folder / "checkpoint" / "last.npz").is_file()
    else:
        raise AssertionError("the run was not stopped")
    finally:
        datasets.Dataset.__getitem__ = original
    resumed, _ = run(2, checkpoint=folder / "checkpoint", resume=True)
    for one, two in zip(weights(whole), weights(resumed), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)
    return whole


def check_losses(labels, folder, backend):
    """Losses and metrics of every head on fixed maps; the same numbers everywhere."""
    values = {}
    for name in list_heads():
        head = get_head(name)
        target = get_target(head.target)(labels)[np.newaxis]
        maps = np.random.default_rng(0).uniform(0.01, 0.33, target.shape).astype(np.float32)
        values[name] = [float(losses.get(head.loss)(target, maps))]
        for metric in (metrics.Dice, metrics.IoU, metrics.PixelAccuracy):
            score = metric(0.4, channels=head.foreground)
            score.update_state(target, maps)
            values[name].append(float(score.result()))
    (folder / f"{backend}_losses.json").write_text(json.dumps(values))


class WeightedCrossentropy(keras.losses.Loss):
    """The last map of the target is the weight of a pixel."""

    def call(self, y_true, y_pred):
        entropy = keras.losses.binary_crossentropy(y_true[..., :1], y_pred)
        return keras.ops.mean(y_true[..., 1] * entropy)


def check_further_maps(discs):
    """A target may have maps beside those of the network, for its loss."""

    @register_target("weighted")
    def weighted(labels):
        mask = (labels > 0).astype(np.float32)[..., np.newaxis]
        return np.concatenate([mask, 1 + mask], axis=-1)

    keras.saving.register_keras_serializable("tests")(WeightedCrossentropy)
    losses.register_loss("weighted")(WeightedCrossentropy)
    register_head(Head("weighted", "weighted", 1, "sigmoid", "weighted", "components", {"probability": 0.5}))
    history = build("weighted").fit(discs[:4], discs[4:], 1, QUICK)
    assert np.isfinite(history.column("val_dice")).all()


def check_growing():
    """A larger network begins where the smaller one is; `grow` itself compares their maps."""
    small = build()
    assert grow(small, refine=True).model.count_params() > small.model.count_params()


def main(folder):
    backend = keras.backend.backend()
    discs = datasets.read(folder / "discs")
    for one, two in zip(weights(build()), weights(build()), strict=True):
        np.testing.assert_array_equal(one, two)  # the seed decides
    images = np.load(folder / "images.npz")
    given = Segmenter.load(folder / "tensorflow.keras")
    for name in images.files:
        found = given.predict(images[name])
        np.savez(folder / f"{backend}_{name}.npz", probability=found.probability, labels=found.labels)
    trained = check_training(discs, folder)
    assert trained.evaluate(discs).to_dict()["all"]["images"] == len(discs)
    saved = trained.save(folder / f"{backend}.keras")
    pixels = discs[0].image
    probability = trained.predict(pixels).probability
    np.testing.assert_array_equal(Segmenter.load(saved).predict(pixels).probability, probability)
    np.save(folder / f"{backend}_disc.npy", probability)
    check_growing()
    check_engine(trained)
    check_losses(discs[0].labels, folder, backend)
    check_further_maps(discs)  # in the end, since its head is on the list from then on
    sys.stdout.write(backend)


if __name__ == "__main__":
    register_encoder("tiny")(tiny)
    main(Path(sys.argv[-1]))
