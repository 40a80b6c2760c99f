"""In which order windows are stitched, so that no more of them are in memory than needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from nucleiseg.images.tiling import Tile
from nucleiseg.inference.stitching import Piece, Settled, make_piece, settle

__all__ = ["overlapping", "stitch", "stitch_stored"]

Labels = npt.NDArray[np.int32]


def overlapping(windows: list[Tile]) -> list[list[int]]:
    """For each window, the others that share a pixel with it, in order.

    Examples
    --------
    >>> from nucleiseg.images import Tiling, tiles
    >>> overlapping(tiles((1, 14), Tiling(6, 2)))
    [[1], [0, 2], [1]]
    """
    rows = sorted({(tile.read[0].start, tile.read[0].stop) for tile in windows})
    columns = sorted({(tile.read[1].start, tile.read[1].stop) for tile in windows})
    places = {(tile.read[0].start, tile.read[1].start): number for number, tile in enumerate(windows)}
    result = []
    for number, tile in enumerate(windows):
        near_rows = [start for start, stop in rows if start < tile.read[0].stop and stop > tile.read[0].start]
        near_columns = [start for start, stop in columns if start < tile.read[1].stop and stop > tile.read[1].start]
        near = (places[row, column] for row in near_rows for column in near_columns)
        result.append(sorted(other for other in near if other != number))
    return result


def stitch(pieces: Iterable[Piece], windows: list[Tile], shape: tuple[int, int]) -> Iterator[Settled]:
    """Settle every window as soon as all that overlap it are there; keeps no more pieces than needed.

    Parameters
    ----------
    pieces : iterable of Piece
        Of the windows, in their order.
    windows : list of Tile
        In any order.
    shape : tuple of int
        Height and width of the image.

    Yields
    ------
    Settled
        In the order in which they can be settled.
    """
    near = overlapping(windows)
    complete = [max([number, *others]) for number, others in enumerate(near)]
    unneeded = [max([complete[number], *(complete[other] for other in others)]) for number, others in enumerate(near)]
    settled_by: dict[int, list[int]] = {}
    for number, last in enumerate(complete):
        settled_by.setdefault(last, []).append(number)
    held: dict[int, Piece] = {}
    for number, piece in enumerate(pieces):
        held[number] = piece
        for done in settled_by.get(number, ()):
            yield settle(held[done], [held[other] for other in near[done]], shape)
        held = {key: other for key, other in held.items() if unneeded[key] > number}


def stitch_stored(
    load: Callable[[int], Labels],
    counts: Sequence[int],
    windows: list[Tile],
    shape: tuple[int, int],
    probability: Callable[[int], npt.NDArray[np.float32]] | None = None,
) -> Iterator[Settled]:
    """As `stitch`, of windows that are kept elsewhere: holds a window and those around it, however wide the image is.

    Parameters
    ----------
    load : function
        From the number of a window to its labels. Each is asked for some three times.
    counts : sequence of int
        Labels of each window.
    windows : list of Tile
        From `nucleiseg.images.tiles`.
    shape : tuple of int
        Height and width of the image.
    probability : function, optional
        From the number of a window to the probability of what it keeps, where that is to be summed.

    Yields
    ------
    Settled
        In the order of the windows.
    """
    offsets = [0, *accumulate(counts)]
    held: dict[int, Piece] = {}
    for number, others in enumerate(overlapping(windows)):
        needed = (number, *others)
        held = {key: piece for key, piece in held.items() if key in needed}
        for key in needed:
            if key not in held:
                held[key] = make_piece(windows[key], load(key), shape, offsets[key])
        likely = None if probability is None else probability(number)
        yield settle(held[number], [held[other] for other in others], shape, likely)
