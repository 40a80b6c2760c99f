"""The encoders that a U-Net can stand on, by name.

An encoder is a plain function ``(weights) -> keras.Model``: from an RGB batch in [0, 1] of any size to its features. It
owns its preprocessing, so that everything above it knows one input range only. The taps are found and checked
(`nucleiseg.networks.pyramids`).
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nucleiseg._registry import Registry
from nucleiseg.errors import InvalidInputError, ModelFileError, NucleisegError
from nucleiseg.networks.keras_applications import APPLICATIONS, build_application
from nucleiseg.networks.residual import build_residual, build_residual_deep, build_residual_small

if TYPE_CHECKING:
    import keras

EncoderBuilder = Callable[..., "keras.Model"]

_encoders: Registry[EncoderBuilder] = Registry("encoder", group="nucleiseg.encoders")
register_encoder = _encoders.register
load_encoder_plugin = _encoders.load_plugin


def list_encoders() -> list[str]:
    """Names of all encoders, installed plugins included, sorted. Imports neither Keras nor the plugins.

    Examples
    --------
    >>> "mobilenet_v2" in list_encoders()
    True
    """
    return _encoders.names()


def get_encoder(name: str, weights: str | os.PathLike[str] | None = None) -> keras.Model:
    """Build an encoder: five feature maps of an RGB image in [0, 1].

    Parameters
    ----------
    name : str
        One of `list_encoders`.
    weights : "imagenet", path or None
        Pretrained ImageNet weights (downloaded by Keras once and kept in its home folder), a weights file, or None for
        random initialisation.

    Returns
    -------
    keras.Model
        Functional, input ``(None, None, None, 3)`` in [0, 1], outputs ``(N, H / s, W / s, C_s)`` at strides
        s = 2, 4, 8, 16, 32. Height and width of the input must be multiples of 32.

    Raises
    ------
    InvalidInputError
        Unknown name, a builder without the parameter ``weights``, a weights file that is missing, an encoder that can't
        be built with ImageNet weights, or a model that lacks one of the strides.
    ModelFileError
        A weights file that is damaged, or holds the weights of another network.
    DownloadError
        The ImageNet weights are not on this machine and could not be downloaded.
    PluginError
        The encoder belongs to another package, which cannot be imported.

    Examples
    --------
    >>> encoder = get_encoder("mobilenet_v2")
    >>> [output.shape[-1] for output in encoder.outputs]
    [96, 144, 192, 576, 1280]
    """
    from nucleiseg.networks.pyramids import pyramid

    builder = _encoders.get(name)
    _check_parameter(name, builder)
    if weights is None or (weights == "imagenet" and name in _SHIPPED):
        model = builder(weights=weights)
    elif weights == "imagenet":
        model = _with_imagenet(name, builder)
    else:
        model = _with_weights_file(name, builder, weights)
    encoder = pyramid(model)
    encoder.name = name
    return encoder


def _check_parameter(name: str, builder: EncoderBuilder) -> None:
    try:
        signature = inspect.signature(builder)
    except ValueError:  # of what is not written in Python
        return
    try:
        signature.bind(weights=None)
    except TypeError as error:
        raise InvalidInputError(
            f"the encoder {name!r} must be a function of weights alone, got one of {signature}; write "
            f"'def {name}(weights=None)', and have it load or refuse weights that are not None"
        ) from error


def _with_imagenet(name: str, builder: EncoderBuilder) -> keras.Model:
    """Of an encoder of one's own, for which "imagenet" may be no more than the name of a file that there is not."""
    try:
        return builder(weights="imagenet")
    except NucleisegError:
        raise
    except Exception as error:  # whatever the builder's own code raises
        raise InvalidInputError(
            f"the encoder {name!r} has no ImageNet weights, or cannot take them ({_reason(error)}), got "
            "weights='imagenet'; pass weights=None (--weights none) to train it from random ones, or mend its builder"
        ) from error


def _with_weights_file(name: str, builder: EncoderBuilder, weights: str | os.PathLike[str]) -> keras.Model:
    path = os.fspath(weights)
    if not Path(path).is_file():
        raise InvalidInputError(f"weights must be 'imagenet', None or an existing file, got {path!r}; check the path")
    try:
        with warnings.catch_warnings():
            # Keras warns of every layer that the file has nothing for, and may go on with random weights there.
            warnings.filterwarnings("error", message="Skipping nested container")
            return builder(weights=path)
    except NucleisegError:
        raise
    except Exception as error:  # what Keras raises depends on the kind of the file and on where it is damaged
        raise ModelFileError(
            f"the weights file {path} cannot be read into {name!r} ({_reason(error)}); pass a complete .weights.h5, "
            ".h5 or .keras file of that network without its classification top"
        ) from error


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _application(name: str) -> EncoderBuilder:
    def build(weights: str | None = None) -> keras.Model:
        return build_application(name, weights)

    return build


for _name in APPLICATIONS:
    register_encoder(_name)(_application(_name))
register_encoder("residual")(build_residual)
register_encoder("residual_deep")(build_residual_deep)
register_encoder("residual_small")(build_residual_small)
_SHIPPED = frozenset((*APPLICATIONS, "residual", "residual_deep", "residual_small"))
