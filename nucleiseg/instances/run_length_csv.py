"""Kaggle's CSV of run lengths, ``ImageId,EncodedPixels`` with a row for each nucleus."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable

import numpy as np

from nucleiseg._files import atomic_path, check_suffix
from nucleiseg.instances.named_labels import NamedLabels
from nucleiseg.instances.run_lengths import find_runs

__all__ = ["RUN_LENGTH_COLUMNS", "write_run_lengths"]

RUN_LENGTH_COLUMNS = ("ImageId", "EncodedPixels")


def write_run_lengths(path: str | os.PathLike[str], images: Iterable[NamedLabels]) -> None:
    """Write the nuclei of images as run lengths, as the 2018 Data Science Bowl asked for them.

    `nucleiseg.datasets.read` reads the file beside the images; see `encode_run_lengths` for what the numbers mean.

    Parameters
    ----------
    path : str or path
        Ends in ``.csv``. An existing file is replaced once the new one is complete.
    images : iterable of NamedLabels
        Taken one after the other, so that a generator needs the memory of one image. An image without nuclei gets a row
        without run lengths. Of an id that is no text, as file names on Linux may be, the odd bytes are escaped.

    Raises
    ------
    InvalidInputError
        If the path has another suffix.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "runs.csv"
    >>> write_run_lengths(path, [NamedLabels("a", [[3, 0], [3, 3]]), NamedLabels("b", [[0, 0]])])
    >>> print(path.read_text().strip())
    ImageId,EncodedPixels
    a,1 2 4 1
    b,
    """
    check_suffix(path, ".csv")
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(RUN_LENGTH_COLUMNS)
        for image in images:
            texts = [
                " ".join(map(str, np.column_stack([starts + 1, lengths]).ravel().tolist()))
                for _, starts, lengths in find_runs(np.asarray(image.labels))
            ]
            writer.writerows((image.id, text) for text in texts or [""])
