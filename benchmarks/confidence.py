"""Does the confidence of nuclei mean what it says? Calibrated on `val`, looked at on `test`.

    python benchmarks/confidence.py stage1_train.zip --splits splits.csv

A nucleus is matched if a true one covers it with an IoU of at least .5. The expected calibration error is the mean
distance, over ten bins of confidence weighted by their nuclei, between the mean confidence and the share that is
matched [1]; the AUROC is the chance that a matched nucleus has more confidence than a false one. Both are told of all
nuclei that are found, and of those that are left where nothing is asked for: the surer ones are harder to tell apart.

[1] C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

import argparse
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import numpy.typing as npt
from results import keep
from scipy.stats import rankdata

from nucleiseg import PredictOptions, Segmenter, datasets
from nucleiseg.instances import assign, count_overlap, match
from nucleiseg.pretrained import list_pretrained, pretrained_path

BINS = 10
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def judged(segmenter: Segmenter, data: datasets.Dataset, options: PredictOptions) -> tuple[Floats, Bools, float]:
    """Confidence of the nuclei that are found, which of them are matched, and the average precision at IoU .5."""
    confidences, matches, counts = [], [], []
    for sample in data:
        found = segmenter.predict(sample.image, options)
        counts.append(match(sample.labels, found.labels))
        overlap = count_overlap(sample.labels, found.labels)
        pairs = assign(overlap, 0.5)
        numbers = overlap.predicted_labels[overlap.predicted_index[pairs]]
        confidences.append(np.asarray(found.confidence, float))
        matches.append(np.isin(np.arange(1, len(confidences[-1]) + 1), numbers))
    return np.concatenate(confidences), np.concatenate(matches), reduce(add, counts).average_precision(0.5)


def calibration_error(confidence: Floats, matched: Bools) -> float:
    """Expected calibration error, in [0, 1]."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    sums = (np.bincount(bins, values, BINS) for values in (confidence, matched.astype(float)))
    return float(np.abs(np.subtract(*sums)).sum() / len(confidence))


def area_under_curve(confidence: Floats, matched: Bools) -> float:
    """AUROC by the ranks of the matched (Mann and Whitney); ties count half."""
    hits = int(matched.sum())
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
                confidence, matched, precision = judged(segmenter, data, PredictOptions(min_confidence=least))
                summary.append(
                    {
                        "model": model.stem,
                        "split": name,
                        "nuclei": f"from {segmenter.thresholds.get('min_confidence', 0)}" if least is None else "all",
                        "found": len(matched),
                        "matched": float(matched.mean()),
                        "AP at IoU .5": precision,
                        "expected calibration error": calibration_error(confidence, matched),
                        "AUROC": area_under_curve(confidence, matched),
                    }
                )
        tables[f"{model.stem} on test, by confidence"] = by_confidence(confidence, matched)
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
