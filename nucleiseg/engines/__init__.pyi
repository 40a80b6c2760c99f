from .engine import Engine
from .keras_engine import KerasEngine

__all__ = ["Engine", "KerasEngine"]
