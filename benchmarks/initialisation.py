"""Does transfer learning pay? The founding U-Net from ImageNet's weights and from random ones, for equal minutes.

    python benchmarks/initialisation.py stage1_train.zip --splits splits.csv --folder trained [--minutes 3.5]

MobileNetV2 with the pix2pix path and the head `semantic`, on crops of 128 x 128 pixels as in the founding document.
Each way gets as many epochs as fit into the minutes on this machine, by the seconds of an epoch measured first, so that
its rate falls to nearly nothing at its end. A way is trained once; its model, its history and the state of an
interrupted training are kept in the folder. Thresholds are tuned on `val`, scores are those of `test`.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from intervals import by_group
from results import keep

from nucleiseg import Segmenter, datasets
from nucleiseg.training import FitOptions

OPTIONS = FitOptions(crop=(128, 128), balance="modality", fine_tune_rate=6e-4, patience=1000)


@dataclass(frozen=True)
class Start:
    """An encoder, the weights that it begins with, and the share of the epochs in which it stays as it is."""

    encoder: str
    weights: str | None
    frozen: float

    def options(self, epochs: int) -> FitOptions:
        """Of a training of so many epochs."""
        return replace(OPTIONS, frozen_epochs=round(epochs * self.frozen))


STARTS = {
    "random": Start("mobilenet_v2", None, 0),
    "ImageNet, frozen": Start("mobilenet_v2", "imagenet", 1),
    "ImageNet, then all weights": Start("mobilenet_v2", "imagenet", 0.2),
}
FOUNDING, MINUTES = "ImageNet, frozen", 3.5
_SOUNDING = 3  # epochs; the last of them holds no compiling


def affordable(start: Start, train: datasets.Dataset, val: datasets.Dataset, minutes: float) -> int:
    """How many epochs fit into the minutes."""
    segmenter = Segmenter(start.encoder, start.weights, "semantic")
    history = segmenter.fit(train, val, _SOUNDING, start.options(_SOUNDING))
    return max(2, round(60 * minutes / float(history.rows[-1]["seconds"])))


def trained(
    name: str, folder: Path, train: datasets.Dataset, val: datasets.Dataset, minutes: float
) -> tuple[Segmenter, pd.DataFrame]:
    """The model of a way to start, from the folder or trained now, and its history."""
    path = folder / f"{name.replace(', ', '_').replace(' ', '_')}.keras"
    log, planned = path.with_suffix(".csv"), path.with_suffix(".epochs")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        start = STARTS[name]
        if not planned.exists():
            planned.write_text(str(affordable(start, train, val, minutes)), encoding="utf-8")
        epochs = int(planned.read_text(encoding="utf-8"))
        segmenter = Segmenter(start.encoder, start.weights, "semantic")
        history = segmenter.fit(train, val, epochs, start.options(epochs), path.with_suffix(""), resume=True)
        segmenter.optimize_thresholds(val)
        history.to_csv(log)
        segmenter.save(path)
    return Segmenter.load(path), pd.read_csv(log)


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a dataset that nucleiseg.datasets.read understands, such as stage1_train.zip")
    parser.add_argument("--splits", required=True, help="CSV with image_id, split and modality")
    parser.add_argument("--folder", type=Path, required=True, help="where trained models are kept")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of each training")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train, val, test = datasets.read(arguments.data).prepare().split_by(arguments.splits)
    rows = []
    for name in STARTS:
        segmenter, history = trained(name, arguments.folder, train, val, arguments.minutes)
        scores = by_group(segmenter.evaluate(test))["all"]
        rows.append(
            {
                "start": name,
                "epochs": len(history),
                "minutes": f"{history['seconds'].sum() / 60:.1f}",
                "epochs to a Dice of .85 on val": first_epoch(history),
                "AP at IoU .5": scores["ap50"],
                "DSB2018 score": scores["dsb"],
                "mean Dice": scores["mean_dice"],
            }
        )
        logging.info("%s", rows[-1])
    keep(
        "initialisation",
        "python benchmarks/initialisation.py stage1_train.zip --splits splits.csv --folder trained",
        {"": rows},
    )


def first_epoch(history: pd.DataFrame, dice: float = 0.85) -> str:
    """Of those that reach a Dice coefficient on val."""
    reached = history.loc[history["val_dice"] >= dice, "epoch"]
    return str(int(reached.iloc[0])) if len(reached) else "never"


if __name__ == "__main__":
    main()
