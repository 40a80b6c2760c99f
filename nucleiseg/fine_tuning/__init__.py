"""Fine-tuning that can't hurt: a copy is trained, compared with the model as it was, and the better one is kept."""

from nucleiseg.fine_tuning.curves import CurvePoint, LearningCurve
from nucleiseg.fine_tuning.own_images import OwnImages, split_own
from nucleiseg.fine_tuning.results import FineTuning
from nucleiseg.fine_tuning.tuning import fine_tune, learning_curve

__all__ = ["CurvePoint", "FineTuning", "LearningCurve", "OwnImages", "fine_tune", "learning_curve", "split_own"]
