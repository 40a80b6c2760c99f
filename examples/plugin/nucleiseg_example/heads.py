"""A head that tells touching nuclei apart by their cores. Needs no Keras: ONNX models are decoded without it."""

import numpy as np

from nucleiseg.heads import Head
from nucleiseg.instances import Decoded, split_by_distance
from nucleiseg.training import get_target

core = Head(
    "core",
    target="core",
    channels=2,
    activation="sigmoid",
    loss="log_cosh_dice",
    decoder="core",
    thresholds={"probability": 0.5, "core": 0.5},
    monitor="val_ap",
)


def core_target(labels):
    """The mask of all nuclei, and that of their inner halves, which never touch: float32 (H, W, 2)."""
    maps = get_target("distance")(labels)  # mask and relative depth
    maps[..., 1] = maps[..., 1] > 0.5
    return maps


def decode_core(maps, thresholds, min_area):
    """Every core grows inside the mask until it meets another."""
    probability, inner = np.asarray(maps[..., 0], np.float32), maps[..., 1]
    labels = split_by_distance(probability, inner, thresholds["probability"], thresholds["core"], min_area)
    return Decoded(probability, labels)
