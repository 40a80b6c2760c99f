"""Does transfer learning pay? The founding U-Net from ImageNet's weights and from random ones, for equal minutes.

    python benchmarks/initialisation.py stage1_train.zip --splits splits.csv --folder trained [--minutes 3.5]

MobileNetV2 and EfficientNet-Lite0 (`examples/efficientnet_lite.py`, which says where its weights come from) with the
pix2pix path and the head `semantic`, on crops of 128 x 128 pixels as in the founding document. A way is trained once;
its model, its history and the state of an interrupted training are kept in the folder. Thresholds are tuned on `val`,
scores are those of `test`.

Each way of MobileNetV2 gets as many epochs as fit into the minutes on this machine, by the seconds of an epoch measured
first, so that its rate falls to nearly nothing at its end. EfficientNet-Lite0 gets the epochs of the same way of
MobileNetV2 times the ratio of the processor's seconds that an epoch takes, measured in turns: that stays fair where
other programs run, too.
Epochs that were planned stand in the folder, in a file beside each model, and are taken from there.

With --only, those ways are trained and scored whose names hold one of the words. The rows of the others stay as an
earlier run left them.
"""

from __future__ import annotations

import argparse
import logging
import runpy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from exact import EXACT
from intervals import by_group
from results import keep, kept

from nucleiseg import Segmenter, datasets, list_encoders
from nucleiseg.training import FitOptions

Row = dict[str, object]
OPTIONS = FitOptions(crop=(128, 128), balance="modality", fine_tune_rate=6e-4, patience=1000)


@dataclass(frozen=True)
class Start:
    """An encoder, the weights that it begins with, and the share of the epochs in which it stays as it is."""

    encoder: str
    weights: str | None
    frozen: float
    like: str | None = None  # the way whose minutes it gets

    def options(self, epochs: int) -> FitOptions:
        """Of a training of so many epochs."""
        return replace(OPTIONS, frozen_epochs=round(epochs * self.frozen))

    def segmenter(self) -> Segmenter:
        """Before training."""
        if self.encoder not in list_encoders():
            runpy.run_path(str(EXAMPLE))
        return Segmenter(self.encoder, self.weights, "semantic")


_WAYS = {"random": (None, 0), "ImageNet, frozen": ("imagenet", 1), "ImageNet, then all weights": ("imagenet", 0.2)}
STARTS = {
    **{f"MobileNetV2, {way}": Start("mobilenet_v2", *start) for way, start in _WAYS.items()},
    **{
        f"EfficientNet-Lite0, {way}": Start("efficientnet_lite0", *start, like=f"MobileNetV2, {way}")
        for way, start in _WAYS.items()
    },
}
FOUNDING, MINUTES = "MobileNetV2, ImageNet, frozen", 3.5
EXAMPLE = Path(__file__).parents[1] / "examples" / "efficientnet_lite.py"
_SOUNDING = 3  # epochs; the last of them holds no compiling
_ROUNDS, _FEW = 3, 160  # of MobileNetV2 and EfficientNet-Lite0 in turns, on so many images


def affordable(start: Start, train: datasets.Dataset, val: datasets.Dataset, minutes: float) -> int:
    """How many epochs fit into the minutes."""
    history = start.segmenter().fit(train, val, _SOUNDING, start.options(_SOUNDING))
    return max(2, round(60 * minutes / float(history.rows[-1]["seconds"])))


def relative_cost(start: Start, other: Start, train: datasets.Dataset, val: datasets.Dataset) -> float:
    """How many epochs of the other way cost as much as one of this way: the median of rounds."""
    few = train[:_FEW], val[:_FEW]
    ratios = [processor_seconds(start, *few) / processor_seconds(other, *few) for _ in range(_ROUNDS)]
    logging.info("an epoch with %s costs as much as %s of %s", start, ratios, other)
    return statistics.median(ratios)


def processor_seconds(start: Start, train: datasets.Dataset, val: datasets.Dataset) -> float:
    """Of an epoch, all cores together: other programs change them less than those of the clock."""
    seen: list[float] = []
    options = start.options(_SOUNDING)
    start.segmenter().fit(train, val, _SOUNDING, options, watch=lambda _: seen.append(time.process_time()))
    return seen[-1] - seen[-2]


def planned(name: str, folder: Path, train: datasets.Dataset, val: datasets.Dataset, minutes: float) -> int:
    """The epochs of a way, from the folder or measured now."""
    path, start = path_of(name, folder).with_suffix(".epochs"), STARTS[name]
    if not path.exists():
        if start.like is None:
            epochs = affordable(start, train, val, minutes)
        else:
            others = planned(start.like, folder, train, val, minutes)
            epochs = max(2, round(others / relative_cost(start, STARTS[start.like], train, val)))
        path.write_text(str(epochs), encoding="utf-8")
    return int(path.read_text(encoding="utf-8"))


def path_of(name: str, folder: Path) -> Path:
    """Of the model of a way."""
    return folder / f"{name.replace(', ', '_').replace(' ', '_')}.keras"


def trained(
    name: str, folder: Path, train: datasets.Dataset, val: datasets.Dataset, minutes: float
) -> tuple[Segmenter, pd.DataFrame]:
    """The model of a way to start, from the folder or trained now, and its history."""
    path = path_of(name, folder)
    log = path.with_suffix(".csv")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        epochs = planned(name, folder, train, val, minutes)
        start = STARTS[name]
        segmenter = start.segmenter()
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
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="WORD", help="train and score ways of such names only"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train, val, test = datasets.read(arguments.data).prepare().split_by(arguments.splits)
    rows: list[Row] = []
    for name in (name for name in STARTS if any(word in name for word in arguments.only)):
        segmenter, history = trained(name, arguments.folder, train, val, arguments.minutes)
        scores = by_group(segmenter.evaluate(test, EXACT))["all"]
        rows.append(
            {
                "start": name,
                "epochs": len(history),
                "minutes": "as MobileNetV2" if STARTS[name].like else f"{history['seconds'].sum() / 60:.1f}",
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
        {"": rows if arguments.only == [""] else completed(rows)},
    )


def completed(rows: Sequence[Row]) -> list[Row]:
    """With the stored rows of ways that were not measured now."""
    (stored,) = kept("initialisation").values()
    by_start = {row["start"]: row for row in (*stored, *rows)}
    return [by_start[name] for name in STARTS if name in by_start]


def first_epoch(history: pd.DataFrame, dice: float = 0.85) -> str:
    """Of those that reach a Dice coefficient on val."""
    reached = history.loc[history["val_dice"] >= dice, "epoch"]
    return str(int(reached.iloc[0])) if len(reached) else "never"


if __name__ == "__main__":
    main()
