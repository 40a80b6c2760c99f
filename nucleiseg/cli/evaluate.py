"""``nucleiseg evaluate``: how good is a model on labelled images?"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
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
    check_splits,
    check_writable,
    import_engine,
    predict_options,
    read_data,
)
from nucleiseg.cli.further_files import check_own
from nucleiseg.cli.stems import unique_stems
from nucleiseg.cli.terminal import say
from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    from nucleiseg.datasets import Dataset, Sample
    from nucleiseg.inference import Prediction, PredictOptions


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
        check_writable(arguments.pictures)
    if arguments.split is not None and arguments.splits is None:
        raise InvalidInputError("--split needs --splits, the table that says which image belongs to which split")
    check_splits(arguments.splits)
    _check_pixel_size(options)
    pixel_size = options.reading.pixel_size
    data = read_data(arguments.data, arguments.labels, replace(options.reading, pixel_size=None))
    options = replace(options, reading=ReadOptions(pixel_size=pixel_size))  # by the others the data is read already
    pictures = _picture_names(data.ids)  # of all splits, so that one drawn later takes no name of another
    if arguments.splits is not None:
        data = data.with_metadata(arguments.splits)
    if arguments.split is not None:
        data = _select(data, arguments.split, arguments.splits)

    watch = None
    if arguments.pictures is not None:
        check_own(arguments.pictures, [pictures[name] for name in data.ids])
        watch = _Painter(arguments.pictures, pictures, options.remove_edge)

    from nucleiseg.datasets.doctor import warn_about_errors

    warn_about_errors(data, semantic=False, what="the data")
    import_engine(model)
    from nucleiseg.segmenter import Segmenter

    scores = Segmenter.load(model).evaluate(data.prepare(), options, watch=watch)
    text = json.dumps(scores.to_dict(), indent=2) if arguments.json else str(scores)
    say(text, asked=arguments.json)  # first, as the disk may be full by now
    if arguments.per_image is not None:
        scores.write_per_image(arguments.per_image)
    return 0


def _check_pixel_size(options: PredictOptions) -> None:
    """A diameter in µm needs the size of a pixel, which samples of a dataset do not tell."""
    size, level = options.reading.pixel_size, options.reading.level
    if options.diameter_um is None:
        return
    if size is None:
        raise InvalidInputError(
            "--diameter-um needs --pixel-size, since datasets keep no sizes of a pixel, got none; "
            "add it, or give --diameter in pixels"
        )
    if level:
        raise InvalidInputError(
            "--diameter-um needs images of the full size, whose pixels --pixel-size is for, since datasets keep no "
            f"sizes of a pixel, got --level {level}; give --diameter in pixels"
        )


def _select(data: Dataset, split: str, splits: str) -> Dataset:
    """The images of one split."""
    from nucleiseg._checks import check_choice

    names = {name: str(row.get("split", "")) for name, row in zip(data.ids, data.metadata, strict=True)}
    check_choice(split, f"split in {splits}", {*names.values()} - {""})
    return data.select([name for name, its_split in names.items() if its_split == split])


class _Painter:
    """Draws the errors of one image after the other."""

    def __init__(self, folder: Path, names: Mapping[str, str], only_whole: bool) -> None:
        self._folder = folder
        self._names = names
        self._only_whole = only_whole

    def __call__(self, sample: Sample, found: Prediction) -> None:
        from nucleiseg.plotting import plot_errors

        path = self._folder / self._names[sample.id]
        pair = sample.labels, found.labels
        if self._only_whole:  # the same errors as in the scores
            from nucleiseg.instances.whole import only_whole

            pair = only_whole(*pair)
        plot_errors(sample.image, *pair, path, title=sample.id)


def _picture_names(ids: Sequence[str]) -> dict[str, str]:
    """The file name of each sample's picture; ids may hold slashes, and some may differ in such characters alone."""
    stems = unique_stems([Path(re.sub(r"[^\w.-]+", "_", name) + ".png") for name in ids])
    return {name: f"{stem}_errors.png" for name, stem in zip(ids, stems, strict=True)}
