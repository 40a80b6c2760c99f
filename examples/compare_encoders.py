"""Train the same U-Net on several encoders by the same schedule, and compare them in a table.

    python examples/compare_encoders.py my_images mobilenet_v2 efficientnet_b0 resnet50 -o comparison

What is in the output folder is not done again: after an interruption, or with one more encoder, the same command goes
on. Scores are those of the test images; they are one seed's, so repeat with --seed before you believe a small lead.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import pandas as pd

from nucleiseg import Segmenter, datasets, list_encoders
from nucleiseg.training import FitOptions

SCORES = ["dsb", "ap50", "ap75", "mean_dice"]


def compare(encoder: str, data: datasets.Dataset, folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Train with one encoder; returns its row of the table."""
    train, val, test = data.split(0.6, 0.2, 0.2, seed=arguments.seed)
    weights = None if arguments.weights == "none" else arguments.weights
    segmenter = Segmenter(encoder, weights, arguments.head, seed=arguments.seed)
    options = FitOptions(crop=(arguments.crop, arguments.crop), batch_size=min(8, len(train)))
    history = segmenter.fit(train, val, arguments.epochs, options, folder / f"{encoder}_checkpoint", resume=True)
    history.plot(folder / f"{encoder}_curves.png")
    segmenter.optimize_thresholds(val)
    segmenter.save(folder / f"{encoder}.keras")

    segmenter.predict(test[0].image)  # the first call is slow, whatever the encoder
    start = time.perf_counter()
    scores = segmenter.evaluate(test).to_dict()["all"]
    seconds = time.perf_counter() - start
    return {
        "encoder": encoder,
        "parameters": segmenter.model.count_params(),
        "best_epoch": history.best_epoch,
        **{name: scores[name] for name in SCORES},
        "seconds_per_image": seconds / len(test),
    }


def main() -> None:
    """Compare all encoders that have no result yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="images with labels, in any layout of docs/training.md")
    parser.add_argument("encoders", nargs="+", choices=list_encoders(), metavar="NAME", help="of `nucleiseg encoders`")
    parser.add_argument("-o", "--output", type=Path, default=Path("comparison"))
    parser.add_argument("--weights", default="imagenet", help="imagenet or none")
    parser.add_argument("--head", default="distance")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--crop", type=int, default=256, help="height and width of the crops, a multiple of 32")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)

    # Rows of different schedules in one table would compare nothing.
    schedule = {name: value for name, value in vars(arguments).items() if name not in ("encoders", "output")}
    kept = folder / "schedule.json"
    if kept.exists() and json.loads(kept.read_text()) != schedule:
        parser.error(f"{folder} holds results of another schedule, {kept.read_text()}; choose another --output")
    kept.write_text(json.dumps(schedule))

    data = datasets.read(arguments.data)
    rows = []
    for encoder in arguments.encoders:
        done = folder / f"{encoder}.json"
        if done.exists():
            print(f"{encoder}: has a result already")
        else:
            row = compare(encoder, data, folder, arguments)
            done.with_suffix(".part").write_text(json.dumps(row, indent=2))
            done.with_suffix(".part").replace(done)  # complete, or not there
            shutil.rmtree(folder / f"{encoder}_checkpoint")
        rows.append(json.loads(done.read_text()))

    table = pd.DataFrame(rows).set_index("encoder").sort_values("dsb", ascending=False)
    table.to_csv(folder / "comparison.csv")
    print(table.round(3).to_string())
    print(folder / "comparison.csv")


if __name__ == "__main__":
    main()
