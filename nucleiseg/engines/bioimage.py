"""A package for the BioImage Model Zoo: a zip of the ONNX file, a description, and a pair of tensors to test with.

The description, ``rdf.yaml``, follows version 0.5 of https://bioimage-io.github.io/spec-bioimage-io. It is written as
JSON, which every reader of YAML reads.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._files import atomic_path
from nucleiseg._version import __version__
from nucleiseg.engines.engine import MULTIPLE
from nucleiseg.engines.onnx_engine import OnnxEngine
from nucleiseg.engines.onnx_export import OPSET
from nucleiseg.engines.onnx_metadata import check_size
from nucleiseg.errors import InvalidInputError, ModelFileError
from nucleiseg.images import rescale

_WEIGHTS = "weights.onnx"
_TEST_SIZE = 4 * MULTIPLE
# What a scaling is in the terms of the zoo: the percentiles that become 0 and 1.
_PERCENTILES = {"percentile": (1, 99.8), "minmax": (0, 100)}


def write_package(path: Path, onnx_file: Path, settings: Mapping[str, Any]) -> None:
    """Write a package around an ONNX file that `nucleiseg.Segmenter.export` wrote, atomically.

    Raises
    ------
    InvalidInputError
        If the settings name no licence, or a scaling that the zoo does not know.
    """
    segmenter = settings["segmenter"]
    if not segmenter.get("licence"):
        raise InvalidInputError(
            "a package for the BioImage Model Zoo must say under which licence the model is, got none; pass one, such "
            "as export(path, licence='CC-BY-4.0')"
        )
    if segmenter["scaling"] not in _PERCENTILES:
        raise InvalidInputError(
            f"the BioImage Model Zoo knows the scalings {', '.join(_PERCENTILES)}, got {segmenter['scaling']!r}; "
            "export an .onnx file instead"
        )
    image = _test_image()
    maps = OnnxEngine(onnx_file)(rescale(image[0], segmenter["scaling"])[np.newaxis])
    files = {
        _WEIGHTS: onnx_file.read_bytes(),
        "test_input.npy": _npy(image),
        "test_output.npy": _npy(maps),
        "README.md": _readme(segmenter).encode(),
    }
    description = _describe(segmenter, maps.shape[-1], files)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rdf.yaml", json.dumps(description, indent=2))
        for name, content in files.items():
            archive.writestr(name, content)


def read_weights(path: Path) -> bytes:
    """The ONNX file in a package.

    Raises
    ------
    ModelFileError
        If the package is missing or damaged, or holds none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_size(archive.getinfo(_WEIGHTS).file_size)
            return archive.read(_WEIGHTS)
    except Exception as error:  # what Python raises for a damaged archive depends on which byte is damaged
        raise ModelFileError(
            f"{path} is missing, damaged or no package of nucleiseg ({error}); write it with 'nucleiseg export'"
        ) from error


def _describe(segmenter: Mapping[str, Any], channels: int, files: Mapping[str, bytes]) -> dict[str, Any]:
    low, high = _PERCENTILES[segmenter["scaling"]]
    side = {"min": MULTIPLE, "step": MULTIPLE}
    scale = {"axes": ["channel", "y", "x"], "min_percentile": low, "max_percentile": high}
    return {
        "type": "model",
        "format_version": "0.5.4",
        "name": f"nucleiseg {segmenter['encoder']} {segmenter['head']}".replace("_", "-"),
        "description": "Finds cell nuclei in microscopy images: fluorescence, stained tissue, brightfield.",
        "authors": [{"name": "The nucleiseg developers"}],
        "cite": [{"text": "nucleiseg", "url": "https://bbbc.broadinstitute.org/BBBC038"}],
        "license": segmenter["licence"],
        "documentation": "README.md",
        "tags": ["nuclei", "segmentation", "2d", "unet"],
        "version": __version__,
        "inputs": [
            {
                "id": "image",
                "axes": _axes([{**_space(name), "size": side} for name in "yx"], ["red", "green", "blue"]),
                "data": {"type": "float32"},
                "preprocessing": [
                    {"id": "scale_range", "kwargs": scale},
                    {"id": "clip", "kwargs": {"min": 0.0, "max": 1.0}},
                ],
                "test_tensor": _file("test_input.npy", files),
            }
        ],
        "outputs": [
            {
                "id": "maps",
                "axes": _axes(
                    [{**_space(name), "size": {"tensor_id": "image", "axis_id": name}} for name in "yx"],
                    [f"map{number}" for number in range(channels)],
                ),
                "data": {"type": "float32"},
                "test_tensor": _file("test_output.npy", files),
            }
        ],
        "weights": {"onnx": {**_file(_WEIGHTS, files), "opset_version": OPSET}},
        "config": {"nucleiseg": dict(segmenter)},
    }


def _axes(spatial: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    return [{"type": "batch"}, *spatial, {"type": "channel", "channel_names": names}]


def _space(name: str) -> dict[str, Any]:
    return {"type": "space", "id": name}


def _file(name: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}


def _readme(segmenter: Mapping[str, Any]) -> str:
    return (
        "# nucleiseg\n\nA network that finds cell nuclei. Its maps become nuclei by the decoder of the head "
        f"`{segmenter['head']}` with the thresholds {dict(segmenter['thresholds'])}; `nucleiseg predict --model` with "
        "this file does that.\n\nNot for diagnosis.\n"
    )


def _test_image() -> npt.NDArray[np.float32]:
    """Bright discs on a dark, noisy ground, in the range of 8 bits: (1, H, W, 3)."""
    rows, columns = np.mgrid[:_TEST_SIZE, :_TEST_SIZE]
    image = np.full((_TEST_SIZE, _TEST_SIZE), 12.0)
    for row, column in ((30, 28), (44, 92), (96, 40), (90, 100)):
        image[(rows - row) ** 2 + (columns - column) ** 2 < 130] = 160
    image += np.random.default_rng(0).uniform(0, 12, image.shape)
    return np.repeat(image.astype(np.float32)[np.newaxis, :, :, np.newaxis], 3, axis=-1)


def _npy(array: npt.NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()
