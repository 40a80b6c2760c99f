"""What a result was made with: versions, machine, command and time, in JSON values."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nucleiseg._files import escaped
from nucleiseg._version import __version__

__all__ = ["describe_run", "now"]

# Those whose version may change a result.
_PACKAGES = (
    "h5py",
    "imagecodecs",
    "jax",
    "keras",
    "numpy",
    "onnxruntime",
    "pandas",
    "pillow",
    "scikit-image",
    "scipy",
    "tensorflow",
    "tifffile",
    "torch",
)


def now() -> str:
    """The time, in UTC, to the second.

    Examples
    --------
    >>> len(now())
    20
    """
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe_run(started: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A run manifest: what this process runs with, and ``facts`` of its own.

    Examples
    --------
    >>> run = describe_run(now(), {"seed": 3})
    >>> list(run)
    ['software', 'version', 'seed', 'command', 'started', 'finished', 'python', 'platform', 'backend', 'packages']
    """
    return {
        "software": "nucleiseg",
        "version": __version__,
        **facts,
        "command": _command(),
        "started": started,
        "finished": now(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "backend": _backend(),
        "packages": _versions(),
    }


def _command() -> str:
    words = [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv else []
    return escaped(shlex.join(words))


def _backend() -> str | None:
    """Keras's backend, without importing Keras."""
    keras = sys.modules.get("keras")
    backend = getattr(keras, "backend", None)
    return backend.backend() if backend is not None else os.environ.get("KERAS_BACKEND")


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
