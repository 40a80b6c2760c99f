"""By how much to magnify an image, told by what is found in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from nucleiseg._settings import SegmenterSettings
from nucleiseg.errors import InvalidInputError
from nucleiseg.inference.looking import ENOUGH, parts_of
from nucleiseg.inference.options import PredictOptions
from nucleiseg.inference.room import nearest_scale, options_beside
from nucleiseg.inference.scale import SMALLEST, Passport, usual_diameter_of
from nucleiseg.instances import Calibration
from nucleiseg.instances.confidence import rate_evidence
from nucleiseg.instances.decoders import Decoded
from nucleiseg.instances.evidence import Evidence, find_evidence

__all__ = ["calibration_of", "choose_scale", "count_believed", "first_factor"]

Look: TypeAlias = Callable[[float], Decoded]
Part: TypeAlias = tuple[slice, slice]

_TRIES = 3  # nuclei far too large come out in pieces, whose size leads to the right scale step by step
_LEAST_AREA = 12  # pixels; specks below tell nothing about the scale,
_LEAST_CONFIDENCE = 0.5  # nor do nuclei that are more likely none: noise has plenty of both
# Where one clump, as large as all nuclei together, told the size, they are hardly seen at the scale that suits it.
_FAR_LESS_SURE = 0.1
_SURE = 0.7  # mean confidence, by area, from which small nuclei are magnified: noise would become more of it
# Blurred or noisy pictures of large nuclei come out in pieces of any size. At half the scale, what is found in them is
# about as sure as before or surer; doubtful nuclei at the scale that suits them get less sure.
_HALF_AS_SURE = 0.06
_DOUBTED = 0.96  # mean confidence below which that is tried for nuclei so many times as wide as the typical one,
_LARGE = 1.5
_DOUBTED_IN_PART = 0.75  # and below which for others, where a part of the image tells, so that it costs little;
_DOUBTED_IN_WHOLE = 0.0  # where it would take half as long again, small ones are believed
# Pieces lie within the nuclei that they are of, or the nuclei are far surer, or somewhat surer and far larger: grain in
# a dim image was a twelfth as wide. In brown-stained tissue, for example, clumps that are seen at half the size cover
# .05, are a little surer, and three times as wide; but there are a few of them for a hundred nuclei, and a nucleus
# hardly comes out in more than eight pieces.
_COVERED = 0.5
_FAR_SURER = 0.1
_PIECES = 8
_SURER = 0.05
_FAR_LARGER = 8
_FEW = 3  # nuclei; fewer don't tell that half the scale is better


def choose_scale(
    image: npt.NDArray[Any],
    look: Callable[..., Decoded],
    settings: SegmenterSettings,
    options: PredictOptions,
    fits: Callable[..., bool],
) -> tuple[float, tuple[Decoded, Evidence | None] | None, float | None]:
    """By how much to magnify an image, and what is found so, if the whole of it has been looked at so.

    With it comes the evidence in all that is found, if the whole was needed to tell the scale. Last comes the scale
    that would suit the nuclei, where memory does not suffice for it.

    ``look(factor, pixels=...)`` says what is found at a scale, in the image by default, or in the pixels of a part;
    ``fits(size, factor, options=...)`` whether memory suffices for that. What is found in the image is kept while a
    part of it is looked at.
    """
    factor = first_factor(options, settings)
    if options.diameter is not None or options.scale != "auto" or settings.passport is None:
        return factor, None, None
    passport, calibrations = Passport(*settings.passport), _Calibrations.of(settings)
    whole_fits = partial(fits, image.shape[:2], options=options)
    seen, wanted = _by_size(look, factor, passport, calibrations, whole_fits)
    part = image[seen.part]
    part_fits = partial(fits, part.shape[:2], options=options_beside(image.shape, options))
    chosen, doubted = _by_doubt(partial(look, pixels=part), seen, passport, calibrations, part_fits)
    factor = nearest_scale(chosen.factor, seen.factor, whole_fits)
    if factor != chosen.factor:
        doubted = doubted or chosen.factor
    is_whole = factor == chosen.factor and chosen.found.labels.shape == seen.found.labels.shape
    return factor, (chosen.found, chosen.evidence) if is_whole else None, doubted or wanted


def count_believed(found: Decoded, factor: float, settings: SegmenterSettings) -> int:
    """How many nuclei that were found at a scale tell of their usual size."""
    evidence = find_evidence(found.labels, found.probability)
    sure = rate_evidence(evidence, _Calibrations.of(settings).at_any_scale, factor)
    return int(_believed(evidence.areas, sure).sum())


def _believed(areas: npt.NDArray[np.int64], sure: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    result: npt.NDArray[np.bool_] = (areas >= _LEAST_AREA) & (sure >= _LEAST_CONFIDENCE)
    return result


def calibration_of(settings: SegmenterSettings) -> Calibration | None:
    """How a model's confidence is computed."""
    return None if settings.calibration is None else Calibration(**settings.calibration)


def first_factor(options: PredictOptions, settings: SegmenterSettings) -> float:
    """By how much to magnify an image before anything is known of it but the options, with a diameter in pixels.

    Raises
    ------
    InvalidInputError
        If a diameter is given to a model without a passport.
    """
    if options.diameter is not None:
        if settings.passport is None:
            raise InvalidInputError(
                "a diameter tells the scale if a model knows the sizes that it was trained on, this one has none, got "
                f"{options.diameter:g} pixels; pass scale (--scale) instead, or fit the model, which learns its sizes"
            )
        return Passport(*settings.passport).factor(options.diameter)
    return 1.0 if options.scale == "auto" else float(options.scale)


class _Calibrations(NamedTuple):
    """How sure a model is of nuclei."""

    at_any_scale: Calibration | None  # which knows of no sizes that are unusual
    own: Calibration | None  # as it says in the end

    @classmethod
    def of(cls, settings: SegmenterSettings) -> _Calibrations:
        own, stored = calibration_of(settings), settings.scale_calibration
        return cls(own if stored is None else Calibration(**stored), own)


class _Sureness(NamedTuple):
    """Mean confidence over the pixels of nuclei, 0 where there are none, by each of the calibrations."""

    at_any_scale: float
    own: float

    def gain(self, before: _Sureness) -> float:
        """By how much surer of all it is than before, by the calibration that says so rather.

        Shrunk to the size that the model knows best, a nucleus has a lower probability, as it has less of an inside.
        That is held against it where no size is unusual; where some are, so was the size that it had before.
        """
        return max(self.at_any_scale - before.at_any_scale, self.own - before.own)


class _View(NamedTuple):
    """What is found at one scale."""

    found: Decoded
    factor: float
    part: Part  # of it, which tells what follows
    credible: int  # nuclei whose sizes are believed
    diameter: float | None  # the usual one of those, in pixels of the image
    sure: _Sureness
    evidence: Evidence | None  # in all that is found, where that part is the whole of the image


def _by_size(
    look: Look, factor: float, passport: Passport, calibrations: _Calibrations, fits: Callable[[float], bool]
) -> tuple[_View, float | None]:
    """Found at the scale that suits the size of the nuclei; or else at the nearest one that fits, and the former."""
    seen, short = _view(look, factor, calibrations), None
    for _ in range(_TRIES):
        wanted = seen.factor if seen.diameter is None else passport.step(seen.diameter, seen.factor)
        if wanted == seen.factor or (wanted > seen.factor and seen.sure.at_any_scale < _SURE):
            return seen, None
        nearest = seen.factor if short else nearest_scale(wanted, seen.factor, fits)
        short = None if nearest == wanted else wanted
        if nearest == seen.factor:
            break
        before, sure = seen.factor, seen.sure
        del seen  # is as large as the image
        seen = _view(look, nearest, calibrations)
        if nearest < before and seen.sure.gain(sure) < -_FAR_LESS_SURE:
            del seen
            return _view(look, before, calibrations), None
    return seen, short


def _by_doubt(
    look: Look, seen: _View, passport: Passport, calibrations: _Calibrations, fits: Callable[[float], bool]
) -> tuple[_View, float | None]:
    """What is found at a smaller scale, if what was seen may be pieces; else what was seen.

    A part of the image is enough to look at, and needs less memory. With it comes a scale that had to be tried, but
    does not fit.
    """
    smaller, short, factor = seen, None, seen.factor
    in_part = seen.found.labels[seen.part].shape != seen.found.labels.shape
    for _ in range(_TRIES):
        factor /= 2
        if not _is_doubtful(smaller, passport, in_part) or factor < SMALLEST:
            break
        if not fits(factor):
            short = factor
            break
        half = _view(look, factor, calibrations)
        too_small = half.diameter is None or passport.factor(half.diameter * half.factor) > 1
        surer = half.sure.gain(smaller.sure)
        far_surer = surer >= _FAR_SURER and half.credible * _PIECES >= smaller.credible
        if too_small or surer < -_HALF_AS_SURE:
            break
        if half.credible < _FEW:
            del half  # may be pieces, too, and takes memory
            continue
        if not (far_surer or _covers(half, smaller) or _are_far_larger(half, smaller)):
            break
        smaller = half
    believed = smaller.sure.at_any_scale >= _SURE or smaller.sure.gain(seen.sure) >= _FAR_SURER
    return smaller if believed else seen, short


def _covers(half: _View, before: _View) -> bool:
    """Whether what is found holds most of what was found before, perhaps in an image of which it is a part."""
    old, new = before.found.labels, half.found.labels
    where = old if old.shape == new.shape else old[before.part]
    return bool(np.count_nonzero((where > 0) & (new > 0)) >= _COVERED * np.count_nonzero(where))


def _are_far_larger(half: _View, before: _View) -> bool:
    """Whether what was found before is grain beside what is found now, and that is surer."""
    if half.diameter is None or before.diameter is None:
        return False
    return half.diameter >= _FAR_LARGER * before.diameter and half.sure.gain(before.sure) >= _SURER


def _is_doubtful(view: _View, passport: Passport, in_part: bool) -> bool:
    """Whether what is found may be pieces of larger nuclei. Where nothing is found, it can't be."""
    large = view.diameter is not None and view.diameter * view.factor > _LARGE * passport.typical
    return 0 < view.sure.own < (_DOUBTED if large else _DOUBTED_IN_PART if in_part else _DOUBTED_IN_WHOLE)


def _view(look: Look, factor: float, calibrations: _Calibrations) -> _View:
    """Look at a scale; a part of the image tells what sizes are believed, and how sure all is.

    That is its middle, or where there are hardly any nuclei, the part with the most of them.
    """
    found, views = look(factor), []
    for part in parts_of(found.labels.shape):
        views.append(_seen_in(part, found, factor, calibrations))
        if views[-1].credible >= ENOUGH:
            break
    return max(views, key=lambda view: (view.credible, view.sure.at_any_scale))  # the first of equals


def _seen_in(part: Part, found: Decoded, factor: float, calibrations: _Calibrations) -> _View:
    """What a part of the image tells of all that is found."""
    evidence = find_evidence(found.labels[part], found.probability[part])
    areas = evidence.areas
    sure, rated = (rate_evidence(evidence, one, factor) for one in calibrations)
    believed = _believed(areas, sure)
    return _View(
        found=found,
        factor=factor,
        part=part,
        credible=int(believed.sum()),
        diameter=usual_diameter_of(areas[believed]),
        sure=_Sureness(_mean(sure, areas), _mean(rated, areas)),
        evidence=evidence if found.labels[part].shape == found.labels.shape else None,
    )


def _mean(confidence: npt.NDArray[np.float64], areas: npt.NDArray[np.int64]) -> float:
    return float(confidence @ areas / areas.sum()) if areas.size else 0.0
