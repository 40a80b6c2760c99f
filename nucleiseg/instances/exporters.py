"""File formats for the nuclei of images, by name."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from nucleiseg._checks import check_labels
from nucleiseg._files import SOFTWARE, atomic_path
from nucleiseg._optional import check_extra
from nucleiseg._registry import Registry
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances.coco import write_coco
from nucleiseg.instances.geojson import write_geojson
from nucleiseg.instances.imagej_rois import write_rois
from nucleiseg.instances.label_tiffs import write_imagej_labels, write_ome_labels
from nucleiseg.instances.named_labels import NamedLabels
from nucleiseg.instances.parquet import write_parquet
from nucleiseg.instances.run_length_csv import RUN_LENGTH_COLUMNS, write_run_lengths

__all__ = ["Exporter", "get_exporter", "is_own_export", "list_exporters", "register_exporter"]

Write: TypeAlias = Callable[[Path, Iterable[NamedLabels]], None]

_MARK_WITHIN = 2**16  # bytes at the start and at the end of a file


@dataclass(frozen=True)
class Exporter:
    """A file format for nuclei.

    Parameters
    ----------
    name : str
        Name under which it is registered.
    write : function
        (path, images) → None: writes the `NamedLabels` of one image, or of several, to a file, atomically. Files should
        hold the word ``nucleiseg`` within the first or last 64 KiB: only such files are ever replaced.
    ending : str
        How the file names end.
    one_file : bool
        All images of a folder go into one file; otherwise each image gets its own.
    package, extra : str
        A package that is needed, and our extra that brings it; empty if none is.

    Raises
    ------
    InvalidInputError
        If the ending does not begin with a dot or an underscore.

    Examples
    --------
    >>> get_exporter("coco").ending, get_exporter("coco").one_file
    ('_coco.json', True)
    """

    name: str
    write: Write
    ending: str
    one_file: bool = False
    package: str = ""
    extra: str = ""

    def __post_init__(self) -> None:
        if not self.ending.startswith((".", "_")) or "/" in self.ending:
            raise InvalidInputError(
                f"the ending of an exporter must begin with '.' or '_', got {self.ending!r}; "
                f"for example '_{self.name}.json'"
            )

    def check(self) -> None:
        """Raise `MissingPackageError` if a package that is needed is not installed; nothing is imported."""
        if self.package:
            check_extra(self.package, self.extra, f"the export {self.name!r}")

    def export(self, folder: Path, stem: str, images: Iterable[NamedLabels]) -> Path:
        """Write ``<folder>/<stem><ending>``, and return its path."""
        path = folder / f"{stem}{self.ending}"
        self.write(path, images)
        return path


_exporters: Registry[Exporter] = Registry("export", group="nucleiseg.exporters")


def register_exporter(exporter: Exporter) -> Exporter:
    """Add an exporter under its name.

    Raises
    ------
    InvalidInputError
        If the name is taken or no identifier.

    Examples
    --------
    >>> def write_counts(path, images):
    ...     counts = [f"{image.id}: {len(image.table())}" for image in images]
    ...     _ = path.write_text(f"counted by nucleiseg: {', '.join(counts)}")
    >>> register_exporter(Exporter("counts", write_counts, "_counts.txt", one_file=True)).name
    'counts'
    >>> _exporters.unregister("counts")
    """
    return _exporters.register(exporter.name)(exporter)


def list_exporters() -> list[str]:
    """Names of all exporters, sorted.

    Examples
    --------
    >>> list_exporters()
    ['coco', 'geojson', 'imagej', 'npz', 'ome', 'parquet', 'rle', 'roi']
    """
    return _exporters.names()


def get_exporter(name: str) -> Exporter:
    """The exporter of that name.

    Raises
    ------
    InvalidInputError
        If there is no such exporter.

    Examples
    --------
    >>> get_exporter("geojson").ending
    '.geojson'
    """
    return _exporters.get(name)


def is_own_export(path: Path, *, missing: bool = False) -> bool:
    """Whether a file was written by an exporter, and not by another program; ``missing`` is said of a missing one.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     is_own_export(get_exporter("npz").export(Path(folder), "a", [NamedLabels("a", [[1]])]))
    True
    """
    try:
        with path.open("rb") as file:
            start = file.read(_MARK_WITHIN)
            file.seek(max(path.stat().st_size - _MARK_WITHIN, 0))
            mark = SOFTWARE.encode()
            # Kaggle's table has no room for a mark.
            return mark in start or mark in file.read() or start.startswith(",".join(RUN_LENGTH_COLUMNS).encode())
    except FileNotFoundError:
        return missing
    except OSError:
        return False


def _write_npz(path: Path, images: Iterable[NamedLabels]) -> None:
    """Labels in the smallest type that holds them, with the pixel size if it is known."""
    image = _single(images)
    labels = check_labels(image.labels)
    arrays = {"labels": labels.astype(np.min_scalar_type(int(labels.max())))}
    if image.pixel_size is not None:
        arrays["pixel_size"] = np.array(image.pixel_size)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.comment = SOFTWARE.encode()


def _single(images: Iterable[NamedLabels]) -> NamedLabels:
    found = list(images)
    if len(found) != 1:
        raise InvalidInputError(f"this format holds one image, got {len(found)}; write a file for each")
    return found[0]


def _write_geojson(path: Path, images: Iterable[NamedLabels]) -> None:
    image = _single(images)
    write_geojson(path, np.asarray(image.labels), image.table())


def _write_rois(path: Path, images: Iterable[NamedLabels]) -> None:
    write_rois(path, _single(images).labels)


def _write_imagej(path: Path, images: Iterable[NamedLabels]) -> None:
    image = _single(images)
    write_imagej_labels(path, image.labels, image.pixel_size)


def _write_ome(path: Path, images: Iterable[NamedLabels]) -> None:
    image = _single(images)
    write_ome_labels(path, image.labels, image.pixel_size)


for _exporter in (
    Exporter("geojson", _write_geojson, ".geojson"),
    Exporter("roi", _write_rois, "_rois.zip", package="roifile", extra="imagej"),
    Exporter("coco", write_coco, "_coco.json", one_file=True),
    Exporter("rle", write_run_lengths, "_rle.csv", one_file=True),
    Exporter("parquet", write_parquet, ".parquet", one_file=True, package="pyarrow", extra="parquet"),
    Exporter("imagej", _write_imagej, "_imagej_labels.tif"),
    Exporter("ome", _write_ome, "_labels.ome.tif"),
    Exporter("npz", _write_npz, "_labels.npz"),
):
    register_exporter(_exporter)
