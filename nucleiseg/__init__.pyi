from . import datasets, engines, heads, images, inference, instances, networks, plotting, training
from ._version import __version__
from .images.read_options import ReadOptions
from .images.tiling import Tiling
from .inference.options import PredictOptions
from .networks.encoders import get_encoder, list_encoders, register_encoder
from .pretrained import list_pretrained
from .segmenter import Segmenter

__all__ = [
    "PredictOptions",
    "ReadOptions",
    "Segmenter",
    "Tiling",
    "__version__",
    "datasets",
    "engines",
    "get_encoder",
    "heads",
    "images",
    "inference",
    "instances",
    "list_encoders",
    "list_pretrained",
    "networks",
    "plotting",
    "register_encoder",
    "training",
]
