"""The U-Net: any encoder, an upsampling path with skip connections, and a convolution that makes the maps."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras

from nucleiseg._checks import check_count, check_flag
from nucleiseg.errors import InvalidInputError
from nucleiseg.networks.pyramids import pyramid
from nucleiseg.networks.residual import residual_block
from nucleiseg.networks.resolutions import DEFAULT_WIDTHS, STRIDES
from nucleiseg.networks.upsampling import UpsamplingBuilder, get_upsampling

# Height and width that differ, so that a block which turns them is seen, too.
_PROBE = (1, 8, 12)


def unet(
    encoder: keras.Model,
    channels: int = 1,
    activation: str = "sigmoid",
    upsampling: str = "pix2pix",
    widths: Sequence[int] = DEFAULT_WIDTHS,
    convolutions: int = 0,
    refine: bool = False,
    name: str = "unet",
) -> keras.Model:
    """Build a U-Net on an encoder: a plain functional `keras.Model`, not compiled.

    From the coarsest feature map, five upsampling blocks lead back to full resolution; after each, the feature map of
    that stride (at last the image itself) is concatenated, so that borders keep their place.

    Parameters
    ----------
    encoder : keras.Model
        From `get_encoder`, or any functional model with feature maps at strides 2, 4, 8, 16 and 32.
    channels : int
        Number of output maps.
    activation : str
        Activation of the output maps: ``"sigmoid"``, ``"softmax"``, ``"linear"``.
    upsampling : str
        One of `list_upsamplings`.
    widths : sequence of 5 int
        Channels after each upsampling block, from stride 16 to stride 1.
    convolutions : int
        3 × 3 convolutions with normalisation and ReLU after each skip connection but the last, where the image joins:
        0 is the upsampling path of pix2pix, 2 that of the first U-Net [1]_.
    refine : bool
        A residual block at full resolution, which sees the image too, before the last skip connection. It begins as
        nothing, as the second blocks of ``residual_deep`` do.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        From float images ``(N, H, W, 3)`` in [0, 1] to float32 maps ``(N, H, W, channels)``. Height and width must be
        multiples of 32 (`Segmenter.predict` pads and crops). The encoder is one nested model, named as it was, so
        ``model.get_layer(encoder.name).trainable = False`` freezes it.

    Raises
    ------
    InvalidInputError
        If the encoder lacks a stride, the widths are not five positive numbers, convolutions is below 0, refine is
        neither true nor false, Keras knows no such activation, or an upsampling block takes no name or makes anything
        but maps of twice the height and width with as many channels as it is told.

    References
    ----------
    .. [1] O. Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015.

    Examples
    --------
    >>> from nucleiseg.networks import get_encoder
    >>> model = unet(get_encoder("mobilenet_v2"), channels=2, widths=(32, 16, 16, 8, 8))
    >>> model.compute_output_shape((1, 64, 96, 3))
    (1, 64, 96, 2)
    """
    widths = tuple(check_count(width, "widths") for width in widths)
    if len(widths) != len(STRIDES):
        raise InvalidInputError(
            f"widths must be {len(STRIDES)} numbers, one for each of the strides 16, 8, 4, 2, 1, got {len(widths)}; "
            f"for example {DEFAULT_WIDTHS}"
        )
    channels = check_count(channels, "channels")
    convolutions = check_count(convolutions, "convolutions", 0)
    refine = check_flag(refine, "refine")
    block = _checked_builder(get_upsampling(upsampling), upsampling)
    _check_activation(activation)
    encoder = pyramid(encoder)

    image = keras.Input((None, None, 3), name="image")
    features = [image, *encoder(image)]
    x = features.pop()
    for stride, width, skip in zip((16, 8, 4, 2, 1), widths, reversed(features), strict=True):
        before, x = x, block(width, 3, name=f"upsample_{stride}")(x)
        _check_doubled(before, x, width, upsampling)
        if stride == 1 and refine:
            x = residual_block(x, keras.layers.Concatenate(name="refine_seen")([x, skip]), "refine")
        x = keras.layers.Concatenate(name=f"skip_{stride}")([x, skip])
        for number in range(1, convolutions + 1 if stride > 1 else 1):
            x = _convolved(x, width, f"merge_{stride}_{number}")
    # float32 whatever the precision policy: losses and thresholds are computed on the maps.
    maps = keras.layers.Conv2D(channels, 3, padding="same", activation=activation, dtype="float32", name="maps")(x)
    return keras.Model(image, maps, name=name)


def _checked_builder(builder: UpsamplingBuilder, name: str) -> UpsamplingBuilder:
    """The same, if it can be called as it will be."""
    try:
        inspect.signature(builder).bind(8, 3, name="upsample_1")
    except TypeError as error:
        raise InvalidInputError(
            f"an upsampling block is built by (filters, size, name=None), which {name!r} can't be ({error}); "
            "give its function these parameters"
        ) from error
    except ValueError:  # written in C, which tells no parameters
        pass
    return builder


def _check_activation(activation: Any) -> None:
    try:
        keras.activations.get(activation)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"activation must be one that Keras knows, got {activation!r}; usual are 'sigmoid' for maps that don't "
            "exclude each other, 'softmax' for those that do, and 'linear'"
        ) from error


def _check_doubled(before: keras.KerasTensor, after: Any, width: int, name: str) -> None:
    """Refuse what would fail no sooner than at the first image."""
    given, wanted = (*_PROBE, before.shape[-1]), (_PROBE[0], 2 * _PROBE[1], 2 * _PROBE[2], width)
    got: Any = type(after).__name__
    if isinstance(after, keras.KerasTensor):
        got = tuple(keras.Function(before, after).compute_output_spec(keras.KerasTensor(given)).shape)
    if got != wanted:
        raise InvalidInputError(
            f"an upsampling block must double height and width and give the channels that it is told: {name!r} must "
            f"make {wanted} of {given}, got {got}; begin it with keras.layers.UpSampling2D(2) and end it with "
            "keras.layers.Conv2D(filters, size, padding='same')"
        )


def _convolved(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def find_encoder(model: keras.Model) -> keras.Model:
    """The encoder inside a U-Net: its only nested model with several outputs.

    Raises
    ------
    InvalidInputError
        If there is none, or more than one.

    Examples
    --------
    >>> from nucleiseg.networks import get_encoder
    >>> find_encoder(unet(get_encoder("mobilenet_v2"), widths=(8, 8, 8, 8, 8))).name
    'mobilenet_v2'
    """
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model) and len(layer.outputs) == len(STRIDES)]
    if len(nested) != 1:
        raise InvalidInputError(
            f"the model {model.name!r} must hold one nested encoder with {len(STRIDES)} outputs, found {len(nested)}; "
            "build it with nucleiseg.networks.unet"
        )
    return nested[0]
