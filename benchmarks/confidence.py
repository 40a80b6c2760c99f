"""Does the confidence of nuclei mean what it says? Calibrated on `val`, looked at on `test`.

    python benchmarks/confidence.py stage1_train.zip --splits splits.csv

A nucleus is matched if a true one covers it with an IoU of at least .5. The expected calibration error is the mean
distance, over ten bins of confidence weighted by their nuclei, between the mean confidence and the share that is
matched [1]; the AUROC is the chance that a matched nucleus has more confidence than a false one. Both are told of all
nuclei that are found, and of those that are left where nothing is asked for: the surer ones are harder to tell apart.

The intervals of the calibration error lie high and may leave out the error itself: drawing images anew adds noise to
the bins, and a mean of distances can only grow by noise. Read their upper end.

[1] C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from exact import EXACT
from intervals import of_counts, of_images
from results import keep
from scipy.stats import rankdata

from nucleiseg import Segmenter, datasets
from nucleiseg.inference import Prediction
from nucleiseg.instances import InstanceCounts, assign, count_overlap, match
from nucleiseg.pretrained import list_pretrained, pretrained_path

BINS = 10
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Judged:
    """What was found in an image: the confidence of nuclei, which of them are matched, and the counts."""

    confidence: Floats
    matched: Bools
    counts: InstanceCounts


def judged(sample: datasets.Sample, found: Prediction) -> Judged:
    """What a model found in an image."""
    overlap = count_overlap(sample.labels, found.labels)
    numbers = overlap.predicted_labels[overlap.predicted_index[assign(overlap, 0.5)]]
    matched = np.isin(np.arange(1, found.count + 1), numbers)
    return Judged(np.asarray(found.confidence, float), matched, match(sample.labels, found.labels))


def pooled(images: Sequence[Judged]) -> tuple[Floats, Bools]:
    """Confidence of the nuclei of all images together, and which of them are matched."""
    return np.concatenate([each.confidence for each in images]), np.concatenate([each.matched for each in images])


def scored(score: Callable[[Floats, Bools], float], images: Sequence[Judged], digits: int = 2) -> str:
    """A score of the nuclei of all images together, with its interval."""
    return of_images(lambda drawn: score(*pooled([images[index] for index in drawn])), len(images), digits)


def calibration_error(confidence: Floats, matched: Bools) -> float:
    """Expected calibration error, in [0, 1]; not a number without any nuclei."""
    if not len(confidence):
        return math.nan
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    sums = (np.bincount(bins, values, BINS) for values in (confidence, matched.astype(float)))
    return float(np.abs(np.subtract(*sums)).sum() / len(confidence))


def area_under_curve(confidence: Floats, matched: Bools) -> float:
    """AUROC by the ranks of the matched (Mann and Whitney); ties count half. Not a number without either kind."""
    hits = int(matched.sum())
    if hits in (0, len(matched)):
        return math.nan
    ranks = rankdata(confidence)[matched].sum() - hits * (hits + 1) / 2
    return float(ranks / (hits * (len(matched) - hits)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a dataset that nucleiseg.datasets.read understands, such as stage1_train.zip")
    parser.add_argument("--splits", required=True, help="CSV with image_id, split and modality")
    parser.add_argument("--model", type=Path, help="a .keras file instead of the models in the box")
    arguments = parser.parse_args()
    _, val, test = datasets.read(arguments.data).prepare().split_by(arguments.splits)
    models = [arguments.model] if arguments.model else [pretrained_path(name) for name in list_pretrained()]
    summary: list[dict[str, object]] = []
    tables: dict[str, list[dict[str, object]]] = {"": summary}
    for model in models:
        segmenter = Segmenter.load(model)
        for name, data in (("val", val), ("test", test)):
            for least in (None, 0.0):  # the last one, of all nuclei, is the one for the table by confidence
                options = replace(EXACT, min_confidence=least)
                images = [judged(sample, segmenter.predict(sample.image, options)) for sample in data]
                summary.append(
                    {
                        "model": model.stem,
                        "split": name,
                        "nuclei": f"from {segmenter.thresholds.get('min_confidence', 0)}" if least is None else "all",
                        "found": sum(image.counts.found for image in images),
                        "matched": scored(lambda _, matched: float(matched.mean()), images),
                        "AP at IoU .5": of_counts([image.counts for image in images])["ap50"],
                        "expected calibration error": scored(calibration_error, images, digits=3),
                        "AUROC": scored(area_under_curve, images),
                    }
                )
        tables[f"{model.stem} on test, by confidence"] = by_confidence(*pooled(images))
    command = "python benchmarks/confidence.py stage1_train.zip --splits splits.csv"
    keep("confidence", command + (" --model MODEL" if arguments.model else ""), tables)


def by_confidence(confidence: Floats, matched: Bools) -> list[dict[str, object]]:
    """A row a bin that holds nuclei."""
    rows: list[dict[str, object]] = []
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    for number in np.unique(bins):
        inside = bins == number
        means = {"mean confidence": float(confidence[inside].mean()), "matched": float(matched[inside].mean())}
        rows.append(
            {"confidence": f"{number / BINS:.1f} to {(number + 1) / BINS:.1f}", "found": int(inside.sum()), **means}
        )
    return rows


if __name__ == "__main__":
    main()
