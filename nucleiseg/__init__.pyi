from . import (
    datasets,
    engines,
    errors,
    fine_tuning,
    heads,
    images,
    inference,
    instances,
    networks,
    plotting,
    pretrained,
    training,
)
from ._version import __version__
from .adopting import adopt
from .clusters import predict_dask, predict_many
from .fine_tuning import fine_tune, learning_curve
from .growing import grow
from .images.read_options import ReadOptions
from .images.tiling import Tiling
from .inference.options import PredictOptions
from .large import predict_large
from .networks.encoders import get_encoder, list_encoders, register_encoder
from .pretrained import list_pretrained
from .segmenter import Segmenter
from .teaching import teach

__all__ = [
    "PredictOptions",
    "ReadOptions",
    "Segmenter",
    "Tiling",
    "__version__",
    "adopt",
    "datasets",
    "engines",
    "errors",
    "fine_tune",
    "fine_tuning",
    "get_encoder",
    "grow",
    "heads",
    "images",
    "inference",
    "instances",
    "learning_curve",
    "list_encoders",
    "list_pretrained",
    "networks",
    "plotting",
    "predict_dask",
    "predict_large",
    "predict_many",
    "pretrained",
    "register_encoder",
    "teach",
    "training",
]
