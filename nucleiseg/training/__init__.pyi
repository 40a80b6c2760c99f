from . import losses, metrics
from .augmentation import Augmentation, augment
from .checkpoints import Checkpoint
from .crops import random_crop
from .fitting import fit_two_phases
from .options import FitOptions
from .phases import Task
from .pipeline import arrays_to_tf_dataset, as_tf_dataset
from .recipe import Recipe, read_recipe
from .targets import get_target, list_targets, register_target
from .taught import TaughtImages

__all__ = [
    "Augmentation",
    "Checkpoint",
    "FitOptions",
    "Recipe",
    "Task",
    "TaughtImages",
    "arrays_to_tf_dataset",
    "as_tf_dataset",
    "augment",
    "fit_two_phases",
    "get_target",
    "list_targets",
    "losses",
    "metrics",
    "random_crop",
    "read_recipe",
    "register_target",
]
