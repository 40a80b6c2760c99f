"""The losses that have a name, as plain functions; `nucleiseg.training.loss_table` says where each is."""

from __future__ import annotations

import keras

from nucleiseg.training.losses.maps import MaskAndDepth, MaskDepthAndContact
from nucleiseg.training.losses.region import Tversky, WeightedSum


def binary_crossentropy() -> keras.losses.Loss:
    """Keras's own, for maps that are probabilities by themselves."""
    return keras.losses.BinaryCrossentropy()


def categorical_crossentropy() -> keras.losses.Loss:
    """Keras's own, for classes of which each pixel has one."""
    return keras.losses.CategoricalCrossentropy()


def focal() -> keras.losses.Loss:
    """Keras's binary focal cross-entropy, where easy pixels count less."""
    return keras.losses.BinaryFocalCrossentropy()


def dice() -> keras.losses.Loss:
    """The Tversky loss with both weights .5."""
    return Tversky(0.5, 0.5, name="dice")


def tversky() -> keras.losses.Loss:
    """The Tversky loss, in which missed pixels weigh more."""
    return Tversky()


def bce_dice() -> keras.losses.Loss:
    """Binary cross-entropy and Dice."""
    return WeightedSum({"binary_crossentropy": 1.0, "dice": 1.0}, name="bce_dice")


def bce_tversky() -> keras.losses.Loss:
    """Binary cross-entropy and Tversky."""
    return WeightedSum({"binary_crossentropy": 1.0, "tversky": 1.0}, name="bce_tversky")


def focal_dice() -> keras.losses.Loss:
    """Focal cross-entropy and Dice."""
    return WeightedSum({"focal": 1.0, "dice": 1.0}, name="focal_dice")


def mask_and_depth() -> keras.losses.Loss:
    """That of the head ``distance``."""
    return MaskAndDepth()


def mask_depth_and_contact() -> keras.losses.Loss:
    """That of the head ``contact``."""
    return MaskDepthAndContact()
