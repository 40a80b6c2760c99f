"""Choosing a decoder's thresholds by a score on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._settings import SegmenterSettings
from nucleiseg.datasets.given import check_labelled
from nucleiseg.errors import InvalidInputError
from nucleiseg.heads import get_head
from nucleiseg.inference.limits import MIN_AREA, MIN_CONFIDENCE, LeastConfidence, smallest_area
from nucleiseg.inference.windows import decode_window
from nucleiseg.instances import Calibration, calibrate, get_decoder, match
from nucleiseg.instances.confidence import rate_evidence
from nucleiseg.instances.decoders import Decoded, Decoder
from nucleiseg.instances.evidence import find_evidence
from nucleiseg.instances.filtering import keep_only, leave_out
from nucleiseg.instances.matching import InstanceCounts

Case = tuple[npt.NDArray[Any], npt.NDArray[Any]] | tuple[npt.NDArray[Any], npt.NDArray[Any], float]

AREAS = (0, 5, 10, 15, 20, 30, 40, 60)
COARSE = tuple(step / 10 for step in range(1, 10))
FINE = (-0.05, 0.05)
ROUNDS = 2

LEAST_CONFIDENCE = 0.3
"""Nuclei that are less sure are left out by a model whose confidence is calibrated: more than two thirds of them are
false. On images of a kind that it was not calibrated on, real nuclei are less sure, too, so it is no higher."""


def check_choosing(data: Any) -> None:
    """Raise `InvalidInputError` for what is no labelled images, or none at all, before any is looked at.

    Examples
    --------
    >>> check_choosing([])
    Traceback (most recent call last):
    nucleiseg.errors.InvalidInputError: thresholds are chosen on labelled images, got an empty dataset; ...
    """
    check_labelled(data, "data")
    if not len(data):
        raise InvalidInputError("thresholds are chosen on labelled images, got an empty dataset; check the split")


def tune_thresholds(score: Callable[[Mapping[str, float]], float], start: Mapping[str, float]) -> dict[str, float]:
    """Thresholds in (0, 1) with the best score, found one after the other.

    Each threshold is tried at .1, .2 … .9 and then .05 beside the best, the others staying as they are; after two
    rounds the gain is smaller than the difference between two sets of validation images. A smallest area, under the
    name ``min_area``, is tried at 0 to 60 pixels.

    Parameters
    ----------
    score : function
        From thresholds to a number; greater is better.
    start : mapping of str to float
        Where the search starts, usually a head's defaults. Kept where nothing is better.

    Returns
    -------
    dict of str to float
        With the same names.

    Examples
    --------
    >>> tune_thresholds(lambda at: -abs(at["probability"] - 0.34), {"probability": 0.5})
    {'probability': 0.35}
    """
    best = dict(start)
    tried: dict[tuple[float, ...], float] = {}

    def value(thresholds: Mapping[str, float]) -> float:
        key = tuple(thresholds.values())
        if key not in tried:
            tried[key] = score(thresholds)
        return tried[key]

    for _ in range(ROUNDS):
        for name in start:
            for candidates in (AREAS,) if name == MIN_AREA else (COARSE, None):
                steps = candidates or tuple(round(best[name] + step, 4) for step in FINE)
                for threshold in steps:
                    possible = name == MIN_AREA or 0 < threshold < 1
                    if possible and value({**best, name: threshold}) > value(best):
                        best[name] = threshold
    return best


def decoding_score(
    cases: Sequence[Case], decode: Decoder, min_area: int | None
) -> Callable[[Mapping[str, float]], float]:
    """A score for `tune_thresholds`: from thresholds to the average precision of what a decoder makes of maps.

    It is the mean of two: pooled over the images, in which every nucleus weighs the same, and the mean of the images'
    own, the 2018 Data Science Bowl's score.

    Parameters
    ----------
    cases : sequence of (labels, maps) or (labels, maps, factor)
        True labels (H, W) and a network's maps (H, W, C) of the same image; maps of an image that the network saw
        resized come with the factor, and are as large as the image or as what the network saw.
    decode : function
        From `nucleiseg.instances.get_decoder`.
    min_area : int, optional
        Nuclei of fewer pixels are left out; None takes the ``min_area`` among the thresholds.

    Returns
    -------
    function
        Thresholds → the mean of the two, each averaged over IoU thresholds .5 to .95, in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from nucleiseg.instances import get_decoder
    >>> case = np.array([[1, 1, 0]]), np.array([[[0.8], [0.6], [0.4]]], np.float32)
    >>> score = decoding_score([case], get_decoder("components"), 0)
    >>> score({"probability": 0.5}), score({"probability": 0.3}) < 1
    (1.0, True)
    """

    def score(thresholds: Mapping[str, float]) -> float:
        return _mean_precision([match(case[0], decoded(case, decode, thresholds, min_area).labels) for case in cases])

    return score


def _mean_precision(counts: Sequence[InstanceCounts]) -> float:
    """Half pooled, half a mean over images: crowded images hold most nuclei, and most images hold few."""
    pooled: InstanceCounts = reduce(add, counts)
    return (pooled.mean_average_precision + sum(one.mean_average_precision for one in counts) / len(counts)) / 2


def decoded(case: Case, decode: Decoder, thresholds: Mapping[str, float], min_area: int | None) -> Decoded:
    """What `nucleiseg.inference.rescaling.segment_at_scale` makes of the maps."""
    truth, maps, factor = case[0], case[1], _factor(case)
    area = smallest_area(min_area, thresholds, factor)
    if factor == 1:
        return decode(maps, thresholds, area)
    found = decode_window(maps, lambda seen: decode(seen, thresholds, 0), (truth.shape[0], truth.shape[1]))
    return Decoded(found.probability, leave_out(np.require(found.labels, np.int32, "W"), area, remove_edge=False))


def tune_decoder(
    cases: Sequence[Case], decode: Decoder, thresholds: Mapping[str, float], min_area: int | None = None
) -> dict[str, float]:
    """The thresholds, and the smallest area if none is given, by which a decoder makes the most of maps.

    Parameters
    ----------
    cases : sequence
        As for `decoding_score`.
    decode : function
        From `nucleiseg.instances.get_decoder`.
    thresholds : mapping of str to float
        Where the search starts.
    min_area : int, optional
        Given, it is taken as it is; None chooses one too and adds it under ``min_area``.

    Returns
    -------
    dict of str to float
        What `tune_thresholds` finds. A least confidence is none of them: all that the decoder finds counts.

    Examples
    --------
    >>> import numpy as np
    >>> from nucleiseg.instances import get_decoder
    >>> maps = np.zeros((9, 9, 1), np.float32)
    >>> maps[1, 1], maps[3:8, 3:8] = 0.9, 0.8  # a speck and a nucleus
    >>> case = np.pad(np.ones((5, 5), int), ((3, 1), (3, 1))), maps
    >>> tune_decoder([case], get_decoder("components"), {"probability": 0.5})
    {'min_area': 5, 'probability': 0.5}
    """
    own = {name: value for name, value in thresholds.items() if name != MIN_CONFIDENCE}
    start = own if min_area is not None else {MIN_AREA: 0, **own}
    return tune_thresholds(decoding_score(cases, decode, min_area), start)


def tune_settings(settings: SegmenterSettings, cases: Sequence[Case], min_area: int | None = None) -> SegmenterSettings:
    """A model's settings with the thresholds that suit labelled images best, and its confidence calibrated on them.

    Parameters
    ----------
    settings : SegmenterSettings
        Of the model.
    cases : sequence
        As for `decoding_score`.
    min_area : int, optional
        As for `tune_decoder`.

    Returns
    -------
    SegmenterSettings
        With other ``thresholds`` and calibrations. Where there are too few nuclei to calibrate on, the model keeps
        its own calibrations and least confidence; it gets a least confidence if it had one or nuclei are enough to
        learn from their sizes, too. Where they are enough, thresholds are chosen by what is left without unsure nuclei.
    """
    decode = get_decoder(get_head(settings.head).decoder)
    # All that is found is what confidence is calibrated on, so it can't leave anything out before.
    thresholds = tune_decoder(cases, decode, settings.thresholds, min_area)
    calibration = _calibrated(cases, decode, thresholds, min_area)[0]
    if calibration is not None and calibration.knows_size:

        def score(tried: Mapping[str, float]) -> float:
            fresh, found = _calibrated(cases, decode, tried, min_area)
            # What few nuclei tell of is not to win by what it does not leave out.
            return _score_of_sure(cases, found, fresh) if fresh is not None and fresh.knows_size else 0.0

        # What is unsure is left out from now on, so lower thresholds, by which more of it is found, may be better now.
        thresholds = tune_thresholds(score, thresholds)
        calibration = _calibrated(cases, decode, thresholds, min_area)[0]
    of_any_scale = _calibrated(cases, decode, thresholds, min_area, at_known_scale=False)[0]
    least = {MIN_CONFIDENCE: settings.thresholds[MIN_CONFIDENCE]} if MIN_CONFIDENCE in settings.thresholds else {}
    if calibration is None or of_any_scale is None:
        return replace(settings, thresholds={**thresholds, **least})
    if least or calibration.knows_size:
        least = {MIN_CONFIDENCE: LEAST_CONFIDENCE}
    return replace(
        settings,
        thresholds={**thresholds, **least},
        calibration=asdict(calibration),
        scale_calibration=asdict(of_any_scale),
    )


def _calibrated(
    cases: Sequence[Case],
    decode: Decoder,
    thresholds: Mapping[str, float],
    min_area: int | None,
    at_known_scale: bool = True,
) -> tuple[Calibration | None, list[Decoded]]:
    """What is found by these thresholds, and the calibration that it gives."""
    found = [decoded(case, decode, thresholds, min_area) for case in cases]
    pairs = zip(cases, found, strict=True)
    rated = ((case[0], one.labels, one.probability, _factor(case)) for case, one in pairs)
    return calibrate(rated, at_known_scale), found


def _score_of_sure(cases: Sequence[Case], found: Sequence[Decoded], calibration: Calibration) -> float:
    """As `decoding_score`, of the nuclei that are sure enough; takes the others out of what was found."""
    least = LeastConfidence(LEAST_CONFIDENCE, where_familiar=True)

    def counted(case: Case, one: Decoded) -> InstanceCounts:
        evidence = find_evidence(one.labels, one.probability)
        confidence = rate_evidence(evidence, calibration, _factor(case))
        return match(case[0], keep_only(one.labels, least.keeps(evidence.areas, confidence)))

    return _mean_precision([counted(case, one) for case, one in zip(cases, found, strict=True)])


def _factor(case: Case) -> float:
    return case[2] if len(case) == 3 else 1.0
