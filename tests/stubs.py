"""What several test modules use in place of a network, its settings, and images."""

from __future__ import annotations

import numpy as np
from skimage.draw import disk

from nucleiseg._settings import SegmenterSettings

MODEL = SegmenterSettings(
    encoder="none",
    weights=None,
    head="semantic",
    loss="dice",
    upsampling="pix2pix",
    widths=(1,),
    scaling="minmax",
    seed=0,
    thresholds={"probability": 0.5},
    passport=(10.0, 18.0, 30.0),
)


class Echo:
    """An engine for which what is bright is nucleus; remembers the sizes that it has seen."""

    multiple = 1

    def __init__(self):
        self.seen = []

    def __call__(self, images):
        self.seen.append(images.shape[1:3])
        return images[..., :1]


def discs(radius, side=None, count=3):
    """Labels of discs on a diagonal, dark ground."""
    step = int(4 * radius) + 4
    labels = np.zeros((side or step * count,) * 2, np.int32)
    for number in range(count):
        centre = (number + 0.5) * step
        labels[disk((centre, centre), radius, shape=labels.shape)] = number + 1
    return labels
