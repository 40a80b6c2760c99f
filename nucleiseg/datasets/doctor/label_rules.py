"""Rules about labels: each takes the facts of all samples and gives a finding or nothing.

A sample whose labels are wrong as a whole (damaged, inverted, a mask) is not judged in detail: thousands of pieces are
a consequence, and one mistake should be one finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleiseg.datasets.doctor.contrast import Contrast
from nucleiseg.datasets.doctor.facts import Facts, LabelFacts
from nucleiseg.datasets.doctor.findings import Case, Finding, Severity, plural, worst_first
from nucleiseg.datasets.doctor.settings import CheckSettings

__all__ = ["LABEL_RULES", "SINGLE", "Rule", "whole_problem"]

# How many labels, and the highest: so nucleiseg writes a single nucleus, as a file of 0 and 1 would be a mask.
SINGLE = (1, 2)

Rule = Callable[[Sequence[Facts], CheckSettings], "Finding | None"]


@dataclass(frozen=True, eq=False)
class _Readable:
    """A sample whose labels could be read."""

    facts: Facts
    labels: LabelFacts


def whole_problem(facts: Facts, settings: CheckSettings) -> str:
    """What is wrong with the labels as a whole: the kind of the finding, or nothing."""
    labels = facts.labels
    if labels is None:
        return facts.problem_kind
    if labels.values.size == 0:
        return "empty_image"
    if facts.notes.lossy or facts.notes.grey_masks or labels.fringe_contact >= settings.fringe_share:
        return "damaged_labels"
    if _covering(labels, settings) is not None:
        return "all_foreground"
    if facts.notes.split_mask and labels.values.size > 1:
        return "binary_mask"
    if labels.values.size == 1 and labels.pieces[0] > 1:
        return "binary_mask"
    return ""


def damaged_labels(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Strips along the contours, a JPEG file, or grey values in masks."""
    cases = []
    for sample in _with(all_facts, "damaged_labels", settings):
        detail = f"{sample.labels.fringe_contact:.0%} of the contours, {plural(sample.labels.values.size, 'number')}"
        if sample.facts.notes.lossy:
            detail = f"saved as JPEG, {plural(sample.labels.values.size, 'number')}"
        elif sample.facts.notes.grey_masks:
            detail = f"grey values in {plural(sample.facts.notes.grey_masks, 'mask')}"
        cases.append(_case(sample, detail=detail))
    return _finding("damaged_labels", "error", cases)


def all_foreground(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Background is labelled."""
    cases = []
    for sample in _with(all_facts, "all_foreground", settings):
        share = sample.labels.areas.sum() / np.prod(sample.labels.shape)
        label = _covering(sample.labels, settings)
        detail = f"{share:.0%} of the image" + (f", label {label} touches all sides" if label else "")
        cases.append(_case(sample, detail=detail))
    return _finding("all_foreground", "error", cases)


def binary_mask(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """One number for many nuclei: an error, unless the reader has taken the parts for nuclei already."""
    cases = []
    split = True
    for sample in _with(all_facts, "binary_mask", settings):
        labels = sample.labels
        if sample.facts.notes.split_mask:
            detail = f"its {labels.values.size} connected parts are taken for nuclei"
        else:
            split = False
            detail = f"label {labels.values[0]} is in {labels.pieces[0]} pieces, and there is no other"
        cases.append(_case(sample, detail=detail))
    return _finding("binary_mask", "warning" if split else "error", cases)


def empty_image(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """No nucleus; an error if that holds for all."""
    cases = [_case(sample) for sample in _with(all_facts, "empty_image", settings)]
    readable = sum(facts.labels is not None for facts in all_facts)
    return _finding("empty_image", "error" if len(cases) == readable else "warning", cases)


def pieces(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """One label, several regions; what lies under a later mask may come in pieces."""
    cases = []
    for sample in _with(all_facts, "", settings):
        broken = (sample.labels.pieces > 1) & ~_covered(sample)
        cases += _label_case(sample, broken, sample.labels.pieces, "label {} is in {} pieces")
    return _finding("pieces", "warning", cases)


def holes(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Background within a nucleus."""
    cases = []
    for sample in _with(all_facts, "", settings):
        open_ones = (sample.labels.holes > 0) & ~_covered(sample)
        found = _label_case(sample, open_ones, sample.labels.hole_areas, "label {} lacks {} pixels inside")
        count = int(sample.labels.holes[open_ones].sum())
        cases += [Case(case.ids, count, case.files, case.labels, case.box, case.detail) for case in found]
    return _finding("holes", "warning", cases)


def specks(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Labels of a few pixels."""
    cases = []
    for sample in _with(all_facts, "", settings):
        small = (sample.labels.areas < settings.speck_area) & ~_covered(sample)
        cases += _label_case(sample, small, -sample.labels.areas, "the smallest, label {}, has {} pixels")
    return _finding("specks", "warning", cases)


def small_labels(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Labels that are small beside the others."""
    cases = []
    for sample in _with(all_facts, "", settings):
        areas = sample.labels.areas
        if areas.size >= _ENOUGH_NUCLEI:
            usual = int(np.median(areas))
            small = (areas >= settings.speck_area) & (areas < settings.small_share * usual) & ~_covered(sample)
            cases += _label_case(sample, small, -areas, f"label {{}} has {{}} pixels, the usual nucleus {usual}")
    return _finding("small_labels", "note", cases)


def overlaps(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Masks that claim the same pixels."""
    cases = []
    severity: Severity = "note"
    for facts in all_facts:
        found = sorted(facts.notes.overlaps, key=lambda overlap: -overlap.pixels)
        if facts.labels is None or not found:
            continue
        areas = facts.notes.mask_areas
        shares = [one.pixels / min(areas[one.earlier - 1], areas[one.later - 1]) for one in found]
        if max(shares) >= settings.overlap_share:
            severity = "warning"
        numbers = tuple(dict.fromkeys(label for one in found for label in (one.later, one.earlier)))
        detail = f"masks {found[0].earlier} and {found[0].later} share {plural(found[0].pixels, 'pixel')}"
        box = _box(facts.labels, found[0].later) or _box(facts.labels, found[0].earlier)
        cases.append(Case((facts.id,), len(found), facts.record.files(numbers), numbers, box, detail))
    return _finding("overlaps", severity, cases)


def empty_masks(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:  # noqa: ARG001
    """Files or rows that hold no nucleus."""
    cases = []
    for facts in all_facts:
        numbers = tuple(number for number, area in enumerate(facts.notes.mask_areas, start=1) if area == 0)
        if facts.labels is not None and numbers:
            detail = f"{len(numbers)} of {plural(len(facts.notes.mask_areas), 'mask')}"
            cases.append(Case((facts.id,), len(numbers), facts.record.files(numbers), numbers, None, detail))
    return _finding("empty_masks", "warning", cases)


def unrelated(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Labels that do not lie on what is seen: an error where those of most images would if they were turned alike."""
    cases = []
    turns: Counter[str] = Counter()
    samples = [*_with(all_facts, "", settings), *_with(all_facts, "binary_mask", settings)]
    for sample in samples:
        contrast = sample.facts.image.contrast if sample.facts.image else Contrast()
        if contrast.value >= settings.contrast:
            continue
        detail = f"its contrast is {contrast.value:.2f} of 1"
        if contrast.turn:
            turns[contrast.turn] += 1
            detail = f"its labels fit far better when {contrast.turn}"
        cases.append(_case(sample, detail=detail))
    most = max(turns.values(), default=0)
    return _finding("unrelated", "error" if most > max(1, len(samples) / 2) else "warning", cases)


def cut_nuclei(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Nuclei too long for the crop, or at the border of their image, most of them."""
    cases = []
    for sample in _with(all_facts, "", settings):
        labels = sample.labels
        starts, stops = labels.boxes[:, :2], labels.boxes[:, 2:]
        lengths = (stops - starts).max(axis=1)
        long = (lengths > settings.crop / 2) & (labels.pieces == 1)  # pieces may lie far apart
        if long.any():
            cases += _label_case(sample, long, lengths, f"label {{}} is {{}} pixels long, crops have {settings.crop}")
            continue
        at_border = ((starts == 0) | (stops == np.array(labels.shape))).any(axis=1)
        if at_border.size >= _ENOUGH_NUCLEI and at_border.mean() > settings.border_share:
            detail = f"{at_border.sum()} of {at_border.size} nuclei touch the border"
            cases.append(_case(sample, count=int(at_border.sum()), detail=detail))
    return _finding("cut_nuclei", "warning", cases)


def id_gaps(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Labels that do not count from 1; where each mask has its number, gaps have other causes."""
    cases = []
    for sample in _with(all_facts, "", settings):
        highest = int(sample.labels.values[-1])
        missing = highest - sample.labels.values.size
        if missing and (sample.labels.values.size, highest) != SINGLE and not sample.facts.notes.mask_areas:
            cases.append(_case(sample, missing, f"{sample.labels.values.size} labels, the highest is {highest}"))
    return _finding("id_gaps", "note", cases)


_ENOUGH_NUCLEI = 4

LABEL_RULES: tuple[Rule, ...] = (
    damaged_labels,
    all_foreground,
    binary_mask,
    empty_image,
    pieces,
    holes,
    specks,
    overlaps,
    empty_masks,
    unrelated,
    cut_nuclei,
    small_labels,
    id_gaps,
)


def _with(all_facts: Sequence[Facts], problem: str, settings: CheckSettings) -> list[_Readable]:
    return [
        _Readable(facts, facts.labels)
        for facts in all_facts
        if facts.labels is not None and whole_problem(facts, settings) == problem
    ]


def _covering(labels: LabelFacts, settings: CheckSettings) -> int | None:
    """The label that is background by another number; 0 if all labels together leave none."""
    pixels = labels.shape[0] * labels.shape[1]
    everywhere = (labels.boxes == (0, 0, *labels.shape)).all(axis=1) & (labels.areas > settings.covering_share * pixels)
    if everywhere.any():
        return int(labels.values[np.argmax(everywhere)])
    return 0 if labels.areas.sum() >= settings.foreground_share * pixels else None


def _covered(sample: _Readable) -> NDArray[np.bool_]:
    """Labels that lost pixels to a later mask."""
    return np.isin(sample.labels.values, [one.earlier for one in sample.facts.notes.overlaps])


def _case(sample: _Readable, count: int = 1, detail: str = "") -> Case:
    files = sample.facts.record.files(sample.labels.values[:1].tolist())
    return Case((sample.facts.id,), count, files, detail=detail)


def _label_case(sample: _Readable, chosen: NDArray[np.bool_], badness: NDArray[np.int64], template: str) -> list[Case]:
    """A case about some labels of a sample, if there are any; the worst is told."""
    where = np.flatnonzero(chosen)
    if where.size == 0:
        return []
    where = where[np.argsort(-badness[where], kind="stable")]
    numbers = tuple(sample.labels.values[where].tolist())
    detail = template.format(numbers[0], abs(int(badness[where[0]])))
    box = _box(sample.labels, numbers[0])
    return [Case((sample.facts.id,), len(numbers), sample.facts.record.files(numbers), numbers, box, detail)]


def _box(labels: LabelFacts, label: int) -> tuple[int, int, int, int] | None:
    where = np.flatnonzero(labels.values == label)
    if where.size == 0:
        return None
    top, left, bottom, right = labels.boxes[where[0]].tolist()
    return top, left, bottom, right


def _finding(kind: str, severity: Severity, cases: Sequence[Case]) -> Finding | None:
    return Finding(kind, severity, worst_first(cases)) if cases else None
