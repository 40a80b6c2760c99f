"""``nucleiseg fine-tune``: a trained model and a few labelled images in; a better model out, or none."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg.cli.arguments import (
    DATA_HELP,
    add_read_options,
    check_new_model,
    check_splits,
    check_start,
    is_model_file,
    read_data,
    read_options,
)
from nucleiseg.cli.terminal import complain, import_tensorflow_quietly, say

if TYPE_CHECKING:
    from nucleiseg.datasets import Dataset
    from nucleiseg.fine_tuning import FineTuning


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "fine-tune",
        help="move a model towards a few images of yours",
        description="Train a model further on 5 to 50 labelled images, and compare it with what it was on images that "
        "were held out. Where it is not better, nothing is written, and the exit status is 1. Beside the model: "
        "<stem>_history.csv, <stem>_curves.png.",
    )
    parser.add_argument("data", help=DATA_HELP)
    parser.add_argument("-o", "--output", required=True, metavar="MODEL", type=Path, help="the .keras file to write")
    parser.add_argument(
        "--start", default="nuclei", metavar="NAME|PATH", help="shipped model or .keras file to go on from [nuclei]"
    )
    parser.add_argument("--labels", metavar="FOLDER", help="label images, where DATA is a folder of images")
    parser.add_argument(
        "--splits",
        metavar="CSV",
        help="columns image_id and split: learned from (train), chosen by (val), held out (test) [random 3:1:1]",
    )
    parser.add_argument(
        "--reference",
        metavar="DATA",
        help="labelled images of the kind that must not be forgotten: two fifths are learned from too, a fifth "
        "helps to choose thresholds, two fifths are held out",
    )
    parser.add_argument(
        "--tolerance", type=float, default=0.02, metavar="AP", help="the score of those may fall by so much [0.02]"
    )
    parser.add_argument("--epochs", type=int, default=30, metavar="N", help="at most [30]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides the random split [0]")
    parser.add_argument(
        "--learning-curve", action="store_true", help="would more images help? takes three times as long"
    )
    parser.add_argument("--even-if-worse", action="store_true", help="write the tuned model in any case")
    parser.add_argument("--half", action="store_true", help="save 16-bit weights, half the size")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    add_read_options(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Tune, compare, print, and write the model if it is better."""
    from nucleiseg._checks import check_count, check_range
    from nucleiseg.fine_tuning.own_images import OwnImages, split_own, split_reference

    output: Path = arguments.output
    check_new_model(output)
    check_start(arguments.start)
    check_count(arguments.epochs, "epochs")
    check_range(arguments.tolerance, "tolerance", 0, 1)
    check_count(arguments.seed, "seed", 0)
    check_splits(arguments.splits)
    reading = read_options(arguments)
    data = read_data(arguments.data, arguments.labels, reading)
    own: Dataset | tuple[Dataset, Dataset, Dataset] = data
    if arguments.splits is None:
        split_own(data, arguments.seed)
    else:
        own = data.split_by(arguments.splits)
        OwnImages(*own)
    reference = None if arguments.reference is None else read_data(arguments.reference, None, reading)
    if reference is not None:
        split_reference(reference, arguments.seed)

    import_tensorflow_quietly()
    from nucleiseg.fine_tuning import fine_tune
    from nucleiseg.segmenter import Segmenter

    start: str = arguments.start
    segmenter = Segmenter.load(start) if is_model_file(start) else Segmenter.from_pretrained(start)
    for each in (data, reference):
        if each is not None:
            each.prepare()
    found = fine_tune(
        segmenter,
        own,
        reference,
        arguments.epochs,
        tolerance=arguments.tolerance,
        seed=arguments.seed,
        curve=arguments.learning_curve,
    )
    say(json.dumps(found.to_dict(), indent=2) if arguments.json else str(found), asked=arguments.json)
    if not found.is_better and not arguments.even_if_worse:
        complain(f"{output} was not written, since the tuned model is not better; --even-if-worse writes it")
        return 1
    saved = _saved(found, output, arguments.half)
    if saved != output:
        return 1
    written = [
        saved,
        found.history.to_csv(output.with_name(f"{output.stem}_history.csv")),
        found.history.plot(output.with_name(f"{output.stem}_curves.png")),
    ]
    if not arguments.json:
        say("\n".join(map(str, written)))
    return 0


def _saved(found: FineTuning, output: Path, half: bool) -> Path:
    """Where the tuned model is: a temporary folder, with a complaint, if it can't be written where it should be."""
    try:
        return found.tuned.save(output, half=half)
    except OSError as error:
        folder = Path(tempfile.mkdtemp(prefix="nucleiseg_"))
        try:
            refuge = found.tuned.save(folder / output.name, half=half)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise error from None
        reason = error.strerror or error
        complain(f"{output} could not be written ({reason}); the tuned model is in {refuge}, move it from there")
        return refuge
