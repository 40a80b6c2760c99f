"""Losses by name: what Keras has, the Tversky loss, and weighted sums.

Importing this registers their classes with Keras, which can load then what it saved with them.
"""

from nucleiseg.training.loss_table import get, list_losses, register_loss
from nucleiseg.training.losses.maps import MaskAndDepth, MaskDepthAndContact
from nucleiseg.training.losses.region import Tversky, WeightedSum

__all__ = [
    "MaskAndDepth",
    "MaskDepthAndContact",
    "Tversky",
    "WeightedSum",
    "get",
    "list_losses",
    "register_loss",
]
