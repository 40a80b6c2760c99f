"""Finding nuclei plane by plane, and what comes of it as the labels and features of a layer."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nucleiseg.inference.options import PredictOptions
from nucleiseg.inference.watching import watched
from nucleiseg.instances.measuring import measure
from nucleiseg.napari.stacks import Place, Stack
from nucleiseg.napari.work import Stopped, Work

if TYPE_CHECKING:
    import pandas as pd

    from nucleiseg.segmenter import Segmenter

__all__ = ["Findings", "PlaneFound", "checksums", "edited", "feature_rows", "find_nuclei", "measure_planes", "merge"]

Labels = npt.NDArray[np.int32]

_MOST = 2**31 - 1  # that an int32 can be


@dataclass(frozen=True)
class PlaneFound:
    """The nuclei of one plane.

    Parameters
    ----------
    place : tuple of int
        Which plane.
    labels : numpy.ndarray, (H, W)
        int32, 0 background, 1 … n.
    table : pandas.DataFrame
        Their measurements, a row a nucleus.
    quality : tuple of str
        What speaks against trusting it.
    """

    place: Place
    labels: Labels = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    quality: tuple[str, ...] = ()


@dataclass(frozen=True)
class Findings:
    """What was found until the work was done, stopped, or failed.

    Parameters
    ----------
    planes : sequence of PlaneFound
        Those that are finished.
    stopped : bool
        Whether somebody stopped it.
    problem : Exception, optional
        Why it went no further.
    """

    planes: Sequence[PlaneFound] = ()
    stopped: bool = False
    problem: Exception | None = None


def find_nuclei(
    stack: Stack,
    places: Sequence[Place],
    load: Callable[[], Segmenter],
    options: PredictOptions,
    work: Work,
) -> Findings:
    """Look at planes one after the other. Raises nothing: what is finished is worth keeping.

    Parameters
    ----------
    stack : Stack
        The image.
    places : sequence of tuple of int
        Which planes.
    load : function
        Gives the model; it is called here, as it may take long.
    options : PredictOptions
        For every plane.
    work : Work
        Is told how far it is; can stop it between two passes through the network.
    """
    planes: list[PlaneFound] = []
    try:
        work.say("loading the model")
        segmenter = load()
        for number, place in enumerate(places):
            planes.append(_find(stack, place, segmenter, options, _teller(work, number, len(places))))
    except Stopped:
        return Findings(planes, stopped=True)
    except Exception as error:  # whatever it is (memory, a file that is gone), nothing found is lost
        return Findings(planes, problem=error)
    return Findings(planes)


def _find(
    stack: Stack, place: Place, segmenter: Segmenter, options: PredictOptions, tell: Callable[[int, int], None]
) -> PlaneFound:
    tell(0, 0)
    with watched(tell):
        found = segmenter.predict(stack.plane(place), options)
    tell(1, 1)
    return PlaneFound(place, found.labels, found.table(), found.quality)


def _teller(work: Work, number: int, count: int) -> Callable[[int, int], None]:
    before = f"plane {number + 1} of {count}" if count > 1 else ""

    def tell(done: int, total: int) -> None:
        tile = f"part {min(done + 1, total)} of {total}" if total > 1 else ""
        share = (number + (done / total if total else 0)) / count
        # A single pass has nothing to show between its beginning and its end.
        work.say(", ".join(filter(None, [before, tile])) or "looking for nuclei", share if count * total > 1 else None)

    return tell


def merge(
    shape: tuple[int, ...], planes: Sequence[PlaneFound], labels: npt.ArrayLike | None = None, features: Any = None
) -> tuple[Labels, pd.DataFrame]:
    """The labels and features of a layer, with some planes new and the others as they were.

    Every nucleus has a number of its own, whatever its plane.

    Parameters
    ----------
    shape : tuple of int
        Of the labels: (…, H, W).
    planes : sequence of PlaneFound
        The new ones.
    labels : array-like of int, optional
        What the layer has.
    features : pandas.DataFrame, optional
        What the layer has.

    Returns
    -------
    labels : numpy.ndarray, int32
        A new array.
    features : pandas.DataFrame
        A row a nucleus; ``index`` is its label, as napari wants it, and ``plane-0``, … say where it is.

    Examples
    --------
    >>> found = PlaneFound((1,), np.array([[1, 0, 2]], np.int32), measure([[1, 0, 2]]))
    >>> labels, features = merge((2, 1, 3), [found], [[[5, 5, 0]], [[6, 0, 0]]])
    >>> labels.tolist(), features["index"].tolist()
    ([[[5, 5, 0]], [[6, 0, 7]]], [6, 7])
    """
    import pandas as pd

    merged = np.zeros(shape, np.int32) if labels is None else np.array(labels, np.int32)
    for found in planes:
        merged[found.place] = 0
    highest = int(merged.max())
    rows = [_other_rows(features, planes, len(shape) - 2)]
    for found in planes:
        last, count = highest, int(found.labels.max())
        if highest + count > _MOST:
            last = _before_largest_gap(merged)
        merged[found.place] = np.where(found.labels > 0, found.labels + last, 0)
        rows.append(feature_rows(found.table, found.place, last))
        highest = max(highest, last + count)
    kept = [part for part in rows if part is not None and len(part)]
    return merged, pd.concat(kept, ignore_index=True) if kept else feature_rows(planes[0].table, planes[0].place)


def _before_largest_gap(labels: Labels) -> int:
    """The number behind which most are free."""
    used = np.unique(np.append(labels, [0, _MOST + 1]))
    return int(used[np.diff(used).argmax()])


def feature_rows(table: pd.DataFrame, place: Place, offset: int = 0) -> pd.DataFrame:
    """Measurements as napari's features: ``index`` is the label in the layer, then where the plane is.

    Examples
    --------
    >>> feature_rows(measure([[1, 1, 2]]), (4,), 10).iloc[:, :4].to_dict("list")
    {'index': [11, 12], 'plane-0': [4, 4], 'area': [2, 1], 'centroid-0': [0.0, 0.0]}
    """
    rows = table.drop(columns="label")
    for axis, position in reversed(list(enumerate(place))):
        rows.insert(0, f"plane-{axis}", position)
    rows.insert(0, "index", table["label"] + offset)
    return rows


def _other_rows(features: Any, planes: Sequence[PlaneFound], axes: int) -> pd.DataFrame | None:
    """Those of planes that are not replaced; a table that is not ours has no place to go by."""
    columns = [f"plane-{axis}" for axis in range(axes)]
    if features is None or not axes or not {"index", *columns} <= {*features.columns}:
        return None
    replaced = {found.place for found in planes}
    kept: pd.DataFrame = features[
        [place not in replaced for place in zip(*(features[c] for c in columns), strict=True)]
    ]
    return kept


def measure_planes(stack: Stack, labels: npt.NDArray[Any], work: Work) -> pd.DataFrame:
    """Features of labels that may have been corrected: shapes and intensities, plane by plane.

    Confidence is left out: the model did not draw what somebody has corrected.
    """
    import pandas as pd

    places = list(stack.places())
    rows = []
    for number, place in enumerate(places):
        work.say("measuring", number / len(places) if len(places) > 1 else None)
        if labels[place].any() or len(places) == 1:
            rows.append(feature_rows(measure(labels[place], stack.plane(place), pixel_size=stack.pixel_size), place))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"index": []})


def checksums(labels: npt.NDArray[Any], places: Sequence[Place]) -> dict[Place, int]:
    """By which a plane that is drawn on is told from one that is as it was found."""
    return {place: zlib.crc32(np.ascontiguousarray(labels[place], np.int32).tobytes()) for place in places}


def edited(labels: npt.NDArray[Any], known: Mapping[Place, int], places: Sequence[Place]) -> bool:
    """Whether any of these planes was drawn on since its checksum was taken; without one, whether it has labels.

    Examples
    --------
    >>> labels = np.array([[[1, 0]], [[0, 0]]])
    >>> known = checksums(labels, [(0,)])
    >>> edited(labels, known, [(0,), (1,)]), edited(labels * 2, known, [(0,)])
    (False, True)
    """
    now = checksums(labels, places)
    return any(known[place] != now[place] if place in known else labels[place].any() for place in places)
