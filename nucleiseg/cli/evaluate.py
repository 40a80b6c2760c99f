"""``nucleiseg evaluate``: how good is a model on labelled images?"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg.cli.arguments import (
    DATA_HELP,
    add_model,
    add_predict_options,
    add_score_output,
    check_folder,
    check_model,
    check_score_output,
    import_engine,
    predict_options,
    read_data,
)
from nucleiseg.cli.further_files import check_own
from nucleiseg.cli.terminal import say
from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    from nucleiseg.datasets import Dataset, Sample
    from nucleiseg.inference import Prediction


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser("evaluate", help="compare what a model finds with the truth")
    parser.add_argument("data", help=DATA_HELP)
    parser.add_argument("--labels", metavar="FOLDER", help="label images, where DATA is a folder of images")
    add_model(parser)
    parser.add_argument("--splits", metavar="CSV", help="a table with the columns image_id and split")
    parser.add_argument("--split", metavar="NAME", help="evaluate only this split, e.g. test")
    add_score_output(parser)
    parser.add_argument(
        "--pictures", metavar="FOLDER", type=Path, help="also draw <id>_errors.png: found, false and missed nuclei"
    )
    add_predict_options(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Predict every image and print the scores, per modality where the data knows it."""
    from nucleiseg.images.read_options import ReadOptions

    options = predict_options(arguments)
    check_score_output(arguments)
    model = check_model(arguments.model)
    if arguments.pictures is not None:
        check_folder(arguments.pictures)
    if arguments.split is not None and arguments.splits is None:
        raise InvalidInputError("--split needs --splits, the table that says which image belongs to which split")
    data = read_data(arguments.data, arguments.labels, options.reading)
    options = replace(options, reading=ReadOptions())  # the data is read by them already
    if arguments.splits is not None:
        data = data.with_metadata(arguments.splits)
    if arguments.split is not None:
        data = _select(data, arguments.split, arguments.splits)

    watch = None
    if arguments.pictures is not None:
        check_own(arguments.pictures, [_picture_name(name) for name in data.ids])
        watch = _Painter(arguments.pictures)

    import_engine(model)
    from nucleiseg.segmenter import Segmenter

    scores = Segmenter.load(model).evaluate(data.prepare(), options, watch=watch)
    if arguments.per_image is not None:
        scores.write_per_image(arguments.per_image)
    say(json.dumps(scores.to_dict(), indent=2) if arguments.json else str(scores), asked=arguments.json)
    return 0


def _select(data: Dataset, split: str, splits: str) -> Dataset:
    """The images of one split."""
    from nucleiseg._checks import check_choice

    names = {name: str(row.get("split", "")) for name, row in zip(data.ids, data.metadata, strict=True)}
    check_choice(split, f"split in {splits}", {*names.values()} - {""})
    return data.select([name for name, its_split in names.items() if its_split == split])


class _Painter:
    """Draws the errors of one image after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, sample: Sample, found: Prediction) -> None:
        from nucleiseg.plotting import plot_errors

        path = self._folder / _picture_name(sample.id)
        plot_errors(sample.image, sample.labels, found.labels, path, title=sample.id)


def _picture_name(sample: str) -> str:
    return re.sub(r"[^\w.-]+", "_", sample) + "_errors.png"  # ids may hold slashes
