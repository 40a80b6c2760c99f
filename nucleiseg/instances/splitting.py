"""From a probability that every pixel is nucleus to one label a nucleus."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_count, check_number_array, check_range, check_same_size, describe
from nucleiseg._smoothing import smooth
from nucleiseg._threads import at_once
from nucleiseg.errors import InvalidInputError

__all__ = ["number_by_first", "split_by_distance", "split_components"]

_WORTH_A_THREAD = 2**17  # pixels


def split_components(probability: npt.ArrayLike, threshold: float = 0.5, min_area: int = 0) -> npt.NDArray[np.int32]:
    """Label the connected components of the pixels above a threshold.

    Pixels are connected through their edges, not their corners (4-connectivity), so that nuclei that touch at a corner
    only stay two. Holes are kept.

    Parameters
    ----------
    probability : array-like, (H, W)
        In [0, 1]; a 0/1 mask will do.
    threshold : float
        In [0, 1]. A pixel above it belongs to a nucleus.
    min_area : int
        Components of fewer pixels are removed.

    Returns
    -------
    numpy.ndarray of int32, (H, W)
        0 background, 1 to n the nuclei, without gaps, in the order of their first pixels (row by row).

    Raises
    ------
    InvalidInputError
        If the probability is not (H, W) or not in [0, 1], or a setting is out of bounds.

    Examples
    --------
    >>> split_components([[0.9, 0.1, 0.8], [0.7, 0.2, 0.6]]).tolist()
    [[1, 0, 2], [1, 0, 2]]
    """
    mask = _check_probability(probability, "probability") > check_range(threshold, "threshold", 0, 1)
    check_count(min_area, "min_area", low=0)

    from scipy import ndimage

    labels = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, output=labels)
    return _without_specks(labels, min_area)


def split_by_distance(
    probability: npt.ArrayLike,
    distance: npt.ArrayLike,
    threshold: float = 0.5,
    seed_threshold: float = 0.5,
    min_area: int = 0,
    smoothing: float = 0.0,
) -> npt.NDArray[np.int32]:
    """Label nuclei that may touch: seeds where the distance is large, grown by a watershed inside the mask.

    A seed is a connected component of the mask's pixels whose distance is above the seed threshold. A component of the
    mask without any seed, such as a small or faint nucleus, is one nucleus.

    Parameters
    ----------
    probability : array-like, (H, W)
        Of being nucleus, in [0, 1].
    distance : array-like, (H, W)
        How deep inside its nucleus a pixel lies, in [0, 1]: 1 at the centre, small where nuclei touch.
    threshold : float
        In [0, 1]. A pixel whose probability is above it belongs to a nucleus.
    seed_threshold : float
        In [0, 1]. The lower it is, the fewer nuclei are split, and the higher, the more seeds are missed.
    min_area : int
        Nuclei of fewer pixels are removed.
    smoothing : float
        Standard deviation in pixels of a Gaussian by which the distance is smoothed first, 0 to 100. Networks put out
        fine ripples, each of which would become a seed.

    Returns
    -------
    numpy.ndarray of int32, (H, W)
        0 background, 1 to n the nuclei, without gaps, in the order of their first pixels (row by row).

    Raises
    ------
    InvalidInputError
        If a map is not (H, W) or not in [0, 1], the two differ in size, or a setting is out of bounds.

    Examples
    --------
    >>> probability = [[0.9, 0.9, 0.9, 0.9, 0.9]]
    >>> split_by_distance(probability, [[0.6, 0.9, 0.1, 0.8, 0.7]]).tolist()
    [[1, 1, 1, 2, 2]]
    """
    mask = _check_probability(probability, "probability") > check_range(threshold, "threshold", 0, 1)
    depth = _check_probability(distance, "distance")
    check_same_size(mask, depth, ("probability", "distance"))
    check_range(seed_threshold, "seed_threshold", 0, 1)
    check_count(min_area, "min_area", low=0)
    check_range(smoothing, "smoothing", 0, 100)

    from scipy import ndimage

    if smoothing:
        depth = smooth(depth, smoothing, truncate=3)
        np.clip(depth, 0, 1, out=depth)
    deep = mask & (depth > seed_threshold)
    parts, seeds = np.empty(mask.shape, np.int32), np.empty(mask.shape, np.int32)
    find_parts, find_seeds = partial(ndimage.label, mask, output=parts), partial(ndimage.label, deep, output=seeds)
    if mask.size > _WORTH_A_THREAD:
        count, seed_count = at_once(find_parts, find_seeds)
    else:
        count, seed_count = find_parts(), find_seeds()
    part_of_seed = np.zeros(seed_count + 1, np.intp)
    part_of_seed[seeds[deep]] = parts[deep]
    crowded = np.bincount(part_of_seed[1:], minlength=count + 1) > 1
    if crowded.any():
        _split_crowded(parts, seeds, depth, crowded)
        number_by_first(parts)
    return _without_specks(parts, min_area)


def _split_crowded(
    parts: npt.NDArray[np.int32],
    seeds: npt.NDArray[np.int32],
    depth: npt.NDArray[Any],
    crowded: npt.NDArray[np.bool_],
) -> None:
    """Every pixel of the parts that are crowded gets the number of a seed, beyond those of the parts, in place."""
    inside = crowded.take(parts)
    # A watershed takes its time, so it gets no more of the rows and columns without such a part than keep parts apart.
    rows, columns = (_used(np.any(inside, axis=axis)) for axis in (1, 0))
    few = inside[rows].take(columns, axis=1)
    few_seeds, few_depth = (values[rows].take(columns, axis=1) for values in (seeds, depth))
    # The order of the pixels stays, whatever is left out between them.
    parts[inside] = crowded.size + _grow(np.where(few, few_seeds, 0), few_depth, few)[few]


def _used(lines: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """The lines that are marked, and the next one after each run of them."""
    return np.flatnonzero(lines | np.append(False, lines[:-1]))


def _grow(seeds: npt.NDArray[np.int32], depth: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Every pixel of the mask gets the label of a seed, the deep ones first."""
    from skimage.segmentation import watershed

    # 8 bits are plenty for the order in which a watershed floods, and sorting them is quicker.
    landscape = (255 * (1 - depth)).astype(np.uint8)
    grown: npt.NDArray[np.int32] = watershed(landscape, seeds, mask=mask)
    return grown


def _check_probability(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    array = check_number_array(values, name)
    if array.ndim != 2 or array.size == 0:
        raise InvalidInputError(
            f"{name} must be (H, W) with at least one pixel, got {describe(array)}; "
            f"pass one image and one channel, e.g. {name}[..., 0]"
        )
    if array.min() < 0 or array.max() > 1:
        raise InvalidInputError(
            f"{name} must be from 0 to 1, got {float(array.min()):g} to {float(array.max()):g}; "
            "pass scores through a sigmoid, divide an 8-bit mask by 255"
        )
    return array


def _without_specks(labels: npt.NDArray[np.int32], min_area: int) -> npt.NDArray[np.int32]:
    """Labels 1 to n of at least so many pixels, numbered anew."""
    if min_area <= 1:
        return labels
    kept = np.bincount(labels.ravel()) >= min_area
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]


def number_by_first(labels: npt.NDArray[np.int32]) -> None:
    """Make labels 1 to n of them, in the order of their first pixels (row by row), in place.

    Examples
    --------
    >>> labels = np.array([[0, 7, 2, 7]], np.int32)
    >>> number_by_first(labels)
    >>> labels.tolist()
    [[0, 1, 2, 1]]
    """
    flat = labels.reshape(-1)
    inside = np.flatnonzero(flat > 0)
    numbers = flat[inside]
    first = np.full(int(numbers.max(initial=0)) + 1, flat.size)
    first[numbers[::-1]] = inside[::-1]  # backwards, so that the first pixel is written last and stays
    first[0] = -1
    order = np.empty(first.size, np.int32)
    order[np.argsort(first, kind="stable")] = np.arange(first.size)
    flat[inside] = order[numbers]
