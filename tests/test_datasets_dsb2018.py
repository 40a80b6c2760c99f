"""The real data of the 2018 Data Science Bowl, where it is at hand."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from nucleiseg import datasets
from nucleiseg.datasets.doctor.contrast import measure_contrast


def test_splits_and_nuclei_are_those_of_the_table(dsb2018):
    parts = datasets.read(dsb2018 / "stage1_train.zip").split_by(dsb2018 / "splits.csv")
    assert sum(map(len, parts)) == 664
    assert sum(known["nuclei"] for part in parts for known in part.metadata) == 28986
    small = [name for name, known in zip(parts[2].ids, parts[2].metadata, strict=True) if known["width"] <= 320]
    for sample in parts[2].select(small[:12]).prepare():
        known = sample.metadata
        assert sample.labels.shape == sample.image.shape[:2] == (known["height"], known["width"])
        assert len(np.unique(sample.labels)) - 1 == known["nuclei"]


def test_labels_lie_on_what_is_seen_and_those_of_another_image_do_not(dsb2018):
    """Which the check's threshold, .4, is far from on either side."""
    _, val, _ = datasets.read(dsb2018 / "stage1_train.zip").split_by(dsb2018 / "splits.csv")
    sizes = [(known["height"], known["width"]) for known in val.metadata]
    samples = val.select([name for name, size in zip(val.ids, sizes, strict=True) if size == (256, 256)]).prepare()
    labels = [sample.labels > 0 for sample in samples]
    colours = [sample.image[..., :3] for sample in samples]
    assert len(labels) > 20
    assert min(map(contrast_of, colours, labels)) > 0.8
    others = np.array(list(map(contrast_of, colours, labels[1:] + labels[:1])))
    assert np.mean(others < 0.3) > 0.9


def contrast_of(colours, nuclei):
    return measure_contrast(colours, nuclei).value


def test_reading_needs_no_deep_learning_framework():
    code = "import sys, nucleiseg.datasets; print({'keras', 'tensorflow', 'pandas', 'matplotlib'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
