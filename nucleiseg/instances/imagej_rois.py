"""Nuclei as regions of interest of ImageJ and Fiji, in the zip archives of its ROI manager."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_size
from nucleiseg._files import SOFTWARE, atomic_path, check_suffix
from nucleiseg._memory import memory_limit
from nucleiseg._optional import import_extra
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances.polygons import Outline, trace_polygons
from nucleiseg.instances.regions import check_one_plane, names_in, paint_regions

__all__ = ["decode_rois", "to_rois", "write_rois"]

_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0  # of the paths of ImageJ's composite regions
_NEEDED_FOR = "reading and writing ImageJ's regions of interest"


def to_rois(labels: npt.ArrayLike) -> list[Any]:
    """Turn labels into regions of interest, exactly.

    Parameters
    ----------
    labels : array-like of int, (H, W)
        0 background. Values may have gaps, nuclei may have holes and several pieces.

    Returns
    -------
    list of roifile.ImagejRoi
        One for each nucleus, named by its label: a traced region, or a composite one if the nucleus has holes or
        several pieces.

    Raises
    ------
    InvalidInputError
        If the labels are not (H, W) integers from 0.
    MissingPackageError
        If roifile is not installed.

    Examples
    --------
    >>> import pytest; _ = pytest.importorskip("roifile")
    >>> (roi,) = to_rois([[0, 3], [0, 3]])
    >>> roi.name, roi.coordinates().tolist()
    ('0003', [[1, 0], [2, 0], [2, 2], [1, 2]])
    """
    roifile = import_extra("roifile", "imagej", _NEEDED_FOR)
    return [_roi(roifile, outline) for outline in trace_polygons(labels)]


def write_rois(path: str | os.PathLike[str], labels: npt.ArrayLike) -> None:
    """Write labels as a zip archive that ImageJ's ROI manager opens; see `to_rois`.

    Parameters
    ----------
    path : str or path
        Ends in ``.zip``. An existing file is replaced once the new one is complete.
    labels : array-like of int, (H, W)
        0 background.

    Raises
    ------
    InvalidInputError
        As `to_rois`, and for another suffix.
    MissingPackageError
        If roifile is not installed.

    Examples
    --------
    >>> import pytest; _ = pytest.importorskip("roifile")
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_rois(f"{folder}/rois.zip", [[0, 3]])
    ...     decode_rois(Path(f"{folder}/rois.zip").read_bytes(), (1, 2)).tolist()
    [[0, 3]]
    """
    check_suffix(path, ".zip")
    rois = to_rois(labels)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for roi in rois:
            # A fixed date, so that the same labels give the same file.
            archive.writestr(zipfile.ZipInfo(f"{roi.name}.roi"), roi.tobytes(), zipfile.ZIP_DEFLATED)
        archive.comment = SOFTWARE.encode()


def decode_rois(data: bytes, shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Paint regions of interest as labels.

    Parameters
    ----------
    data : bytes
        Of a zip archive of regions, or of a single ``.roi`` file.
    shape : (height, width)
        Of the image.

    Returns
    -------
    numpy.ndarray of int32, (H, W)
        Pixels whose centres lie in a region get its label: its name, if all names are different whole numbers above 0
        that int32 holds, otherwise its position from 1. Where regions overlap the later one wins. Ovals are taken as
        polygons. Regions that hold several far smaller ones are left out with a `DatasetWarning`.

    Raises
    ------
    InvalidInputError
        If the data is damaged or an archive of something else; if a region is a line, an angle or points, which have
        no pixels; or if the regions are of several planes.
    MissingPackageError
        If roifile is not installed.

    Examples
    --------
    >>> import pytest; _ = pytest.importorskip("roifile")
    >>> decode_rois(to_rois([[0, 3], [3, 3]])[0].tobytes(), (2, 2)).tolist()
    [[0, 3], [3, 3]]
    """
    size = check_size(shape, "shape")
    roifile = import_extra("roifile", "imagej", _NEEDED_FOR)
    try:
        rois = [roifile.ImagejRoi.frombytes(part) for part in _parts(data)]
        polygons = [_polygons(roifile, roi) for roi in rois]
    except InvalidInputError:
        raise
    except Exception as error:  # roifile raises nearly anything on damaged bytes
        raise InvalidInputError(
            "regions of interest must be a zip archive or .roi file of ImageJ, got data that cannot be read "
            f"({error}); save them again from the ROI manager"
        ) from error
    check_one_plane({_plane(roi) for roi in rois} - {()})
    return paint_regions([roi.name for roi in rois], polygons, size)


def _parts(data: bytes) -> list[bytes]:
    if not data.startswith(b"PK"):
        return [data]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(info.file_size for info in archive.infolist())
        if size > memory_limit():
            raise ValueError(f"it claims {size:,} bytes, more than the {memory_limit():,} that may be used here")
        names = names_in(archive)
        found = [name for name in names if name.lower().endswith(".roi")]
        if names and not found:
            raise ValueError(f"it holds {names[0]}, and no .roi")
        return [archive.read(name) for name in found]


def _plane(roi: Any) -> tuple[str, ...]:
    """Where a region lies in a stack; nothing where it belongs to all planes."""
    places = {"z": roi.z_position, "t": roi.t_position}
    if not any(places.values()):
        places = {"slice": roi.position}
    return tuple(f"{axis} {place}" for axis, place in places.items() if place)


def _roi(roifile: Any, outline: Outline) -> Any:
    rings = [ring for polygon in outline.polygons for ring in polygon]
    corners = np.concatenate(rings)
    roi = roifile.ImagejRoi.frompoints(rings[0], name=f"{outline.label:04}")
    (roi.left, roi.top), (roi.right, roi.bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    if len(rings) == 1:
        roi.roitype = roifile.ROI_TYPE.TRACED
        return roi
    roi.roitype = roifile.ROI_TYPE.RECT
    roi.integer_coordinates = roi.subpixel_coordinates = None
    roi.n_coordinates = 0
    roi.multi_coordinates = np.concatenate([_path(ring) for ring in rings])
    roi.shape_roi_size = roi.multi_coordinates.size
    return roi


def _path(ring: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    kinds = np.full(len(ring), _LINE)
    kinds[0] = _MOVE
    return np.append(np.column_stack([kinds, ring]).ravel(), _CLOSE).astype(np.float32)


def _polygons(roifile: Any, roi: Any) -> Sequence[Sequence[npt.ArrayLike]]:
    """All rings as one polygon, in which what lies in an even number of them is outside, as in ImageJ."""
    kinds = roifile.ROI_TYPE
    if roi.composite:
        return [roi.coordinates(multi=True)]
    if roi.roitype not in (kinds.POLYGON, kinds.RECT, kinds.OVAL, kinds.FREEHAND, kinds.TRACED):
        raise InvalidInputError(
            f"regions of interest must be areas, {roi.name!r} is of type {roi.roitype.name}; "
            "remove it from the ROI manager"
        )
    return [[roi.coordinates()]]
