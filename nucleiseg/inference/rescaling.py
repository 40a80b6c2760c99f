"""From one image to its nuclei: at the scale that the model knows, decoded, filtered, and rated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from nucleiseg._allocator import give_back
from nucleiseg._settings import SegmenterSettings
from nucleiseg.engines.engine import Engine, precision_of
from nucleiseg.errors import InvalidInputError
from nucleiseg.images import Micrograph
from nucleiseg.images.sampling import LARGEST
from nucleiseg.inference.limits import is_familiar, smallest_area
from nucleiseg.inference.options import PredictOptions
from nucleiseg.inference.prediction import Prediction
from nucleiseg.inference.resized import part_range, segment_resized
from nucleiseg.inference.room import has_room, nearest_scale, options_beside
from nucleiseg.inference.scale import SMALLEST, Passport, usual_diameter_of
from nucleiseg.inference.segmenting import decoding_of
from nucleiseg.instances import Calibration, filter_labels
from nucleiseg.instances.confidence import rate_evidence
from nucleiseg.instances.decoders import Decoded
from nucleiseg.instances.evidence import Evidence, find_evidence
from nucleiseg.instances.filtering import at_edge, keep_only, leave_out

Look: TypeAlias = Callable[[float], Decoded]

_TRIES = 3  # nuclei far too large come out in pieces, whose size leads to the right scale step by step
_LEAST_AREA = 12  # pixels; specks below tell nothing about the scale,
_LOOKED_AT = 1024  # pixels, height and width, which hold nuclei enough to tell their usual size
_LEAST_CONFIDENCE = 0.5  # nor do nuclei that are more likely none: noise has plenty of both
_SURE = 0.7  # mean confidence, by area, from which small nuclei are magnified: noise would become more of it
# Blurred or noisy pictures of large nuclei come out in pieces of any size. At half the scale, what is found in them is
# about as sure as before or surer; doubtful nuclei at the scale that suits them get less sure, on validation images by
# .066 at least.
_HALF_AS_SURE = 0.06
_DOUBTED = 0.96  # mean confidence below which that is tried for nuclei so many times as wide as the typical one,
_LARGE = 1.5
_DOUBTED_IN_PART = 0.75  # and below which for others, where a part of the image tells, so that it costs little;
_DOUBTED_IN_WHOLE = 0.0  # where it would take half as long again, small ones are believed
# Pieces lie within the nuclei that they are of, or the nuclei are far surer, or somewhat surer and far larger: grain in
# a dim image was a twelfth as wide. In brown-stained tissue, for example, clumps that are seen at half the size cover
# .05, are surer by .03 or .17, and five times as wide; but there are a few of them for a hundred nuclei, and a nucleus
# hardly comes out in more than eight pieces.
_COVERED = 0.5
_FAR_SURER = 0.1
_PIECES = 8
_SURER = 0.05
_FAR_LARGER = 8
_FEW = 3  # nuclei; fewer don't tell that half the scale is better


def segment_at_scale(
    source: Micrograph,
    engine: Engine,
    settings: SegmenterSettings,
    options: PredictOptions,
    whole: npt.NDArray[Any] | None = None,
) -> Prediction:
    """Find the nuclei of an image.

    Where the usual diameter of the nuclei that are found lies outside of the model's passport, the image is resized to
    what the model knows best and looked at again, unless the options fix the scale. Where it is in doubt whether they
    are nuclei or pieces of larger ones, the image is looked at half as large. Labels and probability always have the
    size of the image.

    Parameters
    ----------
    source : Micrograph
        Its ``shown`` pixels are looked at.
    engine : Engine
        Runs the network.
    settings : SegmenterSettings
        Of the model.
    options : PredictOptions
        Everything else.
    whole : numpy.ndarray, optional
        The image of which the source is a part, or a sample of it: what decides its range, whichever part is looked at.

    Returns
    -------
    Prediction
        With the scale at which the network saw the image.
    """
    options = options.in_pixels(source.pixel_size)
    # All that is found counts until the scale is known.
    everything = replace(options, min_area=0, remove_edge=False, fill_holes=False)
    decoding = decoding_of(settings, everything)

    def look(factor: float, pixels: npt.NDArray[Any] = source.shown) -> Decoded:
        bounds = part_range(pixels, source.shown if whole is None else whole, settings.scaling, factor)
        within = everything if pixels is source.shown else options_beside(source.shown.shape, everything)
        return segment_resized(pixels, engine, settings.scaling, replace(decoding, options=within), factor, bounds)

    passport = None if settings.passport is None else Passport(*settings.passport)
    calibration = calibration_of(settings)

    fits = partial(has_room, engine=engine)
    factor, seen, wanted = choose_scale(source.shown, look, settings, options, fits)
    found, evidence = seen or (look(factor), None)
    area = smallest_area(options.min_area, decoding.thresholds, factor)
    if options.fill_holes:
        labels = filter_labels(found.labels, area, remove_edge=options.remove_edge, fill_holes=True)
        evidence = None
    else:
        labels = np.require(found.labels, np.int32, "W")
        evidence = _count_those(labels, evidence, area, options.remove_edge)
    confidence = familiar = None
    if decoding.least_confidence.value > 0:
        evidence = evidence or find_evidence(labels, found.probability)
        every = rate_evidence(evidence, calibration, factor)
        familiar = is_familiar(evidence.areas, every)
        sure = decoding.least_confidence.keeps(evidence.areas, every)
        labels = keep_only(labels, sure)
        confidence = every[sure]
    if labels.size > LARGEST:
        give_back()  # what tiles have left behind, since measuring and drawing come next
    return Prediction(
        image=source.shown,
        probability=found.probability,
        labels=labels,
        source=source,
        calibration=calibration,
        passport=passport,
        scale=factor,
        rated=confidence,
        familiar=familiar,
        wanted_scale=wanted,
        precision=precision_of(engine),
    )


def _count_those(
    labels: npt.NDArray[np.int32], evidence: Evidence | None, area: int, remove_edge: bool
) -> Evidence | None:
    """Leave out nuclei that are too small or at the edge, in place, and of the evidence, too."""
    if evidence is None:
        leave_out(labels, area, remove_edge)
        return None
    kept = np.zeros(int(evidence.labels.max(initial=0)), bool)  # numbers may have gaps
    kept[evidence.labels - 1] = evidence.areas >= area
    if remove_edge:
        kept &= ~at_edge(labels, kept.size)
    keep_only(labels, kept)
    return evidence.keeping(kept[evidence.labels - 1])


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
    ``fits(size, factor, options=...)`` whether memory suffices for that. What is found in the image is kept while its
    middle is looked at.
    """
    factor = first_factor(options, settings)
    if options.diameter is not None or options.scale != "auto" or settings.passport is None:
        return factor, None, None
    passport, calibration = Passport(*settings.passport), calibration_of(settings)
    middle = image[_middle(image.shape)]
    whole_fits = partial(fits, image.shape[:2], options=options)
    part_fits = partial(fits, middle.shape[:2], options=options_beside(image.shape, options))
    seen, wanted = _by_size(look, factor, passport, calibration, whole_fits)
    chosen, doubted = _by_doubt(partial(look, pixels=middle), seen, passport, calibration, part_fits)
    factor = nearest_scale(chosen.factor, seen.factor, whole_fits)
    if factor != chosen.factor:
        doubted = doubted or chosen.factor
    is_whole = factor == chosen.factor and chosen.found.labels.shape == seen.found.labels.shape
    return factor, (chosen.found, chosen.evidence) if is_whole else None, doubted or wanted


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


class _View(NamedTuple):
    """What is found at one scale."""

    found: Decoded
    factor: float
    credible: int  # nuclei whose sizes are believed
    diameter: float | None  # the usual one of those, in pixels of the image
    sureness: float  # mean confidence, over pixels of nuclei; 0 where there is none
    evidence: Evidence | None  # in all that is found, where the middle of the image is the whole of it


def _by_size(
    look: Look, factor: float, passport: Passport, calibration: Calibration | None, fits: Callable[[float], bool]
) -> tuple[_View, float | None]:
    """Found at the scale that suits the size of the nuclei; or else at the nearest one that fits, and the former."""
    seen, short = _view(look, factor, calibration), None
    for _ in range(_TRIES):
        wanted = seen.factor if seen.diameter is None else passport.step(seen.diameter, seen.factor)
        if wanted == seen.factor or (wanted > seen.factor and seen.sureness < _SURE):
            return seen, None
        nearest = seen.factor if short else nearest_scale(wanted, seen.factor, fits)
        short = None if nearest == wanted else wanted
        if nearest == seen.factor:
            break
        del seen  # is as large as the image
        seen = _view(look, nearest, calibration)
    return seen, short


def _by_doubt(
    look: Look, seen: _View, passport: Passport, calibration: Calibration | None, fits: Callable[[float], bool]
) -> tuple[_View, float | None]:
    """What is found at a smaller scale, if what was seen may be pieces; else what was seen.

    The middle of the image is enough to look at, and needs less memory. With it comes a scale that had to be tried, but
    does not fit.
    """
    smaller, in_part, short = seen, max(seen.found.labels.shape) > _LOOKED_AT, None
    for _ in range(_TRIES):
        if not _is_doubtful(smaller, passport, in_part) or smaller.factor / 2 < SMALLEST:
            break
        if not fits(smaller.factor / 2):
            short = smaller.factor / 2
            break
        half = _view(look, smaller.factor / 2, calibration)
        too_small = half.diameter is None or passport.factor(half.diameter * half.factor) > 1
        less_sure = half.sureness < smaller.sureness - _HALF_AS_SURE
        far_surer = half.sureness >= smaller.sureness + _FAR_SURER and half.credible * _PIECES >= smaller.credible
        if too_small or half.credible < _FEW or less_sure:
            break
        if not (far_surer or _covers(half, smaller) or _are_far_larger(half, smaller)):
            break
        smaller = half
    believed = smaller.sureness >= min(_SURE, seen.sureness + _FAR_SURER)
    return smaller if believed else seen, short


def _covers(half: _View, before: _View) -> bool:
    """Whether what is found holds most of what was found before, perhaps in a larger image around the same middle."""
    old, new = before.found.labels, half.found.labels
    where = old if old.shape == new.shape else old[_middle(old.shape)]
    return bool(np.count_nonzero((where > 0) & (new > 0)) >= _COVERED * np.count_nonzero(where))


def _are_far_larger(half: _View, before: _View) -> bool:
    """Whether what was found before is grain beside what is found now, and that is surer."""
    if half.diameter is None or before.diameter is None:
        return False
    return half.diameter >= _FAR_LARGER * before.diameter and half.sureness >= before.sureness + _SURER


def _is_doubtful(view: _View, passport: Passport, in_part: bool) -> bool:
    """Whether what is found may be pieces of larger nuclei. Where nothing is found, it can't be."""
    large = view.diameter is not None and view.diameter * view.factor > _LARGE * passport.typical
    return 0 < view.sureness < (_DOUBTED if large else _DOUBTED_IN_PART if in_part else _DOUBTED_IN_WHOLE)


def _view(look: Look, factor: float, calibration: Calibration | None) -> _View:
    """Look at a scale; the middle of the image tells what sizes are believed, and how sure all is."""
    found = look(factor)
    middle = _middle(found.labels.shape)
    evidence = find_evidence(found.labels[middle], found.probability[middle])
    areas, confidence = evidence.areas, rate_evidence(evidence, calibration, factor)
    believed = (areas >= _LEAST_AREA) & (confidence >= _LEAST_CONFIDENCE)
    sureness = float(confidence @ areas / areas.sum()) if areas.size else 0.0
    whole = found.labels[middle].shape == found.labels.shape
    return _View(
        found, factor, int(believed.sum()), usual_diameter_of(areas[believed]), sureness, evidence if whole else None
    )


def _middle(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Of an image, the part that tells the scale."""
    height, width = (min(length, _LOOKED_AT) for length in shape[:2])
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    return slice(top, top + height), slice(left, left + width)
