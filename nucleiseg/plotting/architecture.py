"""Diagrams of networks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nucleiseg._checks import check_choice
from nucleiseg.plotting._canvas import check_picture_path

__all__ = ["plot_architecture"]


def plot_architecture(
    model: Any,
    path: str | os.PathLike[str],
    part: str = "unet",
    *,
    detail: str = "stages",
    title: str | None = None,
) -> Path:
    """Draw the architecture of a U-Net, or of its encoder.

    Shapes are those for an input of 256 by 256 pixels, unless the model fixes its input size.

    Parameters
    ----------
    model : keras.Model
        A functional model. With ``detail="stages"`` it must be a U-Net: a nested encoder model with several outputs,
        from fine to coarse, and a path of layers that joins them again.
    path : str or path-like
        The picture to write: ``.png``, ``.svg`` or ``.pdf``.
    part : {"unet", "encoder"}
        The whole model, or the encoder within it. A model with several outputs is taken for an encoder.
    detail : {"stages", "layers"}
        ``"stages"``: a box for all layers of one size. ``"layers"``: a line for each layer, in a long picture.
    title : str, optional
        Heading. By default it names the model.

    Returns
    -------
    pathlib.Path
        Where the picture is.

    Raises
    ------
    InvalidInputError
        If the model is not functional, is not of the structure described, or an argument is not one of the choices.

    References
    ----------
    O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image segmentation",
    MICCAI 2015. https://arxiv.org/abs/1505.04597

    Examples
    --------
    >>> import tempfile
    >>> import keras
    >>> from keras import layers
    >>> image = keras.Input((None, None, 3))
    >>> fine = layers.Conv2D(4, 3, strides=2, padding="same")(image)
    >>> coarse = layers.Conv2D(8, 3, strides=2, padding="same")(fine)
    >>> encoder = keras.Model(image, [fine, coarse])
    >>> picture = plot_architecture(encoder, tempfile.mkdtemp() + "/encoder.png", part="encoder")
    >>> picture.name
    'encoder.png'
    """
    target = check_picture_path(path)
    check_choice(part, "part", ("unet", "encoder"))
    check_choice(detail, "detail", ("stages", "layers"))
    from nucleiseg.plotting._encoder_diagram import draw_encoder
    from nucleiseg.plotting._layer_list import draw_layers
    from nucleiseg.plotting._unet_diagram import draw_unet
    from nucleiseg.plotting._unet_parts import find_encoder, find_unet

    if part == "unet":
        if detail == "layers":
            return draw_layers(model, None, title or f"Layers of {model.name}", target)
        unet = find_unet(model)
        return draw_unet(unet, model, title or f"U-Net on {unet.encoder.name}", target)
    encoder, input_shape = find_encoder(model)
    if detail == "layers":
        return draw_layers(encoder, input_shape, title or f"Layers of {encoder.name}", target)
    return draw_encoder(encoder, input_shape, title or f"Encoder {encoder.name}", target)
