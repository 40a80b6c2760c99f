"""Decoded samples on disk, so that images and masks are decoded once and not in every epoch."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nucleiseg._files import atomic_path, text_sha256
from nucleiseg._warnings import warn_caller
from nucleiseg.datasets.records import Array, Record

__all__ = ["Cache", "cache_folder", "clear_cache"]

# To be raised whenever a reader gives other pixels for the same files.
_READER_VERSION = 3

_SUFFIX = ".sample"
_WARNING = threading.Lock()


def cache_folder() -> Path:
    """Where decoded samples are kept: the environment variable ``NUCLEISEG_CACHE``, or the user's cache folder.

    Examples
    --------
    >>> cache_folder().name
    'datasets'
    """
    import platformdirs

    return Path(os.environ.get("NUCLEISEG_CACHE") or platformdirs.user_cache_dir("nucleiseg")) / "datasets"


def clear_cache(folder: str | os.PathLike[str] | None = None) -> int:
    """Delete decoded samples; they are decoded anew when next read.

    Parameters
    ----------
    folder : str or path, optional
        The folder given to ``read(cache=...)``; by default the usual one. Other files in it stay.

    Returns
    -------
    freed : int
        Bytes.

    Examples
    --------
    >>> import tempfile
    >>> clear_cache(tempfile.mkdtemp())
    0
    """
    freed = 0
    for path in (cache_folder() if folder is None else Path(folder)).glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            size = path.stat().st_size
            path.unlink()
            freed += size
    return freed


class Cache:
    """A folder with one file for each sample: a stamp of its source, the image and the labels, as plain ``.npy`` data.

    A sample whose stamp differs from its source's, or whose file is damaged, is decoded and written anew.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writable = True

    def read(self, record: Record) -> tuple[Array, NDArray[np.int32]]:
        """The sample from the cache if it is there, else from its source."""
        stamp = record.stamp()
        if stamp is None:
            return record.read()
        path = self.folder / (_digest(repr(record)) + _SUFFIX)
        key = np.frombuffer(_digest(f"{_READER_VERSION}|{stamp}").encode(), np.uint8)
        return self._load(path, key) or self._save(path, key, record)

    def _load(self, path: Path, key: NDArray[np.uint8]) -> tuple[Array, NDArray[np.int32]] | None:
        # Read into memory, not mapped: a map keeps a file open, and a list of samples would use up all files allowed.
        try:
            with path.open("rb") as file:
                if not np.array_equal(np.load(file, allow_pickle=False), key):
                    return None
                image, labels = np.load(file, allow_pickle=False), np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if labels.dtype != np.int32 or labels.shape != image.shape[:2]:
            return None
        return image, labels

    def _save(self, path: Path, key: NDArray[np.uint8], record: Record) -> tuple[Array, NDArray[np.int32]]:
        image, labels = record.read()
        if self.writable:
            try:
                with atomic_path(path) as temporary, temporary.open("wb") as file:
                    for array in (key, image, labels):
                        np.save(file, array, allow_pickle=False)
            except OSError as error:
                self._stop_writing(error)
        return image, labels

    def _stop_writing(self, error: OSError) -> None:
        with _WARNING:
            first, self.writable = self.writable, False
        if first:
            warn_caller(
                f"the cache of decoded samples cannot be written ({error}); reading goes on without it, only slower. "
                'Set NUCLEISEG_CACHE or pass cache="folder" to use another folder',
                UserWarning,
            )


def _digest(text: str) -> str:
    return text_sha256(text)[:40]
