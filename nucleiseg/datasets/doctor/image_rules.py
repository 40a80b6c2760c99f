"""Rules about images and about the dataset as a whole: each takes the facts of all samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from nucleiseg.datasets.doctor.duplicates import Group, find_duplicates
from nucleiseg.datasets.doctor.facts import Facts, ImageFacts
from nucleiseg.datasets.doctor.findings import Case, Finding, plural, worst_first
from nucleiseg.datasets.doctor.label_rules import Rule, whole_problem
from nucleiseg.datasets.doctor.settings import CheckSettings

__all__ = ["IMAGE_RULES", "SET_RULES"]


def unreadable(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:  # noqa: ARG001
    """Files that are damaged or missing."""
    return _problem("unreadable", all_facts)


def size_mismatch(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:  # noqa: ARG001
    """Image and labels of different height or width."""
    return _problem("size_mismatch", all_facts)


def label_type(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:  # noqa: ARG001
    """Fractions, colours or negative numbers for labels."""
    return _problem("label_type", all_facts)


def not_finite(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:  # noqa: ARG001
    """NaN or infinity."""
    cases = [_case(facts) for facts, image in _images(all_facts) if not image.finite]
    return Finding("not_finite", "error", tuple(cases)) if cases else None


def constant_image(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:  # noqa: ARG001
    """One value everywhere."""
    cases = [_case(facts) for facts, image in _images(all_facts) if image.constant]
    return Finding("constant_image", "error", tuple(cases)) if cases else None


def saturated(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Clipped at the highest value."""
    cases = []
    for facts, image in _images(all_facts):
        if not image.constant and max(image.saturated, image.nuclei_saturated) >= settings.saturated_share:
            detail = f"{image.saturated:.1%} of the pixels, {image.nuclei_saturated:.1%} of those of nuclei"
            cases.append((image.nuclei_saturated, _case(facts, detail)))
    return Finding("saturated", "warning", _ranked(cases)) if cases else None


def mixed_types(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:  # noqa: ARG001
    """Types and channels that most images do not have."""
    kinds = [(facts, _type_name(image)) for facts, image in _images(all_facts)]
    ranked = Counter(kind for _, kind in kinds).most_common()
    if len(ranked) < 2:
        return None
    usual = ranked[0][0]
    cases = [_case(facts, f"{kind}, most are {usual}") for facts, kind in kinds if kind != usual]
    return Finding("mixed_types", "warning", tuple(cases))


def size_outlier(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Median diameters far from the dataset's."""
    sound = [facts for facts in all_facts if facts.labels is not None and not whole_problem(facts, settings)]
    diameters = [float(np.sqrt(4 / np.pi * np.median(facts.labels.areas))) for facts in sound if facts.labels]
    cases = []
    for facts, diameter, usual, factor in _outliers(sound, diameters, settings.size_ratio):
        cases.append((factor, _case(facts, f"median diameter {diameter:.0f} pixels, usual is {usual:.0f}")))
    return Finding("size_outlier", "warning", _ranked(cases)) if cases else None


def brightness_outlier(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Brightness far from the dataset's, compared within a type."""
    cases = []
    images = [(facts, image) for facts, image in _images(all_facts) if image.finite and not image.constant]
    for dtype in sorted({image.dtype for _, image in images}):
        alike = [facts for facts, image in images if image.dtype == dtype]
        values = [image.brightness for _, image in images if image.dtype == dtype]
        for facts, value, usual, factor in _outliers(alike, values, settings.brightness_ratio):
            cases.append((factor, _case(facts, f"bright pixels at {value:.3g} of the range, usual is {usual:.3g}")))
    return Finding("brightness_outlier", "warning", _ranked(cases)) if cases else None


def duplicates(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Copies within a split, or where there are no splits."""
    cases = [
        _group_case(group, all_facts, split="")
        for group in _groups(all_facts, settings)
        if len(_splits(group, all_facts)) < 2
    ]
    return Finding("duplicates", "warning", worst_first(cases)) if cases else None


def leakage(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Copies in several splits: an error, if there is no doubt about at least one."""
    groups = [group for group in _groups(all_facts, settings) if len(_splits(group, all_facts)) > 1]
    if not groups:
        return None
    certain = max(group.correlation for group in groups) >= settings.copy_correlation
    cases = [_group_case(group, all_facts, " and ".join(_splits(group, all_facts))) for group in groups]
    return Finding("leakage", "error" if certain else "warning", worst_first(cases))


def imbalance(all_facts: Sequence[Facts], settings: CheckSettings) -> Finding | None:
    """Groups of metadata with few images."""
    ranked = Counter(
        str(facts.metadata[settings.group]) for facts in all_facts if settings.group in facts.metadata
    ).most_common()
    if len(ranked) < 2 or ranked[0][1] < settings.imbalance_ratio * ranked[-1][1]:
        return None
    cases = []
    for group, count in ranked[1:]:
        if ranked[0][1] >= settings.imbalance_ratio * count:
            members = [facts.id for facts in all_facts if str(facts.metadata.get(settings.group)) == group]
            detail = f"{group} has {plural(count, 'image')}, {ranked[0][0]} has {ranked[0][1]:,}"
            cases.append(Case(tuple(members), detail=detail))
    return Finding("imbalance", "warning", tuple(cases))


IMAGE_RULES: tuple[Rule, ...] = (unreadable, size_mismatch, label_type, not_finite, constant_image)
SET_RULES: tuple[Rule, ...] = (
    saturated,
    mixed_types,
    size_outlier,
    brightness_outlier,
    leakage,
    duplicates,
    imbalance,
)


def _images(all_facts: Sequence[Facts]) -> list[tuple[Facts, ImageFacts]]:
    return [(facts, facts.image) for facts in all_facts if facts.image is not None]


def _case(facts: Facts, detail: str = "") -> Case:
    return Case((facts.id,), files=facts.record.files(), detail=detail)


def _ranked(cases: Sequence[tuple[float, Case]]) -> tuple[Case, ...]:
    return tuple(case for _, case in sorted(cases, key=lambda pair: (-pair[0], pair[1].ids)))


def _problem(kind: str, all_facts: Sequence[Facts]) -> Finding | None:
    cases = [_case(facts, facts.problem) for facts in all_facts if facts.problem_kind == kind]
    return Finding(kind, "error", tuple(cases)) if cases else None


def _type_name(image: ImageFacts) -> str:
    channels = image.shape[2] if len(image.shape) == 3 else 1
    return f"{image.dtype} with {plural(channels, 'channel')}"


def _outliers(
    samples: Sequence[Facts], values: Sequence[float], ratio: float
) -> list[tuple[Facts, float, float, float]]:
    """Samples whose value is far from the median: (sample, value, median, factor)."""
    if len(values) < 3:  # of two, nobody knows which is the odd one
        return []
    usual = float(np.median(values))
    found = []
    for sample, value in zip(samples, values, strict=True):
        low, high = sorted((value, usual))
        if high > 0 and high >= ratio * low:
            found.append((sample, value, usual, high / max(low, 1e-9)))
    return found


def _groups(all_facts: Sequence[Facts], settings: CheckSettings) -> list[Group]:
    """Groups of copies, as positions in the list of facts; constant images all look alike and are told elsewhere."""
    usable = [
        (index, facts.image)
        for index, facts in enumerate(all_facts)
        if facts.image is not None and facts.image.finite and not facts.image.constant
    ]
    if len(usable) < 2:
        return []
    digests = [image.digest for _, image in usable]
    thumbnails = np.stack([image.thumbnail for _, image in usable])
    found = find_duplicates(digests, thumbnails, settings.duplicate_correlation)
    return [group._replace(positions=tuple(usable[index][0] for index in group.positions)) for group in found]


def _splits(group: Group, all_facts: Sequence[Facts]) -> list[str]:
    known = (all_facts[index].metadata.get("split") for index in group.positions)
    return list(dict.fromkeys(str(split) for split in known if split is not None))


def _group_case(group: Group, all_facts: Sequence[Facts], split: str) -> Case:
    members = [all_facts[index] for index in group.positions]
    detail = "equal" if group.correlation > 1 else f"alike, correlation {group.correlation:.3f}"
    if group.turn:
        detail += f", {group.turn}"
    if split:
        detail += f", in {split}"
    files = tuple(path for facts in members for path in facts.record.files())
    return Case(tuple(facts.id for facts in members), len(members), files, detail=detail)
