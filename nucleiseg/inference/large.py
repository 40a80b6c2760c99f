"""Labels of an image that is larger than memory: window by window, kept on disk, stitched, and written as one file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nucleiseg._files import locked, state_of
from nucleiseg._progress import progress
from nucleiseg.engines.engine import Engine
from nucleiseg.errors import InvalidInputError
from nucleiseg.images import Tile
from nucleiseg.images.lazy import LazyImage
from nucleiseg.images.sampling import sample_pixels
from nucleiseg.inference.limits import is_familiar
from nucleiseg.inference.maps import Network
from nucleiseg.inference.memory import Plan, network_bytes_of
from nucleiseg.inference.reach import measure_reach
from nucleiseg.inference.resized import resized_range
from nucleiseg.inference.scaled_plan import aligned_windows, make_scaled_plan
from nucleiseg.inference.scratch import Scratch
from nucleiseg.inference.segmenting import Decoding
from nucleiseg.inference.settling import stitch_stored
from nucleiseg.inference.stitching import Settled, final_numbers, intersection
from nucleiseg.inference.sureness import rate_settled, settled_areas, without_unsure
from nucleiseg.inference.windows import decoded_windows
from nucleiseg.instances import Calibration
from nucleiseg.instances.label_stores import write_label_store

__all__ = ["Found", "LargeJob", "Written", "plan_job", "run_here", "write_labels_of"]

Labels = npt.NDArray[np.int32]


class Found(NamedTuple):
    """The labels of a window, and the probability of what it keeps if the confidence of nuclei is asked for."""

    labels: Labels
    probability: npt.NDArray[np.float32] | None


class Written(NamedTuple):
    """How many nuclei there are, and the area in pixels of nucleus 1 … n.

    If confidence was asked for, also that of each, and whether the model was sure of what it found as a whole, before
    any nuclei were left out.
    """

    nuclei: int
    areas: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64] | None = None
    familiar: bool | None = None


@dataclass(frozen=True)
class LargeJob:
    """All that decides the labels of an image, apart from the model.

    Parameters
    ----------
    image : LazyImage
        What is segmented.
    bounds : tuple of float
        The values that become 0 and 1.
    plan : Plan
        How it is cut up; always in windows.
    windows : list of Tile
        The windows.
    factor : float
        By how much the network sees it magnified.
    rated : bool
        Whether the confidence of nuclei is asked for.
    digest : str
        Of the pixels that decide the range: another image of the same range has another one.
    """

    image: LazyImage
    bounds: tuple[Any, Any]
    plan: Plan
    windows: list[Tile]
    factor: float = 1.0
    rated: bool = False
    digest: str = ""


def plan_job(
    image: LazyImage,
    engine: Engine,
    scaling: str,
    decoding: Decoding,
    factor: float = 1.0,
    rated: bool = False,
    sample: npt.NDArray[Any] | None = None,
) -> LargeJob:
    """Choose windows by the options' memory, and find the image's range, by what `sample_pixels` takes of it."""
    options = decoding.options
    reach, needed = partial(measure_reach, engine), network_bytes_of(engine, options.tta)
    plan = make_scaled_plan(image.shape, options.tiling, options.memory_bytes, reach, factor, needed)
    windows = aligned_windows(image.shape, plan, engine.multiple, factor)
    rated = rated or decoding.least_confidence.value > 0
    if sample is None:
        sample = sample_pixels(image)  # of which the sample is itself
    bounds = resized_range(sample, scaling, factor)
    digest = hashlib.sha256(f"{sample.dtype} {sample.shape}".encode())
    digest.update(np.ascontiguousarray(sample).data)
    return LargeJob(image, bounds, plan, windows, factor, rated, digest.hexdigest())


def run_here(job: LargeJob, engine: Engine, decoding: Decoding, missing: Iterable[int]) -> Iterator[tuple[int, Found]]:
    """Labels of windows, one after the other, in this process.

    Yields
    ------
    int, Found
        Of each window in ``missing``, in that order.
    """
    numbers = list(missing)
    network = Network(engine, job.bounds, job.plan.network, decoding.options.tta)
    windows = [job.windows[number] for number in numbers]
    found = decoded_windows(job.image, windows, network, decoding.part, job.plan.context, job.factor)
    for number, window, part in zip(numbers, windows, found, strict=True):
        # A copy, since of the rest nothing is needed any more.
        yield number, Found(part.labels, part.probability[window.inner].copy() if job.rated else None)


def write_labels_of(
    job: LargeJob,
    output: str | os.PathLike[str],
    compute: Callable[[list[int]], Iterable[tuple[int, Found]]],
    facts: Mapping[str, Any],
    decoding: Decoding,
    calibration: Calibration | None = None,
    finish: Callable[[Written], object] | None = None,
) -> Written:
    """Compute the windows that are not finished, stitch all, and write the labels.

    Parameters
    ----------
    job : LargeJob
        Image and windows.
    output : path
        For `nucleiseg.instances.label_stores.write_label_store`.
    compute : function
        From numbers of windows to what is found in them, in any order.
    facts : mapping
        What else decides the labels, such as the model; see `Scratch`.
    decoding : Decoding
        Of its options, what leaves nuclei out.
    calibration : Calibration, optional
        How confidence is computed.
    finish : function, optional
        What is done with the labels before the finished windows are given up: interrupted, it can be done again.

    Returns
    -------
    Written
        What is known of the nuclei.

    Raises
    ------
    InvalidInputError
        If another process is writing that output.
    """
    target = Path(output)
    known: dict[str, Any] = {
        "windows (by max_memory and processor)": repr(job.plan),
        "range": repr(job.bounds),
        "scale": job.factor,
        "rated": job.rated,
        "image": [job.image.name, *job.image.shape, job.digest],
        "file of the image": _state(job.image),
    }
    scratch = Scratch(target.with_name(f"{target.name}.part"), {**facts, **known})
    with locked(scratch.lock, wait=False) as alone:
        if not alone:
            raise InvalidInputError(
                f"one process at a time may write an output, but another one is writing {target}; "
                "wait for it, or choose another name"
            )
        kinds = ("window", "probability") if job.rated else ("window",)
        every = range(len(job.windows))
        missing = [number for number in every if not all(scratch.has(kind, number) for kind in kinds)]
        for number, found in progress(compute(missing), "tiles", len(missing)):
            if found.probability is not None:  # first, since a window with labels is finished
                scratch.save("probability", number, found.probability)
            scratch.save("window", number, found.labels)
        numbers, written = _settle(job, scratch, decoding, calibration)
        write_label_store(
            target, job.image.shape, lambda rows: _band(job, scratch, numbers, rows), job.image.pixel_size
        )
        if finish is not None:
            finish(written)
    scratch.remove()
    return written


def _state(image: LazyImage) -> list[int]:
    """Size of an image's file and time of its last change; nothing of a folder, whose own say nothing of its chunks.

    Not the time of its entry in the file system: new permissions are no reason to do long work again.
    """
    in_a_file = image.from_file and Path(image.name).is_file()
    return list((state_of(image.name) or ())[:2]) if in_a_file else []


def _settle(
    job: LargeJob, scratch: Scratch, decoding: Decoding, calibration: Calibration | None
) -> tuple[Labels, Written]:
    """Stitch windows on disk; gives what each label becomes, and what is known of the nuclei."""
    every = range(len(job.windows))
    counts = [int(scratch.load("window", number).max(initial=0)) for number in every]
    settled: list[Settled] = []
    found = stitch_stored(
        lambda number: scratch.load("window", number),
        counts,
        job.windows,
        job.image.shape,
        (lambda number: scratch.load("probability", number)) if job.rated else None,
    )
    for number, part in enumerate(found):
        scratch.save("core", number, part.labels)
        settled.append(part.without_pixels())
    numbers = final_numbers(sum(counts), settled, decoding.area, decoding.options.remove_edge)
    if not job.rated:
        areas = settled_areas(numbers, settled)
        return numbers, Written(areas.size, areas)
    areas, confidence = rate_settled(numbers, settled, calibration, job.factor)
    familiar = None if calibration is None else is_familiar(areas, confidence)
    kept = decoding.least_confidence.keeps(areas, confidence)
    numbers, confidence = without_unsure(numbers, confidence, kept)
    return numbers, Written(confidence.size, areas[kept], confidence, familiar)


def _band(job: LargeJob, scratch: Scratch, numbers: Labels, rows: slice) -> Labels:
    """Final labels of whole rows."""
    window = (rows, slice(0, job.image.shape[1]))
    band = np.zeros((rows.stop - rows.start, job.image.shape[1]), np.int32)
    for number, tile in enumerate(job.windows):
        shared = intersection(window, tile.keep)
        if shared is not None:
            top, left = tile.keep[0].start, tile.keep[1].start
            core = scratch.load("core", number)[shared[0].start - top : shared[0].stop - top]
            start = shared[1].start
            band[shared[0].start - rows.start : shared[0].stop - rows.start, start : start + core.shape[1]] = numbers[
                core[:, start - left :]
            ]
    return band
