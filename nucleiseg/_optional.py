"""Packages that only a few functions need: imported where they are used, with a remedy where they are missing.

Keras and TensorFlow are among them: the light distribution ``nucleiseg-onnx`` is this same package without the two.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import lazy_loader

from nucleiseg.errors import InvalidInputError, MissingPackageError

__all__ = ["check_extra", "distribution", "import_extra", "import_framework", "lazy_package"]

_FRAMEWORKS = ("keras", "tensorflow")
_BACKENDS = ("jax", "openvino", "torch")


def distribution() -> str:
    """What this package was installed as: ``nucleiseg``, or ``nucleiseg-onnx``, which lacks Keras and TensorFlow.

    Examples
    --------
    >>> distribution()
    'nucleiseg'
    """
    from importlib import metadata

    try:
        metadata.distribution("nucleiseg")
    except metadata.PackageNotFoundError:
        return "nucleiseg-onnx"
    return "nucleiseg"


def import_extra(module: str, extra: str, purpose: str) -> Any:
    """A module of a package that comes with one of our extras.

    Raises `MissingPackageError`, which says what it is needed for and how to get it.

    Examples
    --------
    >>> import_extra("zipfile", "imagej", "ImageJ's regions").__name__
    'zipfile'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module, extra, purpose, f" ({error})") from error


def check_extra(module: str, extra: str, purpose: str) -> None:
    """Raise as `import_extra` does if the package is not installed, without importing it."""
    if importlib.util.find_spec(module) is None:
        raise _missing(module, extra, purpose, ", which is not installed")


def _missing(module: str, extra: str, purpose: str, reason: str) -> MissingPackageError:
    ours, package = distribution(), module.partition(".")[0]
    extras, required = _offered(ours)
    # With its bounds: an earlier version may be there already, and be what fails.
    needed = [line for line in required if re.split(r"[^\w.-]", line.lower())[0] == package.lower()] or [package]
    whole = [f"{ours}[{extra}]"] if extra in extras or not extras else []
    remedies = " or ".join(f"'pip install \"{each}\"'" for each in (*whole, needed[0]))
    return MissingPackageError(f"{purpose} needs the package {module}{reason}; run {remedies}")


def _offered(ours: str) -> tuple[list[str], list[str]]:
    """The extras of an installed distribution, and what they require; none if it was never installed."""
    from importlib import metadata

    try:
        about = metadata.metadata(ours)
    except metadata.PackageNotFoundError:  # run from a checkout
        return [], []
    required = [line.partition(";")[0].strip() for line in about.get_all("Requires-Dist") or ()]
    return about.get_all("Provides-Extra") or [], required


def import_framework(module: str, purpose: str) -> Any:
    """Keras or TensorFlow, which a light installation lacks.

    Raises `MissingPackageError`, which says what it is needed for and how to get it, as for a backend of Keras that
    is named but not there, or `InvalidInputError` if there is no such backend. One that is there but broken raises its
    own error.

    Examples
    --------
    >>> import_framework("keras", "training").__name__
    'keras'
    """
    with _explained(purpose):
        return importlib.import_module(module)


@contextlib.contextmanager
def _explained(purpose: str) -> Iterator[None]:
    """What is missing when Keras is imported, or the backend that it was told to run on, in our words."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in _FRAMEWORKS:
            raise _framework_missing(purpose, error) from error
        if module not in _BACKENDS:
            raise
        raise MissingPackageError(
            f"{purpose} needs {module}, on which Keras is to run, and which is not installed; run "
            f"'unset KERAS_BACKEND' to run on TensorFlow, or 'pip install {module}'"
        ) from error
    except ValueError as error:
        backend = os.environ.get("KERAS_BACKEND")
        if backend is None or "import backend" not in str(error):
            raise
        raise InvalidInputError(
            f"KERAS_BACKEND must name a backend of Keras, such as tensorflow or jax, got {backend!r}; run "
            "'unset KERAS_BACKEND' to run on TensorFlow"
        ) from error


def _framework_missing(purpose: str, error: ImportError) -> MissingPackageError:
    # The two distributions bring the same files: one beside the other would break when either is uninstalled.
    first = "'pip uninstall nucleiseg-onnx', then " if distribution() != "nucleiseg" else ""
    return MissingPackageError(
        f"{purpose} needs Keras and TensorFlow, which a light installation lacks ({error}); run "
        f"{first}'pip install nucleiseg', or predict with a model in an .onnx file, which needs neither"
    )


def lazy_package(name: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`lazy_loader.attach_stub` for a package of which parts need Keras: says so where Keras is missing."""
    load, names, listed = lazy_loader.attach_stub(name, file)

    def load_or_explain(attribute: str) -> Any:
        with _explained(f"{name}.{attribute}"):
            return load(attribute)

    return load_or_explain, names, listed
