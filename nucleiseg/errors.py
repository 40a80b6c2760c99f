"""Every exception that nucleiseg raises on purpose.

One base class, so that a caller (the command line is one) can tell a mistake that has a remedy from a bug.
A message is one line: the rule, what came instead, and the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "ClusterError",
    "DatasetError",
    "DatasetWarning",
    "DownloadError",
    "FailedImagesError",
    "ForkedProcessError",
    "ImageFileError",
    "ImageWarning",
    "InvalidInputError",
    "LabelTypeError",
    "MissingPackageError",
    "ModelFileError",
    "NucleisegError",
    "PluginError",
    "PredictionWarning",
    "SizeMismatchError",
    "TrainingError",
    "TrainingWarning",
]


class NucleisegError(Exception):
    """Base of all errors that nucleiseg raises on purpose.

    Examples
    --------
    >>> from nucleiseg.images import read_image
    >>> try:
    ...     read_image("no_such_file.png")
    ... except NucleisegError as error:
    ...     print(error)
    no_such_file.png: no such file; check the path
    """


class InvalidInputError(NucleisegError, ValueError):
    """An argument breaks a documented rule: shape, dtype, range or an unknown name.

    Examples
    --------
    >>> from nucleiseg import PredictOptions
    >>> try:
    ...     PredictOptions(threshold=50)
    ... except InvalidInputError as error:  # or ValueError, which it is too
    ...     print(error)
    threshold must be a number from 0 to 1, got 50
    """


class MissingPackageError(NucleisegError, ImportError):
    """A package that only this function needs is not installed.

    Examples
    --------
    >>> issubclass(MissingPackageError, ImportError)  # code that catches the usual error goes on working
    True
    """


class ImageFileError(NucleisegError):
    """An image file is missing, damaged, of an unknown kind, or too large.

    Examples
    --------
    >>> from nucleiseg.images import read_image
    >>> try:
    ...     read_image(__file__)  # a Python file
    ... except ImageFileError:
    ...     print("go on with the next image")
    go on with the next image
    """


class FailedImagesError(NucleisegError):
    """Some of many images could not be segmented; all others have been.

    ``errors`` has the error of each, by its path.

    Examples
    --------
    >>> error = FailedImagesError({"a.png": ImageFileError("a.png: no such file; check the path")}, 40)
    >>> print(error)
    1 of 40 images could not be segmented: a.png: no such file; check the path
    >>> list(error.errors)
    ['a.png']
    """

    _TOLD = 3

    def __init__(self, errors: Mapping[str, Exception], count: int, failures: int | None = None) -> None:
        super().__init__(errors, count, failures)
        self.errors = dict(errors)
        self.count = count
        self.failures = len(self.errors) if failures is None else failures  # more where a path was given twice

    def __str__(self) -> str:
        reasons = [
            " ".join((text if path in (text := str(error)) else f"{path}: {type(error).__name__} {text}").split())
            for path, error in list(self.errors.items())[: self._TOLD]
        ]
        more = len(self.errors) - len(reasons)
        further = f"; and {more} more, see `errors` of this error" if more else ""
        return f"{self.failures} of {self.count} images could not be segmented: {'; '.join(reasons)}{further}"


class DatasetError(NucleisegError):
    """A dataset on disk cannot be understood: layout, pairs, or a broken sample.

    Examples
    --------
    >>> from nucleiseg import datasets
    >>> try:
    ...     datasets.read("no_such_folder")
    ... except DatasetError as error:
    ...     print(error)
    /...no_such_folder: no such file or folder; check the path
    """


class SizeMismatchError(DatasetError):
    """An image and its labels differ in height or width.

    Examples
    --------
    >>> import numpy as np
    >>> from nucleiseg import datasets
    >>> try:
    ...     datasets.from_arrays([np.zeros((4, 4))], [np.zeros((4, 5), int)])
    ... except SizeMismatchError as error:
    ...     print(error)
    sample '0000': image and labels must have the same height and width, got (4, 4) and (4, 5); ...
    """


class LabelTypeError(DatasetError, ImageFileError):
    """Labels are not one channel of whole numbers from 0.

    Examples
    --------
    >>> issubclass(LabelTypeError, DatasetError), issubclass(LabelTypeError, ImageFileError)
    (True, True)
    """


class ModelFileError(NucleisegError):
    """A model file is missing, damaged, or was not saved by nucleiseg.

    Examples
    --------
    >>> from nucleiseg.modelfile import read_settings
    >>> try:
    ...     read_settings("no_such.keras")
    ... except ModelFileError as error:
    ...     print(error)
    the model file no_such.keras does not exist; check the path, or train one with 'nucleiseg train'
    """


class TrainingError(NucleisegError):
    """Training cannot go on: the loss is no number any more, or memory does not suffice.

    The model has the weights of its best epoch, if one was finished. ``rows`` is what was measured until then.

    Examples
    --------
    >>> error = TrainingError("the loss is no number any more", rows=[{"epoch": 1, "loss": 0.7}])
    >>> error.rows[-1]["epoch"]  # the last epoch that was finished
    1
    """

    def __init__(self, message: str, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


class ForkedProcessError(NucleisegError, RuntimeError):
    """Networks are used in a process that was forked from another one that uses them.

    Examples
    --------
    >>> import multiprocessing
    >>> multiprocessing.get_context("spawn").get_start_method()  # start processes like this, and it does not occur
    'spawn'
    """


class ClusterError(NucleisegError):
    """A Dask cluster does not answer, has gone away, or its workers have another nucleiseg or another model.

    Nothing that is finished is lost: `nucleiseg.predict_large`, and the command with ``--resume``, go on from there.

    Examples
    --------
    >>> issubclass(ClusterError, ImageFileError)  # no image is to blame, and the next one would fail, too
    False
    """


class DownloadError(NucleisegError):
    """Weights that would have to be downloaded cannot be had here.

    Examples
    --------
    >>> issubclass(DownloadError, NucleisegError)  # its message names the file and the folder to put it in
    True
    """


class PluginError(NucleisegError):
    """What another installed package adds cannot be imported.

    Examples
    --------
    >>> issubclass(PluginError, NucleisegError)  # its message names the package
    True
    """


class DatasetWarning(UserWarning):
    """Labelled images that can be trained on, but hardly with success.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", DatasetWarning)  # for data that is meant to be as it is
    ...     warnings.warn("an image is black", DatasetWarning)
    """


class ImageWarning(UserWarning):
    """An image can be read, but perhaps not as it is meant.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", ImageWarning)  # for pictures that fade into nothing
    """


class PredictionWarning(UserWarning):
    """An image is segmented, but not as it would be with more memory.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", PredictionWarning)  # rather no labels than those of another scale
    """


class TrainingWarning(UserWarning):
    """Training can go on, but nothing tells whether the model becomes worse.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", TrainingWarning)  # for models that are compared afterwards
    ...     warnings.warn("a trained model goes on without validation data", TrainingWarning)
    """
