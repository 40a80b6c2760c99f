"""Writes a Keras model as an ONNX file that takes images of any size."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nucleiseg._files import atomic_path
from nucleiseg._optional import import_extra, import_framework
from nucleiseg._version import __version__
from nucleiseg.engines.onnx_metadata import with_settings
from nucleiseg.engines.onnx_operators import add_operators
from nucleiseg.errors import InvalidInputError
from nucleiseg.modelfile import copy_network

if TYPE_CHECKING:
    import keras

# Old enough for every runtime of the last years (onnxruntime has it since 1.14, of 2023), new enough for every operator
# that our networks need.
OPSET = 18

_INPUT, _OUTPUT = "image", "maps"
_AXES = ("batch", "height", "width")


def write_onnx(path: Path, model: keras.Model, settings: Mapping[str, Any]) -> None:
    """Write a network and its settings into one ``.onnx`` file, atomically.

    The network has one input, ``image``, float32 (batch, height, width, 3) in [0, 1], and one output, ``maps``, float32
    (batch, height, width, C). Height and width must be multiples of 32.

    Raises
    ------
    InvalidInputError
        If Keras does not run on TensorFlow, or the network has a layer that must know the size of an image, or computes
        by operators that ONNX has not.
    MissingPackageError
        If onnx or tf2onnx is not installed.
    """
    content = with_settings(to_onnx(model), settings)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def to_onnx(model: keras.Model) -> bytes:
    """The content of an ONNX file without our settings."""
    keras = import_framework("keras", "writing an ONNX file")
    if keras.backend.backend() != "tensorflow":
        raise InvalidInputError(
            f"ONNX files are written on Keras's TensorFlow backend, this one is {keras.backend.backend()!r}; save the "
            "model as .keras, and run 'KERAS_BACKEND=tensorflow nucleiseg export'"
        )
    from nucleiseg.engines.enlarging import become_any_size

    onnx = import_extra("onnx", "onnx", "writing an ONNX file")
    import_extra("tf2onnx", "onnx", "writing an ONNX file")
    add_operators()
    # A copy, since tracing adds to what the model holds.
    copy = copy_network(model)
    for layer in copy._flatten_layers():
        become_any_size(layer)
        if isinstance(layer, keras.layers.Normalization):  # its tensors would become inputs of the network
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
    signature = [keras.InputSpec(shape=(None, None, None, 3), dtype="float32", name=_INPUT)]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx uses names that NumPy no longer has
        path = Path(folder) / "network.onnx"
        try:
            copy.export(path, format="onnx", verbose=False, opset_version=OPSET, input_signature=signature)
        except Exception as error:  # whatever layers, TensorFlow and tf2onnx bring up
            reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            raise InvalidInputError(
                f"an ONNX file must be of a network that takes images of any size, and writing this one failed: "
                f"{reason}; save it as .keras, or build it without layers that must know the size"
            ) from error
        network = onnx.load(path)
    _name(network)
    _check(network, onnx)
    content: bytes = network.SerializeToString()
    return content


def _name(network: Any) -> None:
    """Give input, output and their axes names that say what they are."""
    graph = network.graph
    (image,), (maps,) = graph.input, graph.output
    for node in graph.node:
        node.output[:] = [_OUTPUT if name == maps.name else name for name in node.output]
        node.input[:] = [_OUTPUT if name == maps.name else name for name in node.input]
    maps.name = _OUTPUT
    for tensor in (image, maps):
        for axis, name in zip(tensor.type.tensor_type.shape.dim, _AXES, strict=False):
            axis.dim_param = name
    graph.name, graph.doc_string = "nucleiseg", ""
    network.producer_name, network.producer_version = "nucleiseg", __version__
    network.doc_string = "Nuclei in microscopy images: image (batch, height, width, 3) in [0, 1] to maps"


def _check(network: Any, onnx: Any) -> None:
    try:
        onnx.checker.check_model(network)
    except onnx.checker.ValidationError as error:
        foreign = {node.op_type for node in network.graph.node if not onnx.defs.has(node.op_type, node.domain)}
        found = ", ".join(sorted(foreign)) or str(error).splitlines()[0]
        raise InvalidInputError(
            f"an ONNX file must be of operators that ONNX has, got a network with {found}; save it as .keras, which "
            "holds any network, or build it of other layers and activations"
        ) from error
