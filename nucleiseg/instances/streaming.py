"""Measurements and outlines of label images larger than memory: block by block, every nucleus whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_pixel_size
from nucleiseg._files import SOFTWARE, atomic_path, check_suffix
from nucleiseg._optional import import_extra
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances.exporters import is_own_export
from nucleiseg.instances.geojson import to_geojson
from nucleiseg.instances.measuring import distinct_names, measure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STREAMED", "Block", "measured_blocks", "stream_paths", "stream_geojson", "stream_parquet"]

STREAMED = ("geojson", "parquet")
SIDE = 2048

_ENDINGS = (".ome.zarr", ".ome.tif", ".ome.tiff", ".zarr", ".tif", ".tiff")

_ROWS = ("centroid-0", "bbox-0", "bbox-2")
_COLUMNS = ("centroid-1", "bbox-1", "bbox-3")


@dataclass(frozen=True)
class Block:
    """Whole nuclei of one part of an image.

    Parameters
    ----------
    corner : tuple of int
        Row and column of the part's first pixel.
    labels : numpy.ndarray, (h, w)
        Of these nuclei only.
    table : pandas.DataFrame
        As from `measure` of the whole image.
    """

    corner: tuple[int, int]
    labels: npt.NDArray[Any] = field(repr=False)
    table: pd.DataFrame = field(repr=False)


def measured_blocks(
    labels: Any,
    read_pixels: Callable[[slice, slice], npt.NDArray[Any]],
    pixel_size: float | None = None,
    channels: Sequence[str] = (),
    side: int = SIDE,
    confidence: npt.NDArray[np.float64] | None = None,
    quality: str | None = None,
) -> Iterator[Block]:
    """Measure a label image part by part.

    Parameters
    ----------
    labels : array-like of int, (H, W)
        Anything with a ``shape`` that gives an array for ``labels[rows, columns]``; 1 … n without gaps.
    read_pixels : function
        From rows and columns to the raw pixels (h, w) or (h, w, C).
    pixel_size : float, optional
        In µm.
    channels : sequence of str
        Names of the channels; of those that are the same, later ones get a number.
    side : int
        Of the parts, in pixels; they are larger where nuclei stick out.
    confidence : numpy.ndarray of float64, (n,), optional
        Of nucleus 1 … n; a column after the area.
    quality : str, optional
        What speaks against the image; a column after these.

    Yields
    ------
    Block
        Each nucleus is in one of them, whole. Where there is no nucleus, one block whose table has no rows.

    Examples
    --------
    >>> labels = np.array([[1, 1, 1, 0, 2]], np.int32)
    >>> blocks = measured_blocks(labels, lambda rows, columns: labels[rows, columns], side=2)
    >>> [block.table["bbox-1"].tolist() for block in blocks]
    [[0], [4]]
    """
    height, width = labels.shape
    names, pixel_size = distinct_names(channels), check_pixel_size(pixel_size)
    boxes = _boxes(labels, side)
    if len(boxes) == 1:  # without any nucleus, the first pixel says which columns there are
        boxes = np.array([[0, 0, 1, 1]])
    for owned in _owners(boxes, (height, width), side) if len(boxes) > 1 else [np.array([0])]:
        rows = slice(int(boxes[owned, 0].min()), int(boxes[owned, 2].max()))
        columns = slice(int(boxes[owned, 1].min()), int(boxes[owned, 3].max()))
        part = np.asarray(labels[rows, columns])
        mine = np.zeros(len(boxes), bool)
        mine[owned] = True
        part = np.where(mine[part], part, 0)
        table = measure(part, read_pixels(rows, columns), pixel_size=pixel_size, channels=names)
        for places, start in ((_ROWS, rows.start), (_COLUMNS, columns.start)):
            for name in places:
                table[name] += start
        if pixel_size is not None:
            for axis in (0, 1):
                table[f"centroid_um-{axis}"] = table[f"centroid-{axis}"] * pixel_size
        box = boxes[table["label"]]
        table["touches_edge"] = (box[:, :2] == 0).any(axis=1) | (box[:, 2] == height) | (box[:, 3] == width)
        if confidence is not None:
            table.insert(2, "confidence", confidence[table["label"] - 1])
        if quality is not None:
            table.insert(3 if confidence is not None else 2, "quality", quality)
        yield Block((rows.start, columns.start), part, table)


def stream_parquet(path: str | os.PathLike[str], blocks: Iterator[Block]) -> Iterator[Block]:
    """Write the tables of blocks into one Parquet file, and hand the blocks on; complete or not at all.

    Raises
    ------
    MissingPackageError
        If pyarrow is not installed.
    """
    check_suffix(path, ".parquet")
    arrow = import_extra("pyarrow", "parquet", "writing Parquet")
    parquet = import_extra("pyarrow.parquet", "parquet", "writing Parquet")
    with atomic_path(path, lasting=True) as temporary:
        writer = None
        try:
            for block in blocks:
                content = arrow.Table.from_pandas(block.table, preserve_index=False)
                if writer is None:
                    schema = content.schema.with_metadata({b"software": SOFTWARE.encode()})
                    place = schema.get_field_index("quality")
                    if place >= 0:  # a text, whatever pandas has it as, and where there is no row, too
                        schema = schema.set(place, arrow.field("quality", arrow.string()))
                    writer = parquet.ParquetWriter(temporary, schema, compression="zstd")
                writer.write_table(content.cast(schema))
                yield block
        finally:
            if writer is not None:
                writer.close()


def stream_geojson(path: str | os.PathLike[str], blocks: Iterator[Block]) -> Iterator[Block]:
    """Write outlines and measurements as GeoJSON, and hand the blocks on; complete or not at all."""
    check_suffix(path, ".geojson", ".json")
    with atomic_path(path, lasting=True) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f'{{"type":"FeatureCollection","software":{json.dumps(SOFTWARE)},"features":[')
        separator = ""
        for block in blocks:
            for feature in to_geojson(block.labels, block.table)["features"]:
                geometry = feature["geometry"]
                geometry["coordinates"] = _moved(geometry["coordinates"], block.corner)
                file.write(separator + json.dumps(feature, separators=(",", ":"), allow_nan=False))
                separator = ",\n"
            yield block
        file.write("]}\n")


def stream_paths(target: Path, names: Sequence[str]) -> dict[str, Path]:
    """Where the files beside a label image go: its name with another ending.

    Raises
    ------
    InvalidInputError
        If there is a file that nucleiseg has not written.

    Examples
    --------
    >>> stream_paths(Path("2024.05.01_A1.ome.zarr"), ["geojson"])["geojson"].name
    '2024.05.01_A1.geojson'
    """
    ending = next((end for end in _ENDINGS if target.name.lower().endswith(end)), "")
    stem = target.name[: len(target.name) - len(ending)]
    paths = {name: target.with_name(f"{stem}.{name}") for name in names}
    for path in paths.values():
        if not is_own_export(path, missing=True):
            raise InvalidInputError(
                f"{path} would be replaced, but nucleiseg did not write it; choose another output or remove it"
            )
    return paths


def _boxes(labels: Any, side: int) -> npt.NDArray[np.int64]:
    """First row and column, and one beyond the last, of each label: (n + 1, 4)."""
    height, width = labels.shape
    boxes = np.empty((1, 4), np.int64)
    for top in range(0, height, side):
        for left in range(0, width, side):
            part = np.asarray(labels[top : min(top + side, height), left : min(left + side, width)])
            rows, columns = np.nonzero(part)
            values = part[rows, columns]
            highest = int(values.max(initial=0))
            if highest >= len(boxes):
                more = np.tile(np.array([np.iinfo(np.int64).max] * 2 + [0] * 2), (highest + 1 - len(boxes), 1))
                boxes = np.concatenate([boxes, more])
            np.minimum.at(boxes[:, 0], values, rows + top)
            np.minimum.at(boxes[:, 1], values, columns + left)
            np.maximum.at(boxes[:, 2], values, rows + top + 1)
            np.maximum.at(boxes[:, 3], values, columns + left + 1)
    return boxes


def _owners(boxes: npt.NDArray[np.int64], shape: tuple[int, int], side: int) -> Iterator[Any]:
    """The labels whose box begins in each part of the image that has any."""
    if len(boxes) < 2:
        return
    across = -(-shape[1] // side)
    part = boxes[1:, 0] // side * across + boxes[1:, 1] // side
    order = np.argsort(part, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(part[order]) > 0])
    yield from np.split(order + 1, starts[1:])


def _moved(coordinates: Any, corner: tuple[int, int]) -> Any:
    if isinstance(coordinates[0], int):
        return [coordinates[0] + corner[1], coordinates[1] + corner[0]]
    return [_moved(inner, corner) for inner in coordinates]
