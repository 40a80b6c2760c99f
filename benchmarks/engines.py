"""The same network on every engine that is installed: seconds for the same tensor, and how far the maps differ.

    python benchmarks/engines.py                        # TensorFlow and onnxruntime; OpenVINO where it is installed
    KERAS_BACKEND=jax python benchmarks/engines.py      # or torch

All engines use all cores; the first call, which compiles, is not counted.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import skimage.data
from results import keep
from rounds import compare

from nucleiseg import Segmenter
from nucleiseg.engines import KerasEngine, OnnxEngine
from nucleiseg.images import rescale
from nucleiseg.pretrained import pretrained_path

Run = Callable[[Any], Any]


def openvino_engine(model: keras.Model, precision: str) -> Run:
    """The same model through OpenVINO, exported by Keras. By itself it takes bf16 where the processor has it."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nuclei.xml"
        signature = [keras.InputSpec(shape=(None, None, None, 3), dtype="float32", name="image")]
        model.export(str(path), format="openvino", verbose=False, input_signature=signature)
        compiled = openvino.compile_model(path, config={"INFERENCE_PRECISION_HINT": precision})
    return lambda images: compiled(images)[0]


def main() -> None:
    """Print a table for each image size."""
    segmenter = Segmenter.from_pretrained("nuclei")
    backend = keras.backend.backend()
    engines: dict[str, Run] = {f"Keras on {backend}": KerasEngine(segmenter.model)}
    if backend == "tensorflow":
        engines["Keras on tensorflow, constant weights"] = KerasEngine(segmenter.model, constant=True)
    engines["onnxruntime"] = OnnxEngine(pretrained_path("nuclei").with_suffix(".onnx"))
    if backend == "tensorflow" and importlib.util.find_spec("openvino"):
        engines["OpenVINO"] = openvino_engine(segmenter.model, "f32")
        engines["OpenVINO, bfloat16"] = openvino_engine(segmenter.model, "bf16")
    tissue = skimage.data.immunohistochemistry()
    tables = {}
    for repeats in (1, 2, 4):
        tensor = rescale(np.tile(tissue, (repeats, repeats, 1))[: 256 * repeats, : 256 * repeats])[np.newaxis]
        calls = 16 // repeats**2
        first, *others = (engine(tensor) for engine in engines.values())
        ways = {
            name: lambda engine=engine, tensor=tensor, calls=calls: [engine(tensor) for _ in range(calls)]
            for name, engine in engines.items()
        }
        differences = [0.0, *(float(np.abs(maps - first).max()) for maps in others)]
        tables[f"{calls} of {256 * repeats} × {256 * repeats} pixels"] = [
            {**row, "largest difference": f"{difference:.1e}"}
            for row, difference in zip(compare(ways), differences, strict=True)
        ]
    name = "engines" if backend == "tensorflow" else f"engines_{backend}"
    keep(name, "python benchmarks/engines.py", tables)


if __name__ == "__main__":
    main()
