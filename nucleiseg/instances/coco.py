"""Nuclei in COCO's JSON format, with compressed run lengths as pycocotools reads and writes them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_size
from nucleiseg._files import SOFTWARE, check_suffix, write_text
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances.named_labels import NamedLabels, paint
from nucleiseg.instances.polygons import fill_polygons
from nucleiseg.instances.run_lengths import find_runs

__all__ = ["CocoImage", "from_coco", "group_coco", "paint_coco", "to_coco", "write_coco"]

_NAMED = 5  # ids in an error

_Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CocoImage:
    """One image of a COCO file.

    Parameters
    ----------
    file_name : str
        As the file has it.
    shape : (height, width)
        In pixels.
    segmentations : tuple
        Of its nuclei: run lengths or polygons.

    Examples
    --------
    >>> CocoImage("a.png", (8, 8), ()).file_name
    'a.png'
    """

    file_name: str
    shape: tuple[int, int]
    segmentations: tuple[Any, ...] = field(default=(), repr=False)


def to_coco(images: Iterable[NamedLabels]) -> dict[str, Any]:
    """Describe the nuclei of images as COCO does.

    Parameters
    ----------
    images : iterable of NamedLabels
        Taken one after the other, so that a generator needs the memory of one image.

    Returns
    -------
    dict
        For `json.dump`: ``info``, ``images``, ``annotations``, ``categories`` and ``licenses``. An annotation for each
        nucleus, in the order of the labels, with compressed run lengths, area and bounding box [x, y, width, height];
        the only category is "nucleus". Nuclei whose confidence is in the measurements have it as their ``score``, an
        image that was judged has its ``quality``.

    References
    ----------
    .. [1] https://cocodataset.org/#format-data

    Examples
    --------
    >>> collection = to_coco([NamedLabels("a", [[0, 7], [7, 7]], file_name="a.png")])
    >>> collection["annotations"][0]["segmentation"], collection["annotations"][0]["bbox"]
    ({'size': [2, 2], 'counts': '13'}, [0, 0, 2, 2])
    """
    listed: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, start=1):
        labels = np.asarray(image.labels)
        height, width = labels.shape
        listed.append({"id": image_id, "file_name": image.file_name, "width": width, "height": height})
        if image.quality is not None:
            listed[-1]["quality"] = image.quality
        scores = _scores(image)
        for label, starts, lengths in find_runs(labels):
            score = {"score": scores[label]} if label in scores else {}
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "iscrowd": 0,
                    **score,
                    "area": int(lengths.sum()),
                    "bbox": _box(starts, lengths, height),
                    "segmentation": {
                        "size": [height, width],
                        "counts": _compress(_to_counts(starts, lengths, height * width)),
                    },
                }
            )
    return {
        "info": {"description": f"Nuclei segmented with {SOFTWARE}", "version": "1.0"},
        "licenses": [],
        "categories": [{"id": 1, "name": "nucleus", "supercategory": "cell"}],
        "images": listed,
        "annotations": annotations,
    }


def from_coco(collection: Mapping[str, Any]) -> Iterator[NamedLabels]:
    """Paint the annotations of a COCO file as labels, image after image.

    Parameters
    ----------
    collection : dict
        What `json.load` gives. Segmentations may be run lengths, compressed or not, and polygons. All categories count;
        crowds (``iscrowd`` of 1), which are no single nuclei, are left out.

    Yields
    ------
    NamedLabels
        Label k is the k-th annotation of the image; where nuclei overlap the later one wins.

    Raises
    ------
    InvalidInputError
        If images or annotations are missing or broken.

    Examples
    --------
    >>> (image,) = from_coco(to_coco([NamedLabels("a", [[0, 7], [7, 7]])]))
    >>> image.id, image.labels.tolist()
    ('a', [[0, 1], [1, 1]])
    """
    for image in group_coco(collection):
        labels = paint_coco(image.segmentations, image.shape)
        yield NamedLabels(os.path.splitext(image.file_name)[0], labels, image.file_name)  # noqa: PTH122


def write_coco(path: str | os.PathLike[str], images: Iterable[NamedLabels]) -> None:
    """Write the nuclei of images as one COCO file; see `to_coco`.

    Parameters
    ----------
    path : str or path
        Ends in ``.json``. An existing file is replaced once the new one is complete.
    images : iterable of NamedLabels
        What to write.

    Raises
    ------
    InvalidInputError
        If the path has another suffix.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_coco(f"{folder}/coco.json", [NamedLabels("a", [[0, 7]])])
    ...     len(json.loads(Path(f"{folder}/coco.json").read_text())["annotations"])
    1
    """
    check_suffix(path, ".json")
    write_text(path, json.dumps(to_coco(images), separators=(",", ":")) + "\n")


def group_coco(collection: Mapping[str, Any]) -> list[CocoImage]:
    """The images of a COCO file with their segmentations, none painted yet; see `from_coco`.

    Examples
    --------
    >>> group_coco(to_coco([NamedLabels("a", [[0, 7]], "a.png")]))
    [CocoImage(file_name='a.png', shape=(1, 2))]
    """
    try:
        counts = Counter(image["id"] for image in collection["images"])
        twice = [repr(number) for number, count in counts.items() if count > 1]
        if twice:
            raise InvalidInputError(
                "each image of a COCO file must have an id of its own, since annotations go by it, got several of "
                f"{', '.join(twice[:_NAMED])}{f' and {len(twice) - _NAMED} more' if len(twice) > _NAMED else ''}; "
                "number images and annotations anew, as tools do that merge such files"
            )
        found: dict[Any, list[Any]] = {number: [] for number in counts}
        for annotation in collection["annotations"]:
            if not annotation.get("iscrowd"):
                found[annotation["image_id"]].append(annotation["segmentation"])
        return [
            CocoImage(
                str(image["file_name"]),
                check_size((image["height"], image["width"]), "size"),
                tuple(found[image["id"]]),
            )
            for image in collection["images"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            "a COCO file must have images (id, file_name, height, width) and annotations (image_id of one of them, "
            f"segmentation), got something else ({type(error).__name__}: {error}); export it again, with segmentations"
        ) from error


def paint_coco(segmentations: Sequence[Any], shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Paint the segmentations of one image: label k is the k-th, and covers earlier ones.

    Examples
    --------
    >>> paint_coco([{"size": [2, 2], "counts": [1, 3]}, [[0, 0, 1, 0, 1, 1, 0, 1]]], (2, 2)).tolist()
    [[2, 1], [1, 1]]
    """
    columns = np.zeros(shape[0] * shape[1], np.int32)  # run lengths go down the columns
    labels = columns.reshape(shape[::-1]).T
    for label, segmentation in enumerate(segmentations, start=1):
        try:
            if isinstance(segmentation, Mapping):
                _paint_counts(columns, label, segmentation, shape)
            else:
                polygons = [[np.array(points, np.float64).reshape(-1, 2)] for points in segmentation]
                paint(labels, label, *fill_polygons(polygons, shape))
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise InvalidInputError(
                f"segmentation {label} must be run lengths for an image of {shape[0]} x {shape[1]}, or polygons, "
                f"got something else ({error}); export the annotations again"
            ) from error
    return np.ascontiguousarray(labels)


def _paint_counts(columns: npt.NDArray[np.int32], label: int, runs: Mapping[str, Any], shape: tuple[int, int]) -> None:
    counts = runs["counts"]
    numbers = _decompress(counts) if isinstance(counts, (str, bytes)) else np.asarray(counts, np.int64)
    covered = sum(numbers.tolist())  # as Python's whole numbers, which do not start again beyond 2**63
    if tuple(runs["size"]) != tuple(shape) or (numbers < 0).any() or covered != columns.size:
        raise ValueError(f"they cover {covered} pixels of {tuple(runs['size'])}")
    ends = np.cumsum(numbers).tolist()
    for start, stop in zip(ends[0::2], ends[1::2], strict=False):  # the last run outside has none inside after it
        columns[start:stop] = label


def _scores(image: NamedLabels) -> dict[int, float]:
    """The confidence of nuclei, by label, where it was measured: as COCO's evaluation sorts what was found."""
    table = image.measurements
    if table is None or "confidence" not in table:
        return {}
    return dict(zip(table["label"].tolist(), table["confidence"].tolist(), strict=True))


def _box(starts: _Counts, lengths: _Counts, height: int) -> list[int]:
    stops = starts + lengths - 1
    left, right = int(starts[0]) // height, int(stops[-1]) // height
    # A run that goes on in the next column touches both the last and the first row.
    across = (starts // height != stops // height).any()
    top = 0 if across else int((starts % height).min())
    bottom = height - 1 if across else int((stops % height).max())
    return [left, top, right - left + 1, bottom - top + 1]


def _to_counts(starts: _Counts, lengths: _Counts, size: int) -> list[int]:
    """Lengths of the runs outside and inside in turn, beginning outside."""
    stops = starts + lengths
    counts = np.empty(2 * starts.size + 1, np.int64)
    counts[0:-1:2] = starts - np.concatenate([[0], stops[:-1]])
    counts[1::2] = lengths
    counts[-1] = size - stops[-1]
    numbers: list[int] = counts.tolist()
    return numbers if numbers[-1] else numbers[:-1]


def _compress(counts: Sequence[int]) -> str:
    """COCO's text of run lengths: from the fourth on as the difference to the last but one, five bits a character."""
    text = bytearray()
    for index, count in enumerate(counts):
        rest = count - counts[index - 2] if index > 2 else count
        while True:
            bits, rest = rest & 0x1F, rest >> 5
            more = rest != (-1 if bits & 0x10 else 0)
            text.append((bits | 0x20 if more else bits) + 48)
            if not more:
                break
    return text.decode("ascii")


def _decompress(text: str | bytes) -> _Counts:
    counts: list[int] = []
    number = shift = 0
    for code in text.encode("ascii") if isinstance(text, str) else text:
        bits = code - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{chr(code)!r} is no character of compressed run lengths")
        if shift > 64:  # and reading on takes ever longer
            raise ValueError("a run is longer than any image")
        number |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                number -= 1 << shift
            counts.append(number + counts[-2] if len(counts) > 2 else number)
            number = shift = 0
    if shift:
        raise ValueError("compressed run lengths are cut short")
    return np.array(counts, np.int64)
