"""The weights of one network in another that is built alike."""

from __future__ import annotations

from typing import Any

__all__ = ["give_weights"]


def give_weights(network: Any, source: Any) -> None:
    """Give a Keras model or layer the weights of another one.

    As its own ``set_weights``, but `keras.layers.Normalization` computes with them, too: with what it was built with or
    adapted to, otherwise.

    Examples
    --------
    >>> import keras
    >>> source = keras.layers.Normalization()
    >>> source.adapt(keras.ops.array([[0.0], [4.0]]))
    >>> layer = keras.layers.Normalization()
    >>> layer.build((None, 1))
    >>> give_weights(layer, source)
    >>> float(layer(keras.ops.array([[2.0]]))[0, 0])
    0.0
    """
    network.set_weights(source.get_weights())
    for layer in network._flatten_layers():
        if layer.weights and hasattr(layer, "finalize_state"):
            layer.finalize_state()
