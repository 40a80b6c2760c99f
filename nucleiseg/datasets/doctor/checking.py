"""Look for what is wrong with a dataset before a network learns it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np

from nucleiseg._checks import check_instance
from nucleiseg._warnings import warn_caller
from nucleiseg.datasets.arrays import ArrayRecord
from nucleiseg.datasets.dataset import Dataset
from nucleiseg.datasets.doctor.facts import Facts, measure_image, measure_labels, measure_record
from nucleiseg.datasets.doctor.findings import Case, Finding, Report, described, sort_key
from nucleiseg.datasets.doctor.image_rules import IMAGE_RULES, SET_RULES
from nucleiseg.datasets.doctor.label_rules import LABEL_RULES, Rule
from nucleiseg.datasets.doctor.settings import CheckSettings
from nucleiseg.datasets.given import check_dataset
from nucleiseg.datasets.metadata import read_metadata
from nucleiseg.datasets.reading import open_dataset
from nucleiseg.datasets.records import Unpaired
from nucleiseg.datasets.sample import Sample
from nucleiseg.datasets.threads import in_threads
from nucleiseg.errors import DatasetWarning
from nucleiseg.images.read_options import ReadOptions

__all__ = ["check", "check_quickly", "open_for_check", "warn_about_errors"]


def check(
    dataset: Dataset,
    settings: CheckSettings | None = None,
    workers: int | None = None,
    unpaired: Sequence[Unpaired] = (),
) -> Report:
    """Find out what is wrong with a dataset: its labels, its images, and how they fit together.

    Every file is decoded once, not taken from the cache: overlapping masks and masks without labels are seen in files
    only. It takes less than twice the time of reading.

    Parameters
    ----------
    dataset : Dataset
        From `read` or `from_arrays`. Copies in several splits are found where the metadata has a column ``split``,
        rare groups where it has ``modality``: ``check(dataset.with_metadata("splits.csv"))``.
    settings : CheckSettings, optional
        Where lines are drawn.
    workers : int, optional
        Threads; by default one for each core.
    unpaired : sequence of Unpaired
        From `open_for_check`.

    Returns
    -------
    report : Report
        Prints as text; ``report.findings``, ``report.ok``, ``report.to_dict()``.

    Raises
    ------
    InvalidInputError
        If it is no dataset, or settings are of another kind.

    Examples
    --------
    >>> from nucleiseg.datasets import from_arrays
    >>> labels = np.zeros((2, 32, 32), int)
    >>> labels[:, 4:12, 4:12] = 1
    >>> labels[:, 20:28, 20:28] = 2
    >>> labels[1, 6:8, 6:8] = 0
    >>> images = np.random.default_rng(0).integers(0, 100, labels.shape) + 100 * (labels > 0)
    >>> report = check(from_arrays(images, labels))
    >>> report.kinds, report.find("holes").ids
    (('holes',), ('0001',))
    """
    check_dataset(dataset, "dataset")
    if settings is not None:
        check_instance(settings, CheckSettings, "settings", "CheckSettings()")
    metadata = dict(zip(dataset.ids, dataset.metadata, strict=True))
    measured = in_threads(
        lambda record: measure_record(record, metadata[record.id]), dataset.records, workers, "checking"
    )
    return _judge(list(measured), settings or CheckSettings(), (*LABEL_RULES, *IMAGE_RULES, *SET_RULES), unpaired)


def open_for_check(
    path: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    table: str | os.PathLike[str] | None = None,
    reading: ReadOptions | None = None,
) -> tuple[Dataset, list[Unpaired]]:
    """As `nucleiseg.datasets.read`, but samples without an image or labels are told, and the others can be read.

    Parameters
    ----------
    path, labels : str or path
        As for `nucleiseg.datasets.read`.
    table : str or path, optional
        Metadata of the samples; that of samples which lack something does no harm.
    reading : ReadOptions, optional
        As for `nucleiseg.datasets.read`.

    Raises
    ------
    DatasetError
        If the layout is unknown, nothing is left, or the table is not about these samples.
    """
    unpaired: list[Unpaired] = []
    dataset = open_dataset(path, labels, False, unpaired, reading)
    if table is not None:
        lacking = [name for each in unpaired for name in each.ids]
        dataset = Dataset(dataset.records, read_metadata(table, dataset.ids, lacking))
    return dataset, unpaired


def check_quickly(samples: Sequence[Sample], semantic: bool, settings: CheckSettings | None = None) -> Report:
    """The errors that are seen in a few samples, in a fraction of a second: what training should not start with.

    Parameters
    ----------
    samples : Dataset or sequence of Sample
        Some are read, evenly spread.
    semantic : bool
        Whether a mask is all that will be learned; then masks in place of labels are no error.

    Examples
    --------
    >>> from nucleiseg.datasets import from_arrays
    >>> labels = np.ones((1, 32, 32), int)
    >>> check_quickly(from_arrays(labels * 0, labels), semantic=True).kinds
    ('constant_image', 'all_foreground')
    """
    settings = settings or CheckSettings()
    count = min(len(samples), settings.quick_samples)
    chosen = (samples[int(index)] for index in np.linspace(0, len(samples) - 1, count).round())
    rules = [rule for rule in (*LABEL_RULES, *IMAGE_RULES) if not (semantic and rule.__name__ == "binary_mask")]
    report = _judge([_measure_sample(sample) for sample in chosen], settings, rules, ())
    return Report(report.samples, report.nuclei, report.of_severity("error"))


def _measure_sample(sample: Sample) -> Facts:
    record = ArrayRecord(getattr(sample, "id", "?"), sample.image, sample.labels)
    return Facts(record, measure_labels(sample.labels), measure_image(sample.image, sample.labels))


def _judge(
    all_facts: Sequence[Facts], settings: CheckSettings, rules: Iterable[Rule], unpaired: Sequence[Unpaired]
) -> Report:
    findings = [finding for rule in rules if (finding := rule(all_facts, settings)) is not None]
    if unpaired:
        cases = tuple(Case(each.ids, len(each.ids), detail=each.message) for each in unpaired)
        findings.append(Finding("missing_pair", "error", cases))
    nuclei = sum(facts.labels.values.size for facts in all_facts if facts.labels is not None)
    return Report(len(all_facts), nuclei, tuple(sorted(findings, key=sort_key)))


def warn_about_errors(dataset: Dataset, semantic: bool, what: str = "the training data") -> None:
    """Warn once of the errors that `check_quickly` finds: seconds before what takes hours, or gives wrong scores.

    Parameters
    ----------
    dataset : Dataset
        What a model is to be trained on, or judged by.
    semantic : bool
        Whether only the mask is learned, for which nuclei that are merged are no error.
    what : str
        What the warning calls it.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from nucleiseg.datasets import from_arrays
    >>> black = from_arrays(np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 8), int))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_about_errors(black, semantic=True)
    >>> len(caught)
    1
    """
    report = check_quickly(dataset, semantic=semantic)
    if report.findings:
        found = "; ".join(f"{finding.title} ({described(finding)})" for finding in report.findings)
        warn_caller(
            f"{what} has errors, seen in {report.samples} of {len(dataset)} images: {found}. "
            "Run 'nucleiseg check' or nucleiseg.datasets.check(data) to see all, and what to do",
            DatasetWarning,
        )
