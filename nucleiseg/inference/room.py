"""Does a prediction at a scale fit into the memory, and if not, which scale that does is nearest?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from nucleiseg.engines.engine import Engine
from nucleiseg.errors import InvalidInputError
from nucleiseg.inference.memory import (
    OUTCOME_BYTES,
    RESULT_BYTES,
    WINDOW_BYTES,
    Plan,
    make_plan,
    network_bytes_of,
    usable,
)
from nucleiseg.inference.options import PredictOptions
from nucleiseg.inference.reach import measure_reach
from nucleiseg.inference.scaled_plan import make_scaled_plan

__all__ = [
    "has_room",
    "has_room_for_maps",
    "nearest_scale",
    "options_beside",
    "options_for_whole",
    "shortage_of_windows",
    "windows_in_memory",
]

# For each pixel of the resized image, beside what its segmentation takes: raw and as floats, probability and labels.
_RESIZED_BYTES = 40
_STEPS = 16  # at most from one scale to another; from 1/8 to 1, each is 14 % larger than the one before


def options_for_whole(
    size: tuple[int, int], engine: Engine, options: PredictOptions, factor: float
) -> PredictOptions | None:
    """With the memory that is left for an image once all of it is resized; None if that is too little.

    Examples
    --------
    >>> class Echo:
    ...     multiple = 32
    ...     def __call__(self, images):
    ...         return images[..., :1]
    >>> options_for_whole((500, 500), Echo(), PredictOptions(max_memory="1GB"), 0.5).max_memory
    960000000
    >>> options_for_whole((5000, 5000), Echo(), PredictOptions(max_memory="1GB"), 0.5) is None
    True
    """
    if options.tiling is None:
        return options
    pixels = size[0] * size[1] * max(1.0, factor**2)
    held = round(pixels * (_RESIZED_BYTES if factor > 1 else WINDOW_BYTES))
    if 2 * held > usable(options.memory_bytes):
        return None
    left = replace(options, max_memory=options.memory_bytes - held)
    return left if _fits(lambda: _whole(_seen(size, factor), engine, left)) else None


def options_beside(shape: tuple[int, ...], options: PredictOptions) -> PredictOptions:
    """With the memory that is left while labels and probability of an image are kept.

    Examples
    --------
    >>> options_beside((5000, 4000, 3), PredictOptions(max_memory="1GB")).max_memory
    840000000
    """
    return replace(options, max_memory=max(options.memory_bytes - OUTCOME_BYTES * shape[0] * shape[1], 1))


def windows_in_memory(size: tuple[int, int], engine: Engine, options: PredictOptions, factor: float) -> Plan:
    """The windows of an image whose labels are held in memory, and that is resized window by window.

    Raises
    ------
    InvalidInputError
        If the memory is too small for the smallest windows.
    """
    return make_scaled_plan(
        size,
        options.tiling,
        options.memory_bytes,
        partial(measure_reach, engine),
        factor,
        network_bytes_of(engine, options.tta),
        held=RESULT_BYTES * size[0] * size[1],
    )


def has_room(size: tuple[int, int], factor: float, engine: Engine, options: PredictOptions) -> bool:
    """Whether `nucleiseg.inference.resized.segment_resized` can keep to the memory.

    Examples
    --------
    >>> class Echo:
    ...     multiple = 32
    ...     def __call__(self, images):
    ...         return images[..., :1]
    >>> options = PredictOptions(max_memory="300MB")
    >>> has_room((1600, 1600), 1.0, Echo(), options), has_room((1600, 1600), 0.25, Echo(), options)
    (True, False)
    """
    if factor == 1:
        return _fits(lambda: _whole(size, engine, options))
    if options_for_whole(size, engine, options, factor) is not None:
        return True
    return _fits(lambda: windows_in_memory(size, engine, options, factor))


def has_room_for_maps(size: tuple[int, int], factor: float, engine: Engine, options: PredictOptions) -> bool:
    """The same where maps of all of the image are held, as by `nucleiseg.inference.resized.predict_resized`."""
    return has_room(size, factor, engine, options) and _fits(lambda: _whole(_seen(size, factor), engine, options))


def nearest_scale(wanted: float, known: float, fits: Callable[[float], bool]) -> float:
    """The scale that is wanted if it fits, or else the first one that does on the way to one that is known to.

    Examples
    --------
    >>> nearest_scale(0.25, 1.0, lambda factor: True), nearest_scale(0.25, 1.0, lambda factor: factor >= 0.5)
    (0.25, 0.5)
    """
    steps = (wanted * (known / wanted) ** (step / _STEPS) for step in range(_STEPS))
    return next((factor for factor in steps if fits(factor)), known)


def shortage_of_windows(
    size: tuple[int, int], factor: float, engine: Engine, options: PredictOptions
) -> InvalidInputError | None:
    """Why an image that is read part by part does not fit; None if it does.

    Examples
    --------
    >>> class Echo:
    ...     multiple = 32
    ...     def __call__(self, images):
    ...         return images[..., :1]
    >>> print(shortage_of_windows((9000, 9000), 0.25, Echo(), PredictOptions(max_memory="300MB")))
    max_memory is too small for an image of 9000 × 9000 pixels at a scale of 0.25: 300,000,000 bytes; give at least ...
    """
    reach, needed = partial(measure_reach, engine), network_bytes_of(engine, options.tta)
    try:
        make_scaled_plan(size, options.tiling, options.memory_bytes, reach, factor, needed)
    except InvalidInputError as error:
        return error
    return None


def _seen(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _whole(size: tuple[int, int], engine: Engine, options: PredictOptions) -> Plan:
    reach, needed = partial(measure_reach, engine), network_bytes_of(engine, options.tta)
    return make_plan(size, options.tiling, options.memory_bytes, reach, network_bytes=needed)


def _fits(plan: Callable[[], Plan]) -> bool:
    try:
        plan()
    except InvalidInputError:
        return False
    return True
