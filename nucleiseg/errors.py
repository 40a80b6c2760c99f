"""Every exception that nucleiseg raises on purpose.

One base class, so that a caller (the command line is one) can tell a mistake that has a remedy from a bug.
A message is one line: the rule, what came instead, and the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "DatasetError",
    "DatasetWarning",
    "DownloadError",
    "ForkedProcessError",
    "ImageFileError",
    "InvalidInputError",
    "LabelTypeError",
    "MissingPackageError",
    "ModelFileError",
    "NucleisegError",
    "PluginError",
    "SizeMismatchError",
    "TrainingError",
]


class NucleisegError(Exception):
    """Base of all errors that nucleiseg raises on purpose."""


class InvalidInputError(NucleisegError, ValueError):
    """An argument breaks a documented rule: shape, dtype, range or an unknown name."""


class MissingPackageError(NucleisegError, ImportError):
    """A package that only this function needs is not installed."""


class ImageFileError(NucleisegError):
    """An image file is missing, damaged, of an unknown kind, or too large."""


class DatasetError(NucleisegError):
    """A dataset on disk cannot be understood: layout, pairs, or a broken sample."""


class SizeMismatchError(DatasetError):
    """An image and its labels differ in height or width."""


class LabelTypeError(DatasetError, ImageFileError):
    """Labels are not one channel of whole numbers from 0."""


class ModelFileError(NucleisegError):
    """A model file is missing, damaged, or was not saved by nucleiseg."""


class TrainingError(NucleisegError):
    """Training cannot go on: the loss is no number any more, or memory does not suffice.

    The model has the weights of its best epoch, if one was finished. ``rows`` is what was measured until then.
    """

    def __init__(self, message: str, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


class ForkedProcessError(NucleisegError, RuntimeError):
    """Networks are used in a process that was forked from another one that uses them."""


class DownloadError(NucleisegError):
    """Weights that would have to be downloaded cannot be had here."""


class PluginError(NucleisegError):
    """What another installed package adds cannot be imported."""


class DatasetWarning(UserWarning):
    """Labelled images that can be trained on, but hardly with success."""
