"""Ways to draw crops, and averaged weights, side by side: a small network trained equally long, scored on `val`.

    python benchmarks/sampling.py stage1_train.zip --splits splits.csv --folder trained

The recipe is `nuclei-fast-first` with fewer epochs. A training keeps both its last weights and their running average,
in which each step keeps .998 of the average before. All thresholds are tuned on `val`; `test` is not looked at.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from exact import EXACT
from intervals import Indices, by_group, of_images
from results import keep

from nucleiseg import Segmenter, datasets
from nucleiseg.inference import Evaluation
from nucleiseg.instances import score_images
from nucleiseg.pretrained import pretrained_recipe
from nucleiseg.training.recipe import read_recipe

# What is changed in the options of the recipe. Another way was tried and dropped; commit ff88c4d has it: an option
# `crop_content=8` that drew images and places where nuclei meet more often.
WAYS: Mapping[str, Mapping[str, Any]] = {"anywhere": {}}
SCORES = {"ap50": "AP at IoU .5", "dsb": "DSB2018 score", "mean_dice": "mean Dice"}


def trained(
    way: str, seed: int, folder: Path, train: datasets.Dataset, val: datasets.Dataset, epochs: int
) -> dict[str, Segmenter]:
    """The last and the averaged weights of a way: from the folder, or trained now."""
    name = folder / f"{list(WAYS).index(way)}_{seed}"
    recipe = read_recipe(pretrained_recipe("nuclei-fast-first"))
    if not name.with_suffix(".keras").exists():
        segmenter = Segmenter(**{**recipe.network, "seed": seed})
        options = replace(recipe.options, averaging=0.998, **WAYS[way])
        segmenter.fit(train, val, epochs, options, checkpoint=name, resume=True).to_csv(name.with_suffix(".csv"))
        segmenter.save(name.with_suffix(".keras"))
    models = {weights: Segmenter.load(name.with_suffix(".keras")) for weights in ("last", "averaged")}
    with np.load(name / "last.npz") as state:
        values = [state[key] for key in sorted(state.files) if key.startswith("model_")]
    for variable, value in zip(models["last"].model.variables, values, strict=True):
        variable.assign(value)
    return models


def row(evaluation: Evaluation, **facts: object) -> dict[str, object]:
    """Scores of all images with their intervals, behind what tells the rows apart."""
    scores = by_group(evaluation, tuple(SCORES))["all"]
    return {**facts, **{title: scores[name] for name, title in SCORES.items()}}


def gain(before: Sequence[Evaluation], after: Sequence[Evaluation], **facts: object) -> dict[str, object]:
    """How much larger scores are after than before, the mean over pairs, with intervals over the same images."""

    def difference(name: str) -> str:
        def score(drawn: Indices) -> float:
            ends = [
                score_images([one.images[i].counts for i in drawn])[name] * sign
                for sign, ways in ((-1, before), (1, after))
                for one in ways
            ]
            return sum(ends) / len(before)

        return of_images(score, len(before[0].images), digits=3)

    return {**facts, **{title: difference(name) for name, title in SCORES.items()}}


def main() -> None:
    """Train what is not trained yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a dataset that nucleiseg.datasets.read understands, such as stage1_train.zip")
    parser.add_argument("--splits", required=True, help="CSV with image_id, split and modality")
    parser.add_argument("--folder", type=Path, required=True, help="where trained models are kept")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    train, val, _ = datasets.read(arguments.data).prepare().split_by(arguments.splits)
    found: dict[tuple[str, str], list[Evaluation]] = {}
    rows = []
    for seed in range(arguments.seeds):
        for way in WAYS:
            models = trained(way, seed, arguments.folder, train, val, arguments.epochs)
            for weights, segmenter in models.items():
                segmenter.optimize_thresholds(val)
                evaluation = segmenter.evaluate(val, EXACT)
                found.setdefault((way, weights), []).append(evaluation)
                rows.append(row(evaluation, crops=way, weights=weights, seed=seed))
                logging.info("%s", rows[-1])
    first, *others = WAYS
    gains = [
        gain(found[first, weights], found[way, weights], **{"gain of": way, "over": first, "weights": weights})
        for way in others
        for weights in ("last", "averaged")
    ]
    averaged = {"gain of": "averaged weights", "over": "last weights"}
    gains += [gain(found[way, "last"], found[way, "averaged"], **averaged, weights=way) for way in WAYS]
    tables = {"On val": rows, "Gains, means over the seeds": gains}
    command = "python benchmarks/sampling.py stage1_train.zip --splits splits.csv --folder trained"
    keep("sampling", f"{command} --epochs {arguments.epochs} --seeds {arguments.seeds}", tables)


if __name__ == "__main__":
    main()
