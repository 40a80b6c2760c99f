"""A Dask array of labels: nothing is computed before it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._optional import import_extra
from nucleiseg.images import Tile
from nucleiseg.inference.limits import LeastConfidence
from nucleiseg.inference.settling import overlapping
from nucleiseg.inference.stitching import Settled, final_numbers, make_piece, settle
from nucleiseg.inference.sureness import rate_settled, without_unsure
from nucleiseg.inference.windows import with_context
from nucleiseg.instances import Calibration
from nucleiseg.instances.decoders import Decoded

__all__ = ["lazy_labels"]

Labels = npt.NDArray[np.int32]
ALL = LeastConfidence()


def lazy_labels(
    image: Any,
    windows: list[Tile],
    context: int,
    label_window: Callable[[npt.NDArray[Any], tuple[slice, slice]], Decoded],
    min_area: int = 0,
    remove_edge: bool = False,
    least_confidence: LeastConfidence = ALL,
    calibration: Calibration | None = None,
    scale: float = 1.0,
    axes: str = "YX",
) -> Any:
    """Labels of a Dask array, as a Dask array.

    Parameters
    ----------
    image : dask.array.Array
        Raw pixels; what its axes are, ``axes`` says.
    windows : list of Tile
        From `nucleiseg.images.tiles`.
    context : int
        Pixels around a window that the network sees, too.
    label_window : function
        From the pixels of a window with context, and where in them the window is, to what is found in the window.
    min_area : int
        Nuclei of fewer pixels are left out.
    remove_edge : bool
        Leave nuclei at the edge of the image out.
    least_confidence : LeastConfidence
        Nuclei that are less sure are left out.
    calibration : Calibration, optional
        How confidence is computed.
    scale : float
        By how much the network sees the image magnified.
    axes : str
        Letters of all axes, or of the first ones; Y and X are rows and columns.

    Returns
    -------
    dask.array.Array of int32, (H, W)
        0 background, 1 … n; one chunk for what each window decides. Asking for one chunk computes all windows, since
        nuclei are numbered through.
    """
    dask = import_extra("dask", "dask", "Dask arrays")
    array = import_extra("dask.array", "dask", "Dask arrays")
    delayed = dask.delayed
    shape = (int(image.shape[axes.index("Y")]), int(image.shape[axes.index("X")]))

    rated = least_confidence.value > 0
    found, likely = [], []
    for tile in windows:
        reads, inside = with_context(tile.read, context, shape)
        sides = dict(zip("YX", reads, strict=True))
        pixels = image[tuple(sides.get(axis, slice(None)) for axis in axes)]
        part = delayed(label_window)(pixels, inside)
        found.append(part.labels)
        likely.append(delayed(_kept)(part, tile) if rated else None)
    offsets = delayed(_offsets)([delayed(_highest)(labels) for labels in found])
    settled = [
        delayed(_settle)(
            number,
            others,
            [windows[n] for n in (number, *others)],
            [found[n] for n in (number, *others)],
            likely[number],
            offsets,
            shape,
        )
        for number, others in enumerate(overlapping(windows))
    ]
    numbers = delayed(_numbers)(
        offsets,
        [delayed(Settled.without_pixels)(part) for part in settled],
        min_area,
        remove_edge,
        least_confidence,
        calibration,
        scale,
    )
    rows: dict[int, list[Any]] = {}
    for tile, part in zip(windows, settled, strict=True):
        size = tuple(side.stop - side.start for side in tile.keep)
        block = array.from_delayed(delayed(_renumbered)(part, numbers), size, np.int32)
        rows.setdefault(tile.keep[0].start, []).append(block)
    return array.block(list(rows.values()))


def _kept(found: Decoded, tile: Tile) -> npt.NDArray[np.float32]:
    return found.probability[tile.inner].copy()


def _highest(labels: Labels) -> int:
    return int(labels.max(initial=0))


def _offsets(counts: list[int]) -> list[int]:
    """Labels before each window, and of all windows."""
    return [0, *accumulate(counts)]


def _settle(
    number: int,
    others: list[int],
    tiles: list[Tile],
    labels: list[Labels],
    probability: npt.NDArray[np.float32] | None,
    offsets: list[int],
    shape: tuple[int, int],
) -> Settled:
    piece, *near = (
        make_piece(tile, found, shape, offsets[n])
        for n, tile, found in zip((number, *others), tiles, labels, strict=True)
    )
    return settle(piece, near, shape, probability)


def _numbers(
    offsets: list[int],
    settled: list[Settled],
    min_area: int,
    remove_edge: bool,
    least_confidence: LeastConfidence,
    calibration: Calibration | None,
    scale: float,
) -> Labels:
    numbers = final_numbers(offsets[-1], settled, min_area, remove_edge)
    if least_confidence.value == 0:
        return numbers
    areas, confidence = rate_settled(numbers, settled, calibration, scale)
    return without_unsure(numbers, confidence, least_confidence.keeps(areas, confidence))[0]


def _renumbered(part: Settled, numbers: Labels) -> Labels:
    renumbered: Labels = numbers[part.labels]
    return renumbered
