from .evaluation import Evaluation, ImageScore
from .maps import predict_maps
from .options import PredictOptions
from .prediction import Prediction

__all__ = ["Evaluation", "ImageScore", "PredictOptions", "Prediction", "predict_maps"]
