"""Nuclei as GeoJSON, as QuPath reads and writes it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_choice, check_size
from nucleiseg._files import SOFTWARE, check_suffix, write_text
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances.polygons import Outline, Ring, trace_polygons
from nucleiseg.instances.regions import check_one_plane, paint_regions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["from_geojson", "to_geojson", "write_geojson"]

_OBJECT_TYPES = ("annotation", "detection")


def to_geojson(
    labels: npt.ArrayLike,
    measurements: pd.DataFrame | None = None,
    object_type: str = "detection",
    classification: str = "Nucleus",
) -> dict[str, Any]:
    """Turn labels into a GeoJSON feature collection that QuPath opens.

    Parameters
    ----------
    labels : array-like of int, (H, W)
        0 background. Values may have gaps, nuclei may have holes and several pieces.
    measurements : pandas.DataFrame, optional
        A row a nucleus with a column ``label``, as `measure` returns; its numbers become QuPath's measurements, and a
        text ``quality`` becomes a property.
    object_type : "detection" or "annotation"
        What QuPath makes of a nucleus: detections are light, annotations can be edited by hand.
    classification : str
        QuPath's class of the nuclei.

    Returns
    -------
    dict
        For `json.dump`. A feature for each nucleus, named by its label, with a Polygon, or with a MultiPolygon if it
        has several pieces. Polygons are valid and follow the edges of the pixels; coordinates are x and y in pixels
        of the full image, (0, 0) its upper left corner.

    Raises
    ------
    InvalidInputError
        If the labels are not (H, W) integers from 0, the table has no column ``label``, or the type is unknown.

    Examples
    --------
    >>> collection = to_geojson([[0, 3], [0, 3]])
    >>> collection["features"][0]["geometry"]
    {'type': 'Polygon', 'coordinates': [[[1, 0], [2, 0], [2, 2], [1, 2], [1, 0]]]}
    """
    check_choice(object_type, "object_type", _OBJECT_TYPES)
    if measurements is not None and "label" not in measurements:
        raise InvalidInputError(
            f"measurements must have a column 'label', got {', '.join(map(str, measurements))}; "
            "use nucleiseg.instances.measure"
        )
    numbers = {} if measurements is None else _numbers(measurements)
    texts = {}
    if measurements is not None and "quality" in measurements:
        texts = dict(zip(measurements["label"].tolist(), measurements["quality"], strict=True))
    features = []
    for outline in trace_polygons(labels):
        properties: dict[str, Any] = {
            "objectType": object_type,
            "name": str(outline.label),
            "classification": {"name": classification, "color": [0, 200, 180]},
        }
        if outline.label in numbers:
            properties["measurements"] = numbers[outline.label]
        if outline.label in texts:
            properties["quality"] = str(texts[outline.label])
        features.append({"type": "Feature", "geometry": _geometry(outline), "properties": properties})
    return {"type": "FeatureCollection", "software": SOFTWARE, "features": features}


def from_geojson(collection: Mapping[str, Any] | Sequence[Any], shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Paint the polygons of a GeoJSON file as labels.

    Parameters
    ----------
    collection : dict or list
        What `json.load` gives: a FeatureCollection, a list of features, or one feature. Of QuPath's cells the nucleus
        is taken.
    shape : (height, width)
        Of the image.

    Returns
    -------
    numpy.ndarray of int32, (H, W)
        Pixels whose centres lie in a polygon get its label: its name, if all names are different whole numbers above
        0 that int32 holds, otherwise its position from 1. Where nuclei overlap the later one wins. Regions that hold
        several far smaller ones are left out with a `DatasetWarning`, and count for no position: such as the annotation
        in which QuPath looked for nuclei.

    Raises
    ------
    InvalidInputError
        If a feature is broken, or something else than Polygons and MultiPolygons; or if they are of several planes.

    Examples
    --------
    >>> from_geojson(to_geojson([[0, 3, 3], [7, 0, 3]]), (2, 3))
    array([[0, 3, 3],
           [7, 0, 3]], dtype=int32)
    """
    size = check_size(shape, "shape")
    features = _features(collection)
    names = [_name(feature.get("properties") or {}, position) for position, feature in enumerate(features)]
    geometries: list[Any] = [feature.get("nucleusGeometry") or feature.get("geometry") for feature in features]
    polygons = [_polygons(geometry, position) for position, geometry in enumerate(geometries)]
    check_one_plane({_plane(geometry) for geometry in geometries})
    return paint_regions(names, polygons, size)


def write_geojson(
    path: str | os.PathLike[str], labels: npt.ArrayLike, measurements: pd.DataFrame | None = None
) -> None:
    """Write labels as a GeoJSON file; see `to_geojson`.

    Parameters
    ----------
    path : str or path
        Ends in ``.geojson`` or ``.json``. An existing file is replaced once the new one is complete.
    labels : array-like of int, (H, W)
        0 background.
    measurements : pandas.DataFrame, optional
        A row a nucleus.

    Raises
    ------
    InvalidInputError
        As `to_geojson`, and for another suffix.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_geojson(f"{folder}/a.geojson", [[0, 3]])
    ...     from_geojson(json.loads(Path(f"{folder}/a.geojson").read_text()), (1, 2)).tolist()
    [[0, 3]]
    """
    check_suffix(path, ".geojson", ".json")
    write_text(path, json.dumps(to_geojson(labels, measurements), separators=(",", ":"), allow_nan=False) + "\n")


def _geometry(outline: Outline) -> dict[str, Any]:
    polygons = [[_closed(ring) for ring in polygon] for polygon in outline.polygons]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _closed(ring: Ring) -> list[list[int]]:
    corners: list[list[int]] = ring.tolist()
    return [*corners, corners[0]]


def _numbers(table: pd.DataFrame) -> dict[int, dict[str, float]]:
    """The finite numbers of each row, by label: JSON has neither NaN nor infinity."""
    columns = [str(name) for name in table.select_dtypes("number") if name != "label"]
    rows = table[columns].to_numpy(float).tolist()
    return {
        int(label): {name: value for name, value in zip(columns, row, strict=True) if math.isfinite(value)}
        for label, row in zip(table["label"], rows, strict=True)
    }


def _features(collection: object) -> list[Mapping[str, Any]]:
    found: object = collection
    if isinstance(collection, Mapping):
        found = collection.get("features") if collection.get("type") == "FeatureCollection" else [collection]
    if not isinstance(found, list) or not all(isinstance(f, Mapping) and f.get("type") == "Feature" for f in found):
        raise InvalidInputError(
            "GeoJSON must be a FeatureCollection, a list of features or one feature, got something else; "
            "export the objects from QuPath with File > Export objects as GeoJSON"
        )
    return found


def _plane(geometry: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a region lies in a stack: QuPath says it of planes and times other than the first."""
    plane = geometry.get("plane")
    places = plane if isinstance(plane, Mapping) else {}
    return tuple(f"{axis} {places.get(axis) or 0}" for axis in "zt")


def _name(properties: object, position: int) -> object:
    if not isinstance(properties, Mapping):
        raise InvalidInputError(
            f"feature {position} of the GeoJSON must have a mapping as properties, "
            f"got a {type(properties).__name__}; export the objects again"
        )
    return properties.get("name")


def _polygons(geometry: Any, position: int) -> list[list[npt.NDArray[np.float64]]]:
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise InvalidInputError(
            f"feature {position} of the GeoJSON must be a Polygon or MultiPolygon, got {kind}; "
            "leave out points and lines, which have no pixels"
        )
    polygons = geometry.get("coordinates")
    try:
        rings = [
            [np.array([point[:2] for point in ring], np.float64).reshape(-1, 2) for ring in polygon]
            for polygon in ([polygons] if kind == "Polygon" else polygons)
        ]
        if all(np.isfinite(ring).all() for polygon in rings for ring in polygon):
            return rings
    except (TypeError, ValueError, KeyError, OverflowError):
        pass
    raise InvalidInputError(
        f"feature {position} of the GeoJSON must have rings of [x, y] as coordinates, got something else; "
        "export the objects again"
    )
