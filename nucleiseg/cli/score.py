"""``nucleiseg score``: how good are labels, whoever made them? No model, no TensorFlow."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg._progress import progress
from nucleiseg.cli.arguments import add_max_pixels, add_score_output, check_score_output
from nucleiseg.cli.terminal import say
from nucleiseg.errors import DatasetError, InvalidInputError

if TYPE_CHECKING:
    from nucleiseg.instances import InstanceCounts

_LABELS = "_labels"
# What predict writes beside <stem>_labels.tif, and for a whole folder.
_BESIDE_LABELS = ("_mask", "_overlay", "_colours", "_imagej_labels", "_labels.ome")
_OF_FOLDER = ("contact_sheet", "histograms")


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "score",
        help="compare two folders of label images",
        description="Compare two folders of label images (PNG or TIFF, 0 background, one number a nucleus). Files "
        "belong together where their names are the same, less their suffixes and endings such as _labels. Pictures and "
        "exports that predict wrote beside labels do not count.",
    )
    parser.add_argument("truth", metavar="TRUTH", type=Path, help="folder of true labels")
    parser.add_argument("prediction", metavar="PREDICTION", type=Path, help="folder of predicted labels")
    add_max_pixels(parser)
    add_score_output(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Match every pair of files and print the scores."""
    check_score_output(arguments)
    pairs = pair_labels(arguments.truth, arguments.prediction)

    from nucleiseg.inference.evaluation import Evaluation, ImageScore

    evaluation = Evaluation(
        [
            ImageScore(name, "", _compare(truth, prediction, arguments.max_pixels))
            for name, (truth, prediction) in progress(pairs.items(), "scoring", len(pairs))
        ]
    )
    if arguments.per_image is not None:
        evaluation.write_per_image(arguments.per_image)
    text = json.dumps(evaluation.to_dict()["all"], indent=2) if arguments.json else str(evaluation)
    say(text, asked=arguments.json)
    return 0


def pair_labels(truth: Path, prediction: Path) -> dict[str, tuple[Path, Path]]:
    """The files of two folders that have the same name, by this name.

    Pictures and exports that `nucleiseg predict` wrote beside labels are left out.

    Raises
    ------
    DatasetError
        If a folder is missing or empty, a file has no partner, or several files of a folder have one name.
    """
    true_files, predicted_files = _label_files(truth), _label_files(prediction)
    lonely = [
        f"{', '.join(path.name for path in alone)} {'has' if len(alone) == 1 else 'have'} no {what}"
        for one, other, what in ((true_files, predicted_files, "prediction"), (predicted_files, true_files, "truth"))
        if (alone := [path for name, path in one.items() if name not in other])
    ]
    if lonely:
        raise DatasetError(
            f"{truth} and {prediction}: each file needs one of the same name in the other folder (suffix and an ending "
            f"{_LABELS} apart), but {'; '.join(lonely)}; add what is missing, or move these files elsewhere"
        )
    return {name: (path, predicted_files[name]) for name, path in true_files.items()}


def _label_files(folder: Path) -> dict[str, Path]:
    from nucleiseg.datasets.paired import label_name, list_images

    paths = list_images(folder)
    stems = {path.stem for path in paths}
    files: dict[str, Path] = {}
    for path in paths:
        if _is_by_product(path.stem, stems):
            continue
        name = label_name(path)
        if name in files:
            raise DatasetError(
                f"{folder}: {files[name].name} and {path.name} have one name, suffix and an ending {_LABELS} apart; "
                "keep one of them there"
            )
        files[name] = path
    return files


def _is_by_product(stem: str, stems: set[str]) -> bool:
    """Whether `nucleiseg predict` wrote it beside labels that are there too."""
    if stem in _OF_FOLDER:
        return any(other.endswith(_LABELS) for other in stems)
    return any(stem.endswith(end) and stem.removesuffix(end) + _LABELS in stems for end in _BESIDE_LABELS)


def _compare(truth: Path, prediction: Path, max_pixels: int) -> InstanceCounts:
    from nucleiseg.images.reading import read_labels
    from nucleiseg.instances import match

    labels = read_labels(truth, max_pixels=max_pixels), read_labels(prediction, max_pixels=max_pixels)
    try:
        return match(*labels)
    except InvalidInputError as error:
        raise DatasetError(f"{truth} and {prediction}: {error}") from error
