from .engine import Engine
from .formats import ModelFormat, find_format, list_formats, register_format
from .keras_engine import KerasEngine
from .onnx_engine import OnnxEngine

__all__ = ["Engine", "KerasEngine", "ModelFormat", "OnnxEngine", "find_format", "list_formats", "register_format"]
