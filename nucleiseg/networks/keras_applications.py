"""The architectures of `keras.applications` as encoders with inputs in [0, 1]."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nucleiseg.errors import DownloadError, ModelFileError, NucleisegError

if TYPE_CHECKING:
    import keras

# What the published weights of each family were trained on, as the change from RGB in [0, 1]:
# "signed" is [-1, 1]; "bytes" is [0, 255] (the model goes on from there by itself); "caffe" is BGR in [0, 255] less the
# ImageNet mean; "torch" is [0, 1] less the ImageNet mean, divided by its standard deviation.
Preprocessing = Literal["signed", "bytes", "caffe", "torch"]


@dataclass(frozen=True)
class Application:
    """How one architecture is called in `keras.applications` and which inputs it expects."""

    function: str
    preprocessing: Preprocessing


def _family(functions: dict[str, str], preprocessing: Preprocessing) -> dict[str, Application]:
    return {name: Application(function, preprocessing) for name, function in functions.items()}


APPLICATIONS: dict[str, Application] = {
    **_family({"mobilenet": "MobileNet", "mobilenet_v2": "MobileNetV2"}, "signed"),
    **_family({"mobilenet_v3_small": "MobileNetV3Small", "mobilenet_v3_large": "MobileNetV3Large"}, "bytes"),
    **_family({f"efficientnet_b{n}": f"EfficientNetB{n}" for n in range(8)}, "bytes"),
    **_family({f"efficientnet_v2_b{n}": f"EfficientNetV2B{n}" for n in range(4)}, "bytes"),
    **_family({f"efficientnet_v2_{n.lower()}": f"EfficientNetV2{n}" for n in "SML"}, "bytes"),
    **_family({f"resnet{n}": f"ResNet{n}" for n in (50, 101, 152)}, "caffe"),
    **_family({f"resnet{n}_v2": f"ResNet{n}V2" for n in (50, 101, 152)}, "signed"),
    **_family({f"densenet{n}": f"DenseNet{n}" for n in (121, 169, 201)}, "torch"),
    **_family({f"vgg{n}": f"VGG{n}" for n in (16, 19)}, "caffe"),
}

_MOMENTUM = 0.97  # of batch statistics that begin at nothing
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


def build_application(name: str, weights: str | None) -> keras.Model:
    """Build an architecture of `APPLICATIONS` on inputs in [0, 1] of any size, without its classification top."""
    import keras

    application = APPLICATIONS[name]
    image = keras.Input((None, None, 3), name="image")
    prepared = _preprocess(image, application.preprocessing)
    build: Any = getattr(keras.applications, application.function)
    with warnings.catch_warnings():
        # The MobileNets warn that the weights of their default size are taken, which is what we want.
        warnings.filterwarnings("ignore", message=".*input_shape. is undefined or non-square.*")
        if weights != "imagenet":
            model: keras.Model = build(weights=weights, include_top=False, input_tensor=prepared)
            if weights is None:
                _hasten_statistics(model)
            return model
        try:
            return build(weights=weights, include_top=False, input_tensor=prepared)
        except Exception as error:  # Keras raises a bare Exception when a download fails
            explained = _explain(name, error)
            if explained is None:
                raise
            raise explained from error


def _hasten_statistics(model: keras.Model) -> None:
    """Have batch statistics follow within an epoch of a small dataset.

    Some architectures average them over a thousand batches. From random weights, that keeps predictions at nothing for
    the first dozen epochs, however well the network learns.
    """
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, _MOMENTUM)


def _preprocess(image: keras.KerasTensor, preprocessing: Preprocessing) -> keras.KerasTensor:
    import keras

    layers = keras.layers
    if preprocessing == "signed":
        return layers.Rescaling(2.0, offset=-1.0, name="preprocess")(image)
    if preprocessing == "bytes":
        return layers.Rescaling(255.0, name="preprocess")(image)
    if preprocessing == "torch":
        scale = [1 / std for std in _IMAGENET_STD]
        offset = [-mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)]
        return layers.Rescaling(scale, offset=offset, name="preprocess")(image)
    bgr = keras.ops.flip(image, axis=-1)
    return layers.Rescaling(255.0, offset=[-mean for mean in _CAFFE_MEAN_BGR], name="preprocess")(bgr)


def _explain(name: str, error: Exception) -> NucleisegError | None:
    """The error to raise instead of Keras's: which file is missing, where to put it, and the ways around it."""
    home = os.environ.get("KERAS_HOME")
    folder = (Path(home) if home else Path("~/.keras").expanduser()) / "models"
    match = re.search(r"https?://\S*/([^/\s:]+)", str(error))
    if match is None:
        if not isinstance(error, (OSError, ValueError, KeyError)):
            return None
        # For some architectures Keras knows no checksum and finds a broken download only when it reads it.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return ModelFileError(
            f"the ImageNet weights of {name!r} in {folder} cannot be read ({reason}); delete the file there and try "
            "again, or use weights=None"
        )
    return DownloadError(
        f"the ImageNet weights of {name!r} could not be downloaded; fetch {match.group(1)} on a machine with a network "
        f"and put it into {folder} (or point KERAS_HOME at a folder that has it under models/), or use weights=None"
    )
