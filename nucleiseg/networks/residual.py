"""An encoder of plain convolutions, made for nuclei and for CPUs: small, and quick to train from random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    import keras

_WIDTHS = (32, 64, 128, 192, 256)
_SMALL_WIDTHS = (16, 32, 64, 128, 192)
_STRIDES = (2, 4, 8, 16, 32)


def build_residual(weights: str | None = None) -> keras.Model:
    """A residual network that works at half resolution from its first layer on, 1.9 million weights.

    One residual block [1]_ of two 3 × 3 convolutions at each of the strides 2 to 32, with 32, 64, 128, 192 and 256
    channels; between them, the largest of four pixels goes on. Gradients of plain convolutions take a fraction of the
    time on CPU that those of depthwise ones take, and nuclei need fewer channels than the thousand classes of ImageNet.

    Parameters
    ----------
    weights : path or None
        A weights file, or None for random initialisation.

    Returns
    -------
    keras.Model
        From ``(N, H, W, 3)`` in [0, 1] to five feature maps.

    Raises
    ------
    InvalidInputError
        If ImageNet weights are asked for: there are none.

    References
    ----------
    .. [1] K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.

    Examples
    --------
    >>> [output.shape[-1] for output in build_residual().outputs]
    [32, 64, 128, 192, 256]
    """
    return _build("residual", weights, _WIDTHS, first_block=True)


def build_residual_small(weights: str | None = None) -> keras.Model:
    """As `build_residual`, with fewer channels and no block at stride 2: 0.9 million weights, made for speed.

    Parameters
    ----------
    weights : path or None
        A weights file, or None for random initialisation.

    Returns
    -------
    keras.Model
        From ``(N, H, W, 3)`` in [0, 1] to five feature maps.

    Raises
    ------
    InvalidInputError
        If ImageNet weights are asked for: there are none.

    Examples
    --------
    >>> [output.shape[-1] for output in build_residual_small().outputs]
    [16, 32, 64, 128, 192]
    """
    return _build("residual_small", weights, _SMALL_WIDTHS, first_block=False)


def build_residual_deep(weights: str | None = None) -> keras.Model:
    """As `build_residual`, with a second block at the strides 8 and 16: 2.9 million weights.

    What is added begins as nothing [1]_: the last normalisation of each second block multiplies by 0. With the weights
    of a trained `build_residual` in its other layers (`nucleiseg.grow`), it puts out the same and learns from there.

    Parameters
    ----------
    weights : path or None
        A weights file, or None for random initialisation.

    Returns
    -------
    keras.Model
        From ``(N, H, W, 3)`` in [0, 1] to five feature maps.

    Raises
    ------
    InvalidInputError
        If ImageNet weights are asked for: there are none.

    References
    ----------
    .. [1] P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", arXiv:1706.02677, 2017, 5.1.

    Examples
    --------
    >>> [output.shape[-1] for output in build_residual_deep().outputs]
    [32, 64, 128, 192, 256]
    """
    return _build("residual_deep", weights, _WIDTHS, first_block=True, second_blocks=(8, 16))


def _build(
    name: str, weights: str | None, widths: tuple[int, ...], first_block: bool, second_blocks: tuple[int, ...] = ()
) -> keras.Model:
    if weights == "imagenet":
        raise InvalidInputError(
            f"the encoder {name!r} has no ImageNet weights, got weights='imagenet'; pass weights=None (--weights none)"
            " to train it from random ones, or take an encoder that has some, such as 'mobilenet_v2'"
        )
    import keras

    image = keras.Input((None, None, 3), name="image")
    x = _normalised(image, widths[0], size=5, name="stem", strides=2)
    x = keras.layers.ReLU(name="stem_relu")(x)
    features: list[keras.KerasTensor] = []
    for stride, width in zip(_STRIDES, widths, strict=True):
        if features:
            # Pooled first: the shortcut below is then no strided 1 × 1 convolution, whose gradient oneDNN gets wrong.
            x = keras.layers.MaxPooling2D(2, name=f"pool_{stride}")(x)
        if features or first_block:
            x = _block(x, width, f"block_{stride}")
        if stride in second_blocks:
            x = residual_block(x, x, f"second_{stride}")
        features.append(x)
    model = keras.Model(image, features, name=name)
    if weights is not None:
        model.load_weights(weights)
    return model


def residual_block(x: keras.KerasTensor, seen: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Two convolutions of what is seen, added to maps that are not negative; in the beginning they add nothing.

    Parameters
    ----------
    x : keras.KerasTensor
        The maps.
    seen : keras.KerasTensor
        What the convolutions get: the maps themselves, or these and others.
    name : str
        Prefix of the layers' names.

    Returns
    -------
    keras.KerasTensor
        As many maps.

    Examples
    --------
    >>> import keras
    >>> x = keras.Input((8, 8, 4))
    >>> tuple(residual_block(x, x, "more").shape)
    (None, 8, 8, 4)
    """
    import keras

    filters = x.shape[-1]
    added = _normalised(seen, filters, size=3, name=f"{name}_1")
    added = keras.layers.ReLU(name=f"{name}_1_relu")(added)
    added = _normalised(added, filters, size=3, name=f"{name}_2", gamma="zeros")
    added = keras.layers.Add(name=f"{name}_add")([added, x])
    return keras.layers.ReLU(name=f"{name}_relu")(added)


def _block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    import keras

    shortcut = x
    if x.shape[-1] != filters:
        shortcut = _normalised(x, filters, size=1, name=f"{name}_shortcut")
    x = _normalised(x, filters, size=3, name=f"{name}_1")
    x = keras.layers.ReLU(name=f"{name}_1_relu")(x)
    x = _normalised(x, filters, size=3, name=f"{name}_2")
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _normalised(
    x: keras.KerasTensor, filters: int, size: int, name: str, strides: int = 1, gamma: str = "ones"
) -> keras.KerasTensor:
    import keras

    x = keras.layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return keras.layers.BatchNormalization(gamma_initializer=gamma, name=f"{name}_norm")(x)
