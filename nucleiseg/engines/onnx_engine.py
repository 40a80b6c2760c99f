"""Runs an ONNX file through onnxruntime. Imports neither Keras nor TensorFlow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._files import atomic_path
from nucleiseg._optional import import_extra
from nucleiseg.engines.engine import MULTIPLE
from nucleiseg.engines.onnx_metadata import read_checked, with_settings
from nucleiseg.errors import ModelFileError

_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxEngine:
    """Runs a network that `nucleiseg.Segmenter.export` wrote, on any size of image.

    It runs on a CUDA device if onnxruntime's build for it is installed and finds one, otherwise on all cores.

    Parameters
    ----------
    path : path
        An ``.onnx`` file; it may be deleted afterwards.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, changed, or was not exported by nucleiseg.
    MissingPackageError
        If onnxruntime is not installed.

    Examples
    --------
    >>> from nucleiseg.pretrained import pretrained_path
    >>> path = pretrained_path("nuclei").with_suffix(".onnx")  # or what Segmenter.export has written
    >>> OnnxEngine(path)(np.zeros((1, 32, 64, 3), np.float32)).shape[:3]
    (1, 32, 64)
    """

    multiple = MULTIPLE

    def __init__(self, path: str | os.PathLike[str]) -> None:
        onnxruntime = import_extra("onnxruntime", "onnx", f"running {os.fspath(path)}")
        self._content, _ = read_checked(Path(path))
        self.fingerprint = hashlib.sha256(self._content).hexdigest()
        available = onnxruntime.get_available_providers()
        providers = [provider for provider in _PROVIDERS if provider in available]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised; printed, they would come twice
        # A second try without CUDA is announced on the standard output, where results go.
        second = {"enable_fallback": int(len(providers) > 1)}
        try:
            self._session = onnxruntime.InferenceSession(self._content, options, providers=providers, **second)
            (image,) = self._session.get_inputs()
        except Exception as error:  # onnxruntime has a class of its own for every kind of trouble
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelFileError(f"the network in {path} cannot be run ({reason}); export it again") from error
        self._input = image.name

    def __call__(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """From float32 images (N, H, W, 3) in [0, 1] to float32 maps (N, H, W, C)."""
        return np.asarray(self._session.run(None, {self._input: images})[0], np.float32)

    def write(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        """Write the same network with other settings, atomically."""
        with atomic_path(path) as temporary:
            temporary.write_bytes(with_settings(self._content, settings))
