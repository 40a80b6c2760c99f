"""From one image to its nuclei: at the scale that the model knows, decoded, filtered, and rated."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._allocator import give_back
from nucleiseg._settings import SegmenterSettings
from nucleiseg.engines.engine import Engine, precision_of
from nucleiseg.images import Micrograph
from nucleiseg.images.sampling import LARGEST
from nucleiseg.inference.limits import is_familiar, smallest_area
from nucleiseg.inference.options import PredictOptions
from nucleiseg.inference.prediction import Prediction
from nucleiseg.inference.resized import part_range, segment_resized
from nucleiseg.inference.room import has_room, options_beside
from nucleiseg.inference.scale import Passport
from nucleiseg.inference.scale_choice import calibration_of, choose_scale
from nucleiseg.inference.segmenting import decoding_of
from nucleiseg.instances import filter_labels
from nucleiseg.instances.confidence import rate_evidence
from nucleiseg.instances.decoders import Decoded
from nucleiseg.instances.evidence import Evidence, find_evidence
from nucleiseg.instances.filtering import at_edge, keep_only, leave_out


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
