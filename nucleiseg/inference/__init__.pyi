from .evaluation import Evaluation, ImageScore
from .maps import predict_maps
from .options import PredictOptions
from .prediction import Prediction
from .tuning import tune_thresholds

__all__ = ["Evaluation", "ImageScore", "PredictOptions", "Prediction", "predict_maps", "tune_thresholds"]
