"""The weights of one network in the layers of another that has them too."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import keras

from nucleiseg._weights import give_weights
from nucleiseg.errors import InvalidInputError
from nucleiseg.networks.unets import find_encoder

_Label = str | tuple[str, int, int]
_MOST_NAMES = 3


def take_weights(model: keras.Model, source: keras.Model) -> None:
    """Give a U-Net the weights of another one, all of whose layers it has; those that it has besides keep their own.

    So a network that has grown goes on from what the smaller one has learned: where the layers that were added add
    nothing yet (``residual_deep``, ``refine``), it puts out the same maps [1]_.

    Parameters
    ----------
    model : keras.Model
        From `unet`; changed in place.
    source : keras.Model
        From `unet` too. The encoders may have different names; other layers are the same if their names are, and those
        that Keras has named if there are as many of a kind in both.

    Raises
    ------
    InvalidInputError
        If a layer of the source is missing, or has another shape. Nothing is changed then.

    References
    ----------
    .. [1] T. Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016.

    Examples
    --------
    >>> from nucleiseg.networks import get_encoder, unet
    >>> small = unet(get_encoder("residual"), widths=(16, 8, 8, 8, 8))
    >>> large = unet(get_encoder("residual_deep"), widths=(16, 8, 8, 8, 8), refine=True)
    >>> take_weights(large, small)
    >>> image = keras.ops.ones((1, 32, 32, 3))
    >>> bool(keras.ops.all(large(image) == small(image)))
    True
    """
    pairs = list(_pairs(model, source, (find_encoder(model), find_encoder(source))))
    missing = [repr(other.name) for layer, other in pairs if layer is None]
    if missing:
        more = f" and {len(missing) - _MOST_NAMES} more" if len(missing) > _MOST_NAMES else ""
        raise InvalidInputError(
            "a network must have every layer of the one whose weights it takes over, in the same shape, lacks "
            f"{', '.join(missing[:_MOST_NAMES])}{more}; build it with an encoder that has all of its layers, and with "
            "the same widths, convolutions and upsampling, or train it from random weights"
        )
    for layer, other in pairs:
        give_weights(layer, other)


def _pairs(model: Any, source: Any, encoders: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Each layer with weights of the source, after that of the model which is the same; None if there is none."""
    ours, theirs = (_labelled(of, encoder) for of, encoder in zip((model, source), encoders, strict=True))
    for label, other in theirs.items():
        layer = ours.get(label)
        if isinstance(layer, keras.Model) and isinstance(other, keras.Model):
            yield from _pairs(layer, other, encoders)
        else:
            yield layer if layer is not None and _kind(layer) == _kind(other) else None, other


def _labelled(model: Any, encoder: Any) -> dict[_Label, Any]:
    """Layers with weights by name; by kind, how many of it there are, and place, where Keras has numbered them."""
    found: dict[_Label, Any] = {}
    numbered = defaultdict(list)
    for layer in model.layers:
        kind = type(layer).__name__
        if layer is encoder:
            found["encoder", 1, 0] = layer
        elif not layer.weights:
            continue
        elif re.sub(r"_\d+$", "", layer.name).replace("_", "") == kind.lower():
            numbered[kind].append(layer)
        else:
            found[layer.name] = layer
    for kind, layers in numbered.items():
        found |= {(kind, len(layers), place): layer for place, layer in enumerate(layers)}
    return found


def _kind(layer: Any) -> tuple[type, list[tuple[int, ...]]]:
    return type(layer), [tuple(weight.shape) for weight in layer.weights]
