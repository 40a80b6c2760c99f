"""``nucleiseg train``: labelled images in; a model, its history and pictures out."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg.cli.arguments import DATA_HELP, read_data
from nucleiseg.cli.terminal import import_tensorflow_quietly, report, say
from nucleiseg.errors import InvalidInputError, TrainingError

if TYPE_CHECKING:
    from nucleiseg.datasets import Dataset
    from nucleiseg.plotting import History
    from nucleiseg.segmenter import Segmenter
    from nucleiseg.training import FitOptions


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="train a model on labelled images",
        description="Train a U-Net on a pretrained encoder. Beside the model: <stem>_history.csv, <stem>_curves.png, "
        "<stem>_unet.png, <stem>_encoder.png; <stem>_checkpoint while it runs.",
    )
    parser.add_argument("data", help=DATA_HELP)
    parser.add_argument("-o", "--output", required=True, metavar="MODEL", type=Path, help="the .keras file to write")
    parser.add_argument("--labels", metavar="FOLDER", help="label images, where DATA is a folder of images")
    parser.add_argument("--splits", metavar="CSV", help="columns image_id and split (train, val, test) [random 90:10]")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    network = parser.add_argument_group("network")
    network.add_argument(
        "--encoder", default="mobilenet_v2", metavar="NAME", help="see 'nucleiseg encoders' [mobilenet_v2]"
    )
    network.add_argument("--weights", default="imagenet", metavar="WHICH", help="imagenet, none, or a file [imagenet]")
    network.add_argument("--head", default="semantic", metavar="NAME", help="what is learned [semantic]")
    network.add_argument("--loss", metavar="NAME", help="instead of the head's own loss")
    network.add_argument("--half", action="store_true", help="save 16-bit weights, half the size")
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=int, default=30, metavar="N", help="passes over the data, at most [30]")
    training.add_argument("--frozen-epochs", type=int, metavar="N", help="of these with a frozen encoder [a fifth]")
    training.add_argument("--batch-size", type=int, default=8, metavar="N", help="crops in a batch [8]")
    training.add_argument("--crop", type=int, default=256, metavar="PIXELS", help="height and width of the crops [256]")
    training.add_argument(
        "--balance", metavar="NAME", help="draw rare values of this metadata more often, e.g. modality"
    )
    training.add_argument("--patience", type=int, default=10, metavar="N", help="stop after N epochs without gain [10]")
    training.add_argument("--seed", type=int, default=0, metavar="N", help="decides everything random [0]")
    training.add_argument("--deterministic", action="store_true", help="the same weights bit for bit; slower")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Train, save, draw, and print the scores on the test split if there is one."""
    output: Path = arguments.output
    checkpoint = output.with_name(f"{output.stem}_checkpoint")
    _check_output(output, checkpoint, arguments.resume)
    _check_names(arguments)
    options = _fit_options(arguments)
    data = read_data(arguments.data, arguments.labels)
    train, val, test = _split(data, arguments)

    import_tensorflow_quietly()
    from nucleiseg.segmenter import Segmenter

    weights = None if arguments.weights.lower() == "none" else arguments.weights
    segmenter = Segmenter(
        arguments.encoder,
        weights,
        arguments.head,
        loss=arguments.loss,
        seed=arguments.seed,
        deterministic=arguments.deterministic,
    )
    data.prepare()  # minutes for a large dataset, so after everything else that can go wrong
    status = 0
    try:
        history = segmenter.fit(train, val, arguments.epochs, options, checkpoint, resume=arguments.resume)
    except KeyboardInterrupt:
        hint = "; go on with --resume" if checkpoint.exists() else ""
        raise KeyboardInterrupt(f"interrupted{hint}") from None
    except TrainingError as error:
        if not error.rows:
            raise
        from nucleiseg.plotting import History

        report(error, arguments.debug)  # the best weights so far are worth keeping
        history, status = History(error.rows), 1

    written = _write(segmenter, history, output, arguments.half)
    if status == 0:
        shutil.rmtree(checkpoint, ignore_errors=True)
    if test is not None:
        say(str(segmenter.evaluate(test)))
    say("\n".join(str(path) for path in written))
    return status


def _write(segmenter: Segmenter, history: History, output: Path, half: bool) -> list[Path]:
    """The model, and what is drawn of it."""
    return [
        segmenter.save(output, half=half),
        history.to_csv(output.with_name(f"{output.stem}_history.csv")),
        history.plot(output.with_name(f"{output.stem}_curves.png")),
        segmenter.plot_architecture(output.with_name(f"{output.stem}_unet.png")),
        segmenter.plot_architecture(output.with_name(f"{output.stem}_encoder.png"), part="encoder"),
    ]


def _check_output(output: Path, checkpoint: Path, resume: bool) -> None:
    if output.suffix != ".keras":
        raise InvalidInputError(
            f"the model's file name must end in .keras, got {output.name!r}; use {output.stem}.keras"
        )
    if output.is_dir():
        raise InvalidInputError(f"the model must be a file, but {output} is a folder; choose another name")
    if checkpoint.exists() and not resume:
        raise InvalidInputError(
            f"{checkpoint} holds an earlier run that was interrupted; go on with --resume, or delete the folder"
        )


def _check_names(arguments: argparse.Namespace) -> None:
    from nucleiseg._checks import check_choice
    from nucleiseg.heads import list_heads
    from nucleiseg.networks import list_encoders

    check_choice(arguments.encoder, "encoder", list_encoders())
    check_choice(arguments.head, "head", list_heads())
    if arguments.weights.lower() not in ("none", "imagenet") and not Path(arguments.weights).is_file():
        raise InvalidInputError(
            f"--weights must be imagenet, none or a file, got {arguments.weights!r}; check the path"
        )


def _fit_options(arguments: argparse.Namespace) -> FitOptions:
    from nucleiseg._checks import check_count
    from nucleiseg.training.options import FitOptions

    check_count(arguments.epochs, "--epochs")
    check_count(arguments.seed, "--seed", 0)
    return FitOptions(
        batch_size=arguments.batch_size,
        crop=(arguments.crop, arguments.crop),
        balance=arguments.balance,
        frozen_epochs=arguments.frozen_epochs,
        patience=arguments.patience,
    )


def _split(data: Dataset, arguments: argparse.Namespace) -> tuple[Dataset, Dataset | None, Dataset | None]:
    """Images to learn from, to choose the best epoch by, and to report on."""
    from nucleiseg._checks import check_choice

    if arguments.splits is None:
        if arguments.balance is not None:
            raise InvalidInputError(f"--balance needs --splits, a table that has a column {arguments.balance!r} too")
        train, val = data.split(0.9, 0.1, seed=arguments.seed)
        return train, val, None
    train, val, test = data.split_by(arguments.splits)
    if not train:
        others = ", ".join(name for name, part in (("val", val), ("test", test)) if part)
        raise InvalidInputError(
            f"{arguments.splits} must have images in the split 'train', got only {others}; mark those to learn from"
        )
    if arguments.balance is not None:
        check_choice(arguments.balance, f"column of {arguments.splits}", train.metadata[0])
    return train, val or None, test or None
