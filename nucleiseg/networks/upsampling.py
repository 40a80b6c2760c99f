"""Blocks that double height and width, by name.

The default is the ``upsample`` block of pix2pix, as `tensorflow_examples.models.pix2pix.pix2pix.upsample` has it: same
layers, initialiser and order, so weights can be carried over one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras

from nucleiseg._checks import check_choice, check_count
from nucleiseg._registry import Registry

UpsamplingBuilder = Callable[..., Any]

_upsamplings: Registry[UpsamplingBuilder] = Registry("upsampling block", group="nucleiseg.upsamplings")
register_upsampling = _upsamplings.register
load_upsampling_plugin = _upsamplings.load_plugin


def list_upsamplings() -> list[str]:
    """Names of all upsampling blocks, sorted.

    Examples
    --------
    >>> list_upsamplings()
    ['pix2pix', 'resize_conv']
    """
    return _upsamplings.names()


def get_upsampling(name: str) -> UpsamplingBuilder:
    """The function of that name: ``(filters, size, name=None) -> keras.Sequential`` which doubles height and width.

    Examples
    --------
    >>> block = get_upsampling("resize_conv")(8, 3)
    >>> block.compute_output_shape((1, 16, 16, 4))
    (1, 32, 32, 8)
    """
    return _upsamplings.get(name)


@register_upsampling("pix2pix")
def upsample(
    filters: int,
    size: int,
    norm_type: Literal["batchnorm", "instancenorm"] = "batchnorm",
    apply_dropout: bool = False,
    name: str | None = None,
) -> keras.Sequential:
    """The upsampling block of pix2pix: transposed convolution, normalisation, optional dropout, ReLU.

    Parameters
    ----------
    filters : int
        Output channels.
    size : int
        Kernel height and width.
    norm_type : "batchnorm" or "instancenorm"
        Normalise over the batch, or over the pixels of each image and channel.
    apply_dropout : bool
        Drop half of the activations while training.
    name : str, optional
        Name of the block.

    Returns
    -------
    keras.Sequential
        From ``(N, H, W, C)`` to ``(N, 2 H, 2 W, filters)``.

    Raises
    ------
    InvalidInputError
        If a number is below 1 or the normalisation is unknown.

    References
    ----------
    .. [1] P. Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017.
    .. [2] The block's definition: tensorflow/examples, ``tensorflow_examples/models/pix2pix/pix2pix.py``.

    Examples
    --------
    >>> block = upsample(8, 3)
    >>> tuple(block.compute_output_shape((1, 16, 16, 4)))
    (1, 32, 32, 8)
    """
    filters, size = check_count(filters, "filters"), check_count(size, "size")
    check_choice(norm_type, "norm_type", ("batchnorm", "instancenorm"))
    layers = [
        keras.layers.Conv2DTranspose(
            filters, size, strides=2, padding="same", use_bias=False, kernel_initializer=_normal(0.0)
        )
    ]
    if norm_type == "batchnorm":
        layers.append(keras.layers.BatchNormalization())
    else:
        # One group a channel is instance normalisation; epsilon and the scale's initialiser are those of pix2pix.
        layers.append(keras.layers.GroupNormalization(groups=-1, epsilon=1e-5, gamma_initializer=_normal(1.0)))
    if apply_dropout:
        layers.append(keras.layers.Dropout(0.5))
    layers.append(keras.layers.ReLU())
    return keras.Sequential(layers, name=name)


@register_upsampling("resize_conv")
def resize_conv(filters: int, size: int, name: str | None = None) -> keras.Sequential:
    """A lighter block: 1 × 1 convolution to few channels, repeat every pixel twice each way, convolution.

    Resizing before the convolution leaves no checkerboard [1]_, and narrowing before both leaves about a third of the
    parameters of `upsample` where the input is wide. Every convolution is followed by normalisation and ReLU.

    Parameters
    ----------
    filters : int
        Output channels.
    size : int
        Kernel height and width.
    name : str, optional
        Name of the block.

    Returns
    -------
    keras.Sequential
        From ``(N, H, W, C)`` to ``(N, 2 H, 2 W, filters)``.

    Raises
    ------
    InvalidInputError
        If a number is below 1.

    References
    ----------
    .. [1] A. Odena et al., "Deconvolution and Checkerboard Artifacts", Distill, 2016.

    Examples
    --------
    >>> resize_conv(8, 3).compute_output_shape((1, 16, 16, 4))
    (1, 32, 32, 8)
    """
    filters, size = check_count(filters, "filters"), check_count(size, "size")
    return keras.Sequential(
        [
            keras.layers.Conv2D(filters, 1, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.UpSampling2D(2),
            keras.layers.Conv2D(filters, size, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ],
        name=name,
    )


def _normal(mean: float) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(mean, 0.02)
