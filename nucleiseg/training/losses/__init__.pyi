from .maps import MaskAndDepth, MaskDepthAndContact
from .region import Tversky, WeightedSum
from .table import get, list_losses, register_loss

__all__ = [
    "MaskAndDepth",
    "MaskDepthAndContact",
    "Tversky",
    "WeightedSum",
    "get",
    "list_losses",
    "register_loss",
]
