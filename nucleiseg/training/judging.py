"""Progress told in nuclei: how many of the validation images' nuclei are found, after every epoch."""

from __future__ import annotations

from collections.abc import Mapping
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
