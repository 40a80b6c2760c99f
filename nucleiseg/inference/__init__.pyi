from .evaluation import Evaluation, ImageScore
from .maps import predict_maps
from .options import PredictOptions
from .prediction import Prediction
from .segmenting import Decoding, segment
from .tuning import decoding_score, tune_thresholds

__all__ = [
    "Decoding",
    "Evaluation",
    "ImageScore",
    "PredictOptions",
    "Prediction",
    "decoding_score",
    "predict_maps",
    "segment",
    "tune_thresholds",
]
