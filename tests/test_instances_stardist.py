"""Agreement with StarDist's published function ``matching``: where it is installed, and with figures that it gave.

StarDist computes IoUs in single precision, so sums of them agree to seven digits only. Computed in double precision by
the same code, they agree to nine and more.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from nucleiseg.instances import match, score_images

THRESHOLDS = (0.1, 0.3, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
COUNTED = {  # StarDist's name, ours
    "tp": "tp",
    "fp": "fp",
    "fn": "fn",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "average_precision",
    "f1": "f1",
}
SUMMED = {"mean_matched_score": "segmentation_quality", "panoptic_quality": "panoptic_quality"}


@pytest.fixture(scope="module")
def stardist():
    shown = warnings.formatwarning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matching = pytest.importorskip("stardist.matching", reason="needs stardist (pip install stardist)")
    warnings.formatwarning = shown  # which stardist replaces
    return matching


@pytest.fixture
def in_double_precision(stardist, monkeypatch):
    def divide(part, whole):
        part, whole = np.asarray(part, float), np.asarray(whole, float)
        return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)[()]

    monkeypatch.setattr(stardist, "_safe_divide", divide)
    return stardist


def draw_pair(seed):
    """Ellipses with gaps in their numbers, and the same moved, in part dropped, merged and split; or others."""
    random = np.random.default_rng(seed)
    shape = random.integers(30, 120, 2)
    rows, columns = np.mgrid[: shape[0], : shape[1]]

    def ellipses():
        labels = np.zeros(shape, np.uint16)
        for number in random.permutation(200)[: random.integers(5, 60)] + 1:
            (row, column), (height, width) = random.uniform(0, shape), random.uniform(2, 9, 2)
            labels[((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 < 1] = number
        return labels

    truth = ellipses()
    if seed % 4 == 0:
        return truth, ellipses()
    predicted = np.zeros(shape, np.int64)
    for number, label in enumerate(random.permutation(np.unique(truth)[1:]), start=1):
        mask = np.roll(truth == label, random.integers(-2, 3, 2), (0, 1)) & (predicted == 0)
        what = random.choice(["found", "dropped", "merged", "split"], p=[0.7, 0.1, 0.1, 0.1])
        if what != "dropped":
            predicted[mask] = max(number - (what == "merged"), 1)
        if what == "split":
            predicted[mask & (rows > rows[mask].mean() if mask.any() else False)] = 1000 + number
    return truth, predicted


def agree(truth, predicted, theirs, names, tolerance):
    """Compare at all thresholds, where there is at least one nucleus on either side."""
    counts = match(truth, predicted, THRESHOLDS[: len(theirs["tp"])])
    for their_name, our_name in names.items():
        ours = [float(getattr(at, our_name)) for at in counts.matches]
        np.testing.assert_allclose(ours, theirs[their_name], rtol=tolerance, atol=tolerance, err_msg=their_name)


def as_columns(results):
    return {
        name: [float(getattr(result, name)) for result in results] for name in results[0]._fields if name != "criterion"
    }


@pytest.mark.parametrize("seed", range(40))
def test_counts_agree_with_stardist(stardist, seed):
    truth, predicted = draw_pair(seed)
    theirs = as_columns(stardist.matching(truth, predicted, thresh=THRESHOLDS))
    agree(truth, predicted, theirs, COUNTED, 1e-9)
    agree(truth, predicted, theirs, SUMMED, 1e-6)


@pytest.mark.parametrize("seed", range(40))
def test_scores_agree_with_stardist_in_double_precision(in_double_precision, seed):
    truth, predicted = draw_pair(seed)
    theirs = as_columns(in_double_precision.matching(truth, predicted, thresh=THRESHOLDS))
    agree(truth, predicted, theirs, {**COUNTED, **SUMMED}, 1e-9)


def test_pooled_counts_agree_with_stardist(in_double_precision):
    pairs = [draw_pair(seed) for seed in range(10)]
    half = in_double_precision.matching_dataset(*zip(*pairs, strict=True), thresh=0.5, show_progress=False)
    ours = score_images([match(*pair) for pair in pairs])
    names = {"precision_50": half.precision, "recall_50": half.recall, "f1_50": half.f1}
    for name, theirs in {**names, "ap50": half.accuracy, "pq": half.panoptic_quality}.items():
        assert ours[name] == pytest.approx(theirs, abs=1e-9)


def test_counts_agree_with_figures_that_stardist_gave():
    # For twelve pairs of 64 x 64 pixels, drawn much like those above, from stardist 0.9.2 (BSD-3-Clause).
    with np.load(Path(__file__).parent / "data" / "stardist_matching.npz") as figures:
        figures = dict(figures)
    assert figures["thresholds"].tolist() == list(THRESHOLDS[:-1])
    for number, (truth, predicted) in enumerate(zip(figures["truth"], figures["predicted"], strict=True)):
        theirs = {name: figures[name][number] for name in {**COUNTED, **SUMMED}}
        agree(truth, predicted, theirs, COUNTED, 1e-9)
        agree(truth, predicted, theirs, SUMMED, 1e-6)
