from .comparison import Comparison
from .evaluation import Evaluation, ImageScore
from .limits import LeastConfidence, least_confidence, smallest_area
from .maps import predict_maps
from .options import PredictOptions
from .prediction import Prediction
from .resizing import resize_labels, resize_maps
from .scale import Passport, measure_diameters, usual_diameter
from .tuning import decoding_score, tune_decoder, tune_thresholds

__all__ = [
    "Comparison",
    "Evaluation",
    "ImageScore",
    "LeastConfidence",
    "Passport",
    "PredictOptions",
    "Prediction",
    "decoding_score",
    "least_confidence",
    "measure_diameters",
    "predict_maps",
    "resize_labels",
    "resize_maps",
    "smallest_area",
    "tune_decoder",
    "tune_thresholds",
    "usual_diameter",
]
