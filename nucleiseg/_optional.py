"""Packages that only a few functions need: imported where they are used, with a remedy where they are missing."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from nucleiseg.errors import MissingPackageError

__all__ = ["check_extra", "import_extra"]


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
        f"{purpose} needs the package {module}{reason}; run 'pip install \"nucleiseg[{extra}]\"' "
        f"or 'pip install {module}'"
    )
