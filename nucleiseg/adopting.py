"""A Keras model of one's own as a segmenter."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_choice
from nucleiseg._optional import import_framework
from nucleiseg._settings import SegmenterSettings
from nucleiseg.errors import InvalidInputError
from nucleiseg.heads import get_head
from nucleiseg.images import list_scalings
from nucleiseg.segmenter import Segmenter

if TYPE_CHECKING:
    import keras

    from nucleiseg.engines import KerasEngine

__all__ = ["adopt"]

ADOPTED = "adopted"
"""What stands in the settings for how it was built."""

_SIZE = (64, 96)  # multiples of 32 that differ, so that rows are not taken for columns
_SAME = 1e-3


def adopt(model: keras.Model, head: str = "semantic", *, scaling: str = "percentile") -> Segmenter:
    """A segmenter that looks for nuclei by a Keras model that was built and trained elsewhere.

    It predicts images of any size and kind, is evaluated, has its thresholds chosen by `Segmenter.optimize_thresholds`,
    is saved and exported as any other. `Segmenter.fit` goes on with models that hold one nested encoder, as
    `nucleiseg.networks.unet` builds them, and refuses others: train these by Keras, on batches of
    `nucleiseg.training.as_tf_dataset`.

    Parameters
    ----------
    model : keras.Model
        Functional, from images (N, H, W, 3) in [0, 1], of any height and width that are multiples of 32, to maps
        (N, H, W, C) in [0, 1], float32. Its layers are used, not copied.
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
    MissingPackageError
        Without Keras.
    InvalidInputError
        If head or scaling are unknown, the model takes other images, gives other maps, or does not run for images of
        any size, or is another one when it is saved and loaded. All of this is tried.

    Examples
    --------
    >>> import keras
    >>> image = keras.Input((None, None, 3))
    >>> brightness = keras.layers.Conv2D(1, 1, activation="sigmoid")(image)
    >>> adopt(keras.Model(image, brightness)).predict(np.zeros((50, 70), np.uint8)).labels.shape
    (50, 70)
    """
    import_framework("keras", "a Keras model")
    wanted = get_head(head)
    check_choice(scaling, "scaling", list_scalings())
    functional = _check_images(model)
    settings = SegmenterSettings(
        encoder=ADOPTED,
        weights=None,
        head=head,
        loss=wanted.loss,
        upsampling=ADOPTED,
        widths=(),
        scaling=scaling,
        seed=0,
        thresholds=dict(wanted.thresholds),
        trained=True,
    )
    noise = np.random.default_rng(0).random((1, *_SIZE, 3), np.float32)
    maps = _check_maps(functional, noise, head, wanted.channels)
    segmenter = Segmenter.__new__(Segmenter)
    segmenter._settings, segmenter._engine = settings, _check_use(functional, noise, maps, settings)
    return segmenter


def _check_images(model: Any) -> keras.Model:
    """The model, as a functional one."""
    import keras

    shape = getattr(model, "input_shape", None)
    if not isinstance(model, keras.Model) or not isinstance(shape, tuple) or len(shape) != 4:
        raise InvalidInputError(
            f"model must be a functional Keras model of one image, got {type(model).__name__} for {shape}; "
            "build it with keras.Model(keras.Input((None, None, 3)), maps)"
        )
    kind = keras.backend.standardize_dtype(model.inputs[0].dtype)
    if shape != (None, None, None, 3) or not kind.startswith("float"):
        raise InvalidInputError(
            f"model must take any number of images (None, None, 3), of any size and in colour, as floats, got {shape} "
            f"of {kind}; build it again with keras.Input((None, None, 3)), and give it the weights by set_weights"
        )
    return keras.Model(model.inputs[0], model.outputs[0]) if isinstance(model, keras.Sequential) else model


def _check_maps(model: Any, noise: npt.NDArray[np.float32], head: str, channels: int) -> npt.NDArray[np.float32]:
    """What it makes of noise."""
    import keras

    try:
        given = model(noise, training=False)
    except Exception as error:  # whatever a layer brings up
        raise InvalidInputError(
            f"model must take images of any multiples of 32 rows and columns, and failed for {_SIZE}: "
            f"{_first_line(error)}; pad inside the model"
        ) from error
    if isinstance(given, (list, tuple, dict)):
        raise InvalidInputError(
            f"model must give one tensor of maps, got a {type(given).__name__} of {len(given)}; build it with "
            "keras.Model(image, maps), maps of several outputs joined by keras.layers.Concatenate"
        )
    maps = np.asarray(keras.ops.convert_to_numpy(given))
    if maps.shape != (1, *_SIZE, channels) or maps.dtype != np.float32:
        raise InvalidInputError(
            f"the head {head!r} needs float32 maps (N, H, W, {channels}) of images (N, H, W, 3), got {maps.dtype} "
            f"{maps.shape} for {noise.shape}; choose another head, or register one with nucleiseg.heads.register_head"
        )
    if not (np.isfinite(maps).all() and maps.min() >= 0 and maps.max() <= 1):
        raise InvalidInputError(
            f"maps must be from 0 to 1, got {maps.min():g} to {maps.max():g} for noise; end the model with an "
            "activation such as sigmoid"
        )
    return maps


def _check_use(
    model: Any, noise: npt.NDArray[np.float32], maps: npt.NDArray[np.float32], settings: SegmenterSettings
) -> KerasEngine:
    """Run it as prediction does, and as it is after it was saved and loaded: now, not when much was done with it."""
    from nucleiseg.engines import KerasEngine
    from nucleiseg.modelchecks import check_saveable
    from nucleiseg.modelfile import read_model, write_model

    engine = KerasEngine(model)
    try:
        check_saveable(model)
        found = {"in prediction": engine(noise)}
        _ = engine.pixel_bytes
        with tempfile.TemporaryDirectory() as folder:
            saved = write_model(Path(folder) / "adopted.keras", model, settings.to_json())
            found["saved and loaded"] = KerasEngine(read_model(saved)[0])(noise)
    except InvalidInputError:
        raise
    except Exception as error:  # whatever TensorFlow and Keras bring up
        raise InvalidInputError(
            f"model must run for images of any size, be saved and be loaded, and one of these failed: "
            f"{_first_line(error)}; use plain layers of Keras, such as UpSampling2D of the kind 'nearest'"
        ) from error
    for way, other in found.items():
        difference = float(np.abs(other - maps).max()) if other.shape == maps.shape else np.inf
        if not difference <= _SAME:
            raise InvalidInputError(
                f"model must give the same maps {way}, got some that differ by {difference:.2g}; use plain layers of "
                "Keras, which hang on nothing but their weights and the image"
            )
    return engine


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
