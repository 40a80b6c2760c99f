"""The heads side by side: same encoder, same schedule, same data, thresholds tuned on `val`, scored on `test`.

    python benchmarks/heads.py stage1_train.zip --splits splits.csv --folder trained [--only contact]

A head is trained once; its model, its history and the state of an interrupted training are kept in the folder. "Images
that touch" are those where at least a tenth of the nuclei touch another one. "Touching nuclei" leaves out all others:
the true nuclei that touch another, against the predicted nuclei that overlap one of them more than any other nucleus.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from exact import EXACT
from intervals import by_group, of_counts
from results import keep, kept

from nucleiseg import Segmenter, datasets
from nucleiseg.datasets import Sample
from nucleiseg.inference import Prediction
from nucleiseg.instances import InstanceCounts, count_overlap, find_touching, match
from nucleiseg.training import FitOptions

HEADS = ("semantic", "boundary", "distance", "contact")
OPTIONS = FitOptions(crop=(192, 192), balance="modality", frozen_epochs=3, fine_tune_rate=6e-4, patience=1000)


def trained(head: str, folder: Path, train: datasets.Dataset, val: datasets.Dataset, epochs: int) -> Segmenter:
    """The model of a head: from the folder, or trained now."""
    path = folder / f"{head}.keras"
    if not path.exists():
        segmenter = Segmenter("mobilenet_v2", "imagenet", head)
        history = segmenter.fit(train, val, epochs, OPTIONS, checkpoint=folder / head, resume=True)
        history.to_csv(folder / f"{head}.csv")
        segmenter.save(path)
    return Segmenter.load(path)


def only_touching(truth: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> InstanceCounts:
    """What is counted where only true nuclei that touch another matter."""
    hard = find_touching(truth)
    overlap = count_overlap(truth, predicted)
    order = np.argsort(overlap.shared, kind="stable")  # so that the largest overlap of each nucleus is written last
    partner = np.zeros(overlap.predicted_labels.size, truth.dtype)
    partner[overlap.predicted_index[order]] = overlap.truth_labels[overlap.truth_index[order]]
    theirs = overlap.predicted_labels[np.isin(partner, hard)]
    return match(np.where(np.isin(truth, hard), truth, 0), np.where(np.isin(predicted, theirs), predicted, 0))


def scores(segmenter: Segmenter, test: datasets.Dataset) -> dict[str, object]:
    """One column of the table."""
    cases = []

    def watch(sample: Sample, found: Prediction) -> None:
        cases.append((sample.labels, found.labels))

    evaluation = segmenter.evaluate(test, EXACT, watch=watch)
    numbers, groups = evaluation.to_dict(), by_group(evaluation)
    touching = [(truth, found) for truth, found in cases if 10 * find_touching(truth).size >= len(np.unique(truth)) - 1]
    touching = [(truth, found) for truth, found in touching if truth.any()]
    crowded = [match(truth, found) for truth, found in touching]
    alone = [only_touching(truth, found) for truth, found in touching]
    nuclei, nuclei_alone = (sum(image.nuclei for image in counts) for counts in (crowded, alone))
    where = f"the {len(touching)} images where nuclei touch ({nuclei:,} nuclei)"
    column: dict[str, object] = {f"AP at IoU .5, all {len(cases)} images": groups["all"]["ap50"]}
    column |= {
        f"… {name} ({numbers[name]['images']})": group["ap50"] for name, group in groups.items() if name != "all"
    }
    column |= {
        f"AP at IoU .5, {where}": of_counts(crowded)["ap50"],
        f"AP at IoU .5, their {nuclei_alone:,} touching nuclei alone": of_counts(alone)["ap50"],
        "merges in these images": sum(image.errors.merges for image in crowded),
        "DSB2018 score, all": groups["all"]["dsb"],
        "mean Dice, all": groups["all"]["mean_dice"],
    }
    return column


def stored() -> dict[str, dict[str, object]]:
    """The columns of an earlier run."""
    rows = kept("heads")[""]
    return {head: {row["on test"]: row[head] for row in rows} for head in HEADS if head in rows[0]}


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a dataset that nucleiseg.datasets.read understands, such as stage1_train.zip")
    parser.add_argument("--splits", required=True, help="CSV with image_id, split and modality")
    parser.add_argument("--folder", type=Path, required=True, help="where trained models are kept")
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--only", nargs="+", default=HEADS, choices=HEADS, help="keep the stored columns of others")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    data = datasets.read(arguments.data).prepare()
    train, val, test = data.split_by(arguments.splits)
    columns = {} if set(arguments.only) == set(HEADS) else stored()
    for head in arguments.only:
        segmenter = trained(head, arguments.folder, train, val, arguments.epochs)
        segmenter.optimize_thresholds(val)
        minutes = pd.read_csv(arguments.folder / f"{head}.csv")["seconds"].sum() / 60
        columns[head] = {**scores(segmenter, test), "minutes of training": f"{minutes:.1f}"}
        logging.info("%s: %s", head, columns[head])
    heads = [head for head in HEADS if head in columns]
    rows = [{"on test": name, **{head: columns[head][name] for head in heads}} for name in columns[heads[0]]]
    keep("heads", "python benchmarks/heads.py stage1_train.zip --splits splits.csv --folder trained", {"": rows})


if __name__ == "__main__":
    main()
