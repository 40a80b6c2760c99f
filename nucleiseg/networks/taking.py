"""The weights of one network in the layers of another that has them too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from nucleiseg.errors import InvalidInputError
from nucleiseg.networks.unets import find_encoder

_Place = tuple[str | int, ...]


def take_weights(model: keras.Model, source: keras.Model) -> int:
    """Give the layers of a U-Net the weights of those of another one, where names and shapes are the same.

    So a network that has grown goes on from what the smaller one has learned: layers that were added keep the weights
    that they have, and where these add nothing (``residual_deep``, ``refine``), it puts out the same maps [1]_.

    Parameters
    ----------
    model : keras.Model
        From `unet`; changed in place.
    source : keras.Model
        From `unet` too. The encoders may have different names.

    Returns
    -------
    int
        How many numbers were taken over.

    Raises
    ------
    InvalidInputError
        If these are fewer than half of the model's: the two have little in common. Nothing is changed then.

    References
    ----------
    .. [1] T. Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016.

    Examples
    --------
    >>> from nucleiseg.networks import get_encoder, unet
    >>> small = unet(get_encoder("residual"), convolutions=1)
    >>> large = unet(get_encoder("residual_deep"), convolutions=1, refine=True)
    >>> take_weights(large, small) == small.count_params()
    True
    """
    held = dict(_places(source, find_encoder(source)))
    pairs = [(layer, held[place]) for place, layer in _places(model, find_encoder(model)) if place in held]
    pairs = [(layer, other) for layer, other in pairs if _shapes(layer) == _shapes(other)]
    taken = sum(layer.count_params() for layer, _ in pairs)
    if 2 * taken < model.count_params():
        raise InvalidInputError(
            f"a network must share at least half of its weights with the one that it goes on from, shares {taken:,} of "
            f"{model.count_params():,}; build it with the same widths and convolutions, or start from random weights"
        )
    for layer, other in pairs:
        layer.set_weights(other.get_weights())
    return taken


def _places(model: Any, encoder: Any, above: _Place = ()) -> Iterator[tuple[_Place, Any]]:
    """Layers with weights, each with where it stands. Within upsampling blocks, Keras counts names through."""
    for number, layer in enumerate(model.layers):
        place = (*above, number if isinstance(model, keras.Sequential) else layer.name)
        if layer is encoder:
            yield from _places(layer, encoder, ("encoder",))
        elif isinstance(layer, keras.Model):
            yield from _places(layer, encoder, place)
        elif layer.weights:
            yield place, layer


def _shapes(layer: Any) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]
