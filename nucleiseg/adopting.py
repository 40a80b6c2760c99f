"""A Keras model of one's own as a segmenter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nucleiseg._checks import check_choice
from nucleiseg._settings import SegmenterSettings
from nucleiseg.errors import InvalidInputError
from nucleiseg.heads import get_head
from nucleiseg.images import list_scalings
from nucleiseg.segmenter import Segmenter

if TYPE_CHECKING:
    import keras

__all__ = ["adopt"]

_SIZE = (64, 96)  # multiples of 32 that differ, so that rows are not taken for columns


def adopt(model: keras.Model, head: str = "semantic", *, scaling: str = "percentile") -> Segmenter:
    """A segmenter that looks for nuclei by a Keras model that was built and trained elsewhere.

    It predicts images of any size and kind, is evaluated, has its thresholds chosen by `Segmenter.optimize_thresholds`,
    is saved and exported as any other. `Segmenter.fit` goes on with models that `nucleiseg.networks.unet` built, and
    refuses others: train these by Keras, on batches of `nucleiseg.training.as_tf_dataset`.

    Parameters
    ----------
    model : keras.Model
        Functional, from images (N, H, W, 3) in [0, 1], of any height and width that are multiples of 32, to maps
        (N, H, W, C) in [0, 1]. Used as it is, not copied.
    head : str
        One of `nucleiseg.heads.list_heads` that says what the maps mean: "semantic" for one map, the probability of
        being nucleus.
    scaling : str
        One of `nucleiseg.images.list_scalings`; the one that it was trained with.

    Returns
    -------
    Segmenter
        With the head's thresholds. It knows no sizes of nuclei (no passport) and is not calibrated, before
        `Segmenter.fit` or `Segmenter.optimize_thresholds`.

    Raises
    ------
    InvalidInputError
        If head or scaling are unknown, the model is no functional one or can't be saved, or takes other images or
        gives other maps.

    Examples
    --------
    >>> import keras
    >>> image = keras.Input((None, None, 3))
    >>> brightness = keras.layers.Conv2D(1, 1, activation="sigmoid")(image)
    >>> adopt(keras.Model(image, brightness)).predict(np.zeros((50, 70), np.uint8)).labels.shape
    (50, 70)
    """
    from nucleiseg.engines import KerasEngine
    from nucleiseg.modelchecks import check_saveable

    wanted = get_head(head)
    check_choice(scaling, "scaling", list_scalings())
    _check_images(model)
    _check_maps(model, head, wanted.channels)
    check_saveable(model)
    segmenter = Segmenter.__new__(Segmenter)
    segmenter._settings = SegmenterSettings(
        encoder="adopted",
        weights=None,
        head=head,
        loss=wanted.loss,
        upsampling="adopted",
        widths=(),
        scaling=scaling,
        seed=0,
        thresholds=dict(wanted.thresholds),
        trained=True,
    )
    segmenter._engine = KerasEngine(model)
    return segmenter


def _check_images(model: Any) -> None:
    import keras

    shape = getattr(model, "input_shape", None)
    if not isinstance(model, keras.Model) or not isinstance(shape, tuple) or len(shape) != 4:
        raise InvalidInputError(
            f"model must be a functional Keras model of one image, got {type(model).__name__} for {shape}; "
            "build it with keras.Model(keras.Input((None, None, 3)), maps)"
        )
    if shape[1:] != (None, None, 3):
        raise InvalidInputError(
            f"model must take images (None, None, 3), of any size and in colour, got {shape[1:]}; build it again with "
            "keras.Input((None, None, 3)), and give it the weights by set_weights"
        )


def _check_maps(model: Any, head: str, channels: int) -> None:
    import keras

    noise = np.random.default_rng(0).random((1, *_SIZE, 3), np.float32)
    try:
        maps = keras.ops.convert_to_numpy(model(noise, training=False))
    except Exception as error:  # whatever a layer brings up
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InvalidInputError(
            f"model must take images of any multiples of 32 rows and columns, and failed for {_SIZE}: {first}; pad "
            "inside the model"
        ) from error
    if maps.shape != (1, *_SIZE, channels):
        raise InvalidInputError(
            f"the head {head!r} needs maps (N, H, W, {channels}) of images (N, H, W, 3), got {maps.shape} for "
            f"{noise.shape}; choose another head, or register one with nucleiseg.heads.register_head"
        )
    if not (np.isfinite(maps).all() and maps.min() >= 0 and maps.max() <= 1):
        raise InvalidInputError(
            f"maps must be from 0 to 1, got {maps.min():g} to {maps.max():g} for noise; end the model with an "
            "activation such as sigmoid"
        )
