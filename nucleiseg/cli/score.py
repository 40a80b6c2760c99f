"""``nucleiseg score``: how good are labels, whoever made them? No model, no TensorFlow."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg._progress import progress
from nucleiseg.cli.arguments import add_max_pixels, add_score_output, check_score_output
from nucleiseg.cli.terminal import say, warn
from nucleiseg.errors import DatasetError, InvalidInputError

if TYPE_CHECKING:
    from nucleiseg._checks import Array
    from nucleiseg.instances import InstanceCounts

_LOGGER = logging.getLogger(__name__)

_NAMED = 3  # files
# Of an image that is taken for labels each grey value is in so many pieces, on average, if not in hundreds.
_PIECES_OF_GREY = 10


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "score",
        help="compare two folders of label images",
        description="Compare two folders of label images (PNG or TIFF, 0 background, one number a nucleus). Files "
        "belong together where their names are the same, less their suffixes and endings such as _labels. Pictures and "
        "exports that predict wrote beside labels do not count. Of a mask, with 0 and 1, 255 or 65535 only, each "
        "connected part is a nucleus.",
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

    masks = _Masks()
    pictures: list[str] = []
    evaluation = Evaluation(
        [
            ImageScore(name, "", _compare(truth, prediction, arguments.max_pixels, masks, pictures))
            for name, (truth, prediction) in progress(pairs.items(), "scoring", len(pairs))
        ]
    )
    masks.tell()
    if pictures:
        what = "look like images" if len(pictures) > 1 else "looks like an image"
        _tell(f"{_named(pictures)} {what} and not like labels: each number is in many pieces; pass folders of labels")
    text = json.dumps(evaluation.to_dict()["all"], indent=2) if arguments.json else str(evaluation)
    say(text, asked=arguments.json)  # first, as the disk may be full by now
    if arguments.per_image is not None:
        evaluation.write_per_image(arguments.per_image)
    return 0


def pair_labels(truth: Path, prediction: Path) -> dict[str, tuple[Path, Path]]:
    """The files of two folders that have the same name, by this name.

    Pictures and exports that `nucleiseg predict` wrote beside labels are left out.

    Raises
    ------
    DatasetError
        If a folder is missing or empty, a file has no partner, or several files of a folder have one name.
    """
    from nucleiseg.datasets.paired import find_two_labels

    true_files, predicted_files = find_two_labels(truth, prediction)
    lonely = [
        f"{', '.join(path.name for path in alone)} {'has' if len(alone) == 1 else 'have'} no {what}"
        for one, other, what in ((true_files, predicted_files, "prediction"), (predicted_files, true_files, "truth"))
        if (alone := [path for name, path in one.items() if name not in other])
    ]
    if lonely:
        raise DatasetError(
            f"{truth} and {prediction}: each file needs one of the same name in the other folder (suffix and an ending "
            f"_labels apart), but {'; '.join(lonely)}; add what is missing, or move these files elsewhere"
        )
    return {name: (path, predicted_files[name]) for name, path in true_files.items()}


@dataclass
class _Masks:
    """Files that are masks, and what became of them."""

    names: list[str] = field(default_factory=list)
    parts: int = 0

    def read(self, path: Path, max_pixels: int) -> Array:
        """Labels; those of a mask are its connected parts, as in a dataset."""
        from nucleiseg.datasets.paired import is_mask
        from nucleiseg.images.reading import read_labels
        from nucleiseg.instances import split_components

        labels = read_labels(path, max_pixels=max_pixels)
        if not is_mask(labels):
            return labels
        parts = split_components(labels != 0)
        count = int(parts.max())
        if count > 1:  # else it is one nucleus either way
            self.names.append(str(path))
            self.parts += count
        return parts

    def tell(self) -> None:
        """One line, on standard error, if there are any."""
        if not self.names:
            return
        what = f"are masks: their {self.parts:,}" if len(self.names) > 1 else f"is a mask: its {self.parts:,}"
        _tell(f"{_named(self.names)} {what} connected parts count as nuclei")


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _tell(text: str) -> None:
    _LOGGER.warning("%s", text)
    warn(text)


def _compare(truth: Path, prediction: Path, max_pixels: int, masks: _Masks, pictures: list[str]) -> InstanceCounts:
    """What is counted; ``pictures`` gets the files that are rather images."""
    from nucleiseg.instances import match

    labels = masks.read(truth, max_pixels), masks.read(prediction, max_pixels)
    try:
        counts = match(*labels)
    except InvalidInputError as error:
        raise DatasetError(f"{truth} and {prediction}: {error}") from error
    if counts.at(0.5).tp == 0:  # else they are labels, and nobody wants to wait
        found = zip((truth, prediction), labels, strict=True)
        pictures += [str(path) for path, values in found if _is_picture(values)]
    return counts


def _is_picture(labels: Array) -> bool:
    from nucleiseg.datasets.doctor.facts import measure_labels

    pieces = measure_labels(labels).pieces
    return pieces.size > 1 and float(pieces.mean()) > _PIECES_OF_GREY
