"""Kinds of model files, by the ending of their names: how settings are read, and which engine runs the network."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleiseg._optional import import_framework
from nucleiseg._registry import Registry
from nucleiseg.engines import onnx_metadata
from nucleiseg.engines.engine import Engine
from nucleiseg.errors import InvalidInputError, ModelFileError
from nucleiseg.modelfile import read_model, read_settings, write_model


@dataclass(frozen=True)
class ModelFormat:
    """A kind of model file, and the engine that runs what is in it.

    Parameters
    ----------
    name : str
        Name under which it is registered.
    ending : str
        Of the file names.
    read_settings : function
        path → the settings that were written. Raises `nucleiseg.errors.ModelFileError` for a file that is missing,
        damaged or foreign. Must import no framework: the command line calls it first.
    load : function
        path → `Engine`.
    write : function
        (path, engine, settings) → None: writes what an engine runs, atomically.
    framework : bool
        Whether loading imports Keras and its backend.

    Raises
    ------
    InvalidInputError
        If the ending does not begin with a dot.

    Examples
    --------
    >>> find_format("nuclei.onnx").name
    'onnx'
    """

    name: str
    ending: str
    read_settings: Callable[[Path], Mapping[str, Any]]
    load: Callable[[Path], Engine]
    write: Callable[[Path, Engine, Mapping[str, Any]], None]
    framework: bool = False

    def __post_init__(self) -> None:
        if not self.ending.startswith("."):
            raise InvalidInputError(f"the ending of a format must begin with '.', got {self.ending!r}; use '.onnx'")


_formats: Registry[ModelFormat] = Registry("model format", group="nucleiseg.formats")


def register_format(model_format: ModelFormat) -> ModelFormat:
    """Add a kind of model file under its name.

    Raises
    ------
    InvalidInputError
        If the name is taken or no identifier.

    Examples
    --------
    >>> from dataclasses import replace
    >>> register_format(replace(find_format("a.onnx"), name="ort", ending=".ort")).ending
    '.ort'
    >>> _formats.unregister("ort")
    """
    return _formats.register(model_format.name)(model_format)


def list_formats() -> list[str]:
    """Names of all kinds of model files, sorted.

    Examples
    --------
    >>> list_formats()
    ['bioimage', 'keras', 'onnx']
    """
    return _formats.names()


def find_format(path: str | os.PathLike[str]) -> ModelFormat:
    """The kind of a model file, by the ending of its name.

    Raises
    ------
    InvalidInputError
        If no kind has that ending.

    Examples
    --------
    >>> find_format("my_nuclei.keras").ending
    '.keras'
    """
    formats = [_formats.get(name) for name in _formats]
    for found in formats:
        if os.fspath(path).lower().endswith(found.ending):
            return found
    endings = " or ".join(found.ending for found in formats)
    name = Path(path).name
    raise InvalidInputError(
        f"a model's file name must end in {endings}, got {name!r}; use a name such as 'nuclei{formats[-1].ending}'"
    )


def keras_model(engine: Engine) -> Any:
    """The Keras model that an engine runs.

    Raises
    ------
    InvalidInputError
        If it runs none.
    """
    model = getattr(engine, "model", None)
    if model is None:
        raise InvalidInputError(
            "this segmenter was loaded from an exported file, which holds no Keras model to train, draw or save; load "
            "the .keras file that it was exported from"
        )
    return model


def _load_keras(path: Path) -> Engine:
    import_framework("keras", f"the model {path}")
    from nucleiseg.engines.gpus import grow_gpu_memory
    from nucleiseg.engines.keras_engine import KerasEngine
    from nucleiseg.networks.encoders import load_encoder_plugin
    from nucleiseg.networks.upsampling import load_upsampling_plugin

    grow_gpu_memory()
    built = read_settings(path).get("segmenter")
    if isinstance(built, Mapping):  # layers of an installed package are known to Keras once it is imported
        load_encoder_plugin(built.get("encoder"))
        load_upsampling_plugin(built.get("upsampling"))
    return KerasEngine(read_model(path)[0], constant=True)  # until somebody asks for the model


def _write_keras(path: Path, engine: Engine, settings: Mapping[str, Any]) -> None:
    write_model(path, keras_model(engine), settings)


def _load_onnx(path: Path) -> Engine:
    from nucleiseg.engines.onnx_engine import OnnxEngine

    return OnnxEngine(path)


def _write_onnx(path: Path, engine: Engine, settings: Mapping[str, Any]) -> None:
    from nucleiseg.engines.onnx_engine import OnnxEngine
    from nucleiseg.engines.onnx_export import write_onnx

    if isinstance(engine, OnnxEngine):
        engine.write(path, settings)
    else:
        write_onnx(path, keras_model(engine), settings)


def _read_package(path: Path, read: Callable[[Path], Any]) -> Any:
    """What can be read from the ONNX file in a package."""
    from nucleiseg.engines.bioimage import read_weights

    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / path.with_suffix(".onnx").name
        weights.write_bytes(read_weights(path))
        try:
            return read(weights)
        except ModelFileError as error:
            raise ModelFileError(str(error).replace(str(weights), str(path))) from error


def _write_package(path: Path, engine: Engine, settings: Mapping[str, Any]) -> None:
    from nucleiseg.engines.bioimage import write_package

    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.onnx"
        _write_onnx(weights, engine, settings)
        write_package(path, weights, settings)


register_format(
    ModelFormat(
        "bioimage",
        ".bioimage.zip",
        lambda path: _read_package(path, onnx_metadata.read_settings),
        lambda path: _read_package(path, _load_onnx),
        _write_package,
    )
)
register_format(ModelFormat("keras", ".keras", read_settings, _load_keras, _write_keras, framework=True))
register_format(ModelFormat("onnx", ".onnx", onnx_metadata.read_settings, _load_onnx, _write_onnx))
