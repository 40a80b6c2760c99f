"""Progress told in nuclei: how many of the validation images' nuclei are found, after every epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from nucleiseg.instances import get_decoder, match


class InstanceScores(keras.callbacks.Callback):
    """Adds ``val_ap50`` and ``val_ap`` to what an epoch measured: average precision at IoU .5, and over .5 to .95.

    Counts are pooled over all crops, so that every nucleus weighs the same.

    Parameters
    ----------
    batches : tf.data.Dataset
        Images (N, H, W, 3), and their labels as (N, H, W, 1).
    decoder : str
        One of `nucleiseg.instances.list_decoders`.
    thresholds : mapping of str to float
        What the decoder cuts the maps at.

    Examples
    --------
    >>> image = keras.Input((None, None, 3))
    >>> model = keras.Model(image, keras.layers.Conv2D(1, 1, activation="sigmoid")(image))
    >>> batches = [(np.zeros((1, 8, 8, 3), np.float32), np.zeros((1, 8, 8, 1), np.float32))]
    >>> judge = InstanceScores(batches, "components", {"probability": 0.5})
    >>> judge.set_model(model)
    >>> judge.on_epoch_end(0, logs := {})
    >>> logs
    {'val_ap50': 1.0, 'val_ap': 1.0}
    """

    def __init__(self, batches: Any, decoder: str, thresholds: Mapping[str, float]) -> None:
        super().__init__()
        self._batches = batches
        self._decode = get_decoder(decoder)
        self._thresholds = thresholds

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Keras hands the same dictionary to every callback, so those that come later see the scores."""
        counts = []
        for images, wanted in self._batches:
            maps = self.model.predict_on_batch(np.asarray(images))  # JAX takes no tensors of TensorFlow
            for labels, found in zip(np.asarray(wanted), maps, strict=True):
                nuclei = self._decode(found, self._thresholds, 0).labels
                counts.append(match(labels[..., 0].astype(np.int64), nuclei))
        if counts and logs is not None:
            pooled = reduce(add, counts)
            logs["val_ap50"] = pooled.average_precision(0.5)
            logs["val_ap"] = pooled.mean_average_precision


def judge_start(
    model: keras.Model, batches: Any, judges: Sequence[keras.callbacks.Callback], monitor: str
) -> dict[str, Any]:
    """The row of epoch 0: what validation data say of a compiled model before it learns.

    Parameters
    ----------
    model : keras.Model
        Compiled with its loss and metrics.
    batches : tf.data.Dataset
        Validation images and targets.
    judges : sequence of keras.callbacks.Callback
        Such as `InstanceScores`, which add what they measure.
    monitor : str
        What decides which epoch is best.

    Returns
    -------
    dict
        epoch, phase (``"start"``), ``val_`` loss and metrics, seconds, monitor.
    """
    begun = time.perf_counter()
    measured = {
        f"val_{name}": float(value) for name, value in model.evaluate(batches, return_dict=True, verbose=0).items()
    }
    for judge in judges:
        judge.set_model(model)
        judge.on_epoch_end(0, measured)
    seconds = round(time.perf_counter() - begun, 3)
    return {"epoch": 0, "phase": "start", **measured, "seconds": seconds, "monitor": judged_by(measured, monitor)}


def score_of(measured: Mapping[str, float], monitor: str) -> float:
    """What decides which epoch is best; greater is better."""
    name = judged_by(measured, monitor)
    return measured[name] if name == monitor else -measured[name]


def judged_by(measured: Mapping[str, float], monitor: str) -> str:
    """The monitor, or a loss where there are no validation data to measure it on."""
    return next(name for name in (monitor, "val_loss", "loss") if name in measured)


def kept_epoch(rows: Sequence[Mapping[str, Any]]) -> int:
    """Number of the epoch whose weights training keeps: the best by what the rows call their monitor; 0 is the start.

    Examples
    --------
    >>> rows = [{"epoch": epoch, "monitor": "val_ap", "val_ap": score} for epoch, score in enumerate([0.5, 0.4, 0.5])]
    >>> kept_epoch(rows), kept_epoch(rows[1:]), kept_epoch([{"epoch": 1, "monitor": "loss", "loss": 0.2}])
    (0, 2, 1)
    """
    name = rows[-1]["monitor"]
    sign = -1 if name.endswith("loss") else 1
    return int(max(rows, key=lambda row: sign * row[name])["epoch"])


def labels_target(labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The labels themselves, (H, W, 1), numbered anew so that float32 holds them exactly.

    Examples
    --------
    >>> labels_target(np.array([[0, 70_000_001]])).ravel().tolist()
    [0.0, 1.0]
    """
    numbers = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    if labels.min() > 0:
        numbers = numbers + 1  # no background: the lowest label is a nucleus
    return numbers[..., np.newaxis].astype(np.float32)
