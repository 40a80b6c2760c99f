from .evaluation import Evaluation, ImageScore
from .maps import predict_maps
from .options import PredictOptions
from .prediction import Prediction
from .tuning import decoding_score, smallest_area, tune_decoder, tune_thresholds

__all__ = [
    "Evaluation",
    "ImageScore",
    "PredictOptions",
    "Prediction",
    "decoding_score",
    "predict_maps",
    "smallest_area",
    "tune_decoder",
    "tune_thresholds",
]
