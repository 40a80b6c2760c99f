"""Packages that only a few functions need: imported where they are used, with a remedy where they are missing.

Keras and TensorFlow are among them: the light distribution ``nucleiseg-onnx`` is this same package without the two.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import lazy_loader

from nucleiseg.errors import MissingPackageError

__all__ = ["check_extra", "distribution", "import_extra", "import_framework", "lazy_package"]

_FRAMEWORKS = ("keras", "tensorflow")


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
    return MissingPackageError(
        f"{purpose} needs the package {module}{reason}; run 'pip install \"{distribution()}[{extra}]\"' "
        f"or 'pip install {module}'"
    )


def import_framework(module: str, purpose: str) -> Any:
    """Keras or TensorFlow, which a light installation lacks.

    Raises `MissingPackageError`, which says what it is needed for and how to get it. One that is there but broken
    raises its own error.

    Examples
    --------
    >>> import_framework("keras", "training").__name__
    'keras'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not _is_framework(error.name):
            raise
        raise _framework_missing(purpose, error) from error


def _is_framework(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _FRAMEWORKS


def _framework_missing(purpose: str, error: ImportError) -> MissingPackageError:
    return MissingPackageError(
        f"{purpose} needs Keras and TensorFlow, which a light installation lacks ({error}); run "
        "'pip install nucleiseg', or predict with a model in an .onnx file, which needs neither"
    )


def lazy_package(name: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`lazy_loader.attach_stub` for a package of which parts need Keras: says so where Keras is missing."""
    load, names, listed = lazy_loader.attach_stub(name, file)

    def load_or_explain(attribute: str) -> Any:
        try:
            return load(attribute)
        except ModuleNotFoundError as error:
            if not _is_framework(error.name):
                raise
            raise _framework_missing(f"{name}.{attribute}", error) from error

    return load_or_explain, names, listed
