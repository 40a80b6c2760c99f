"""``nucleiseg train``: labelled images in; a model, its history and pictures out."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg.cli.arguments import (
    DATA_HELP,
    add_read_options,
    check_model,
    check_new_model,
    check_splits,
    check_start,
    read_data,
    read_options,
)
from nucleiseg.cli.finished import check_images, check_recipes, is_finished
from nucleiseg.cli.stages import Stage, check_data, check_places, stages_of
from nucleiseg.cli.terminal import import_tensorflow_quietly, report, say, warn
from nucleiseg.errors import InvalidInputError, TrainingError

if TYPE_CHECKING:
    from nucleiseg.datasets import Dataset
    from nucleiseg.plotting import History
    from nucleiseg.segmenter import Segmenter
    from nucleiseg.training.recipe import Recipe
    from nucleiseg.training.taught import TaughtImages


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="train a model on labelled images",
        description="Train a U-Net on a pretrained encoder. Beside the model: <stem>_history.csv with loss, Dice and "
        "average precision, which grows with every epoch; <stem>_curves.png, <stem>_unet.png, <stem>_encoder.png; "
        "<stem>_checkpoint while it runs.",
    )
    parser.add_argument("data", nargs="?", help=f"{DATA_HELP} [that of the recipe]")
    parser.add_argument("-o", "--output", required=True, metavar="MODEL", type=Path, help="the .keras file to write")
    parser.add_argument(
        "--recipe", metavar="TOML|NAME", help="a file that sets what the flags set, or that of a shipped model"
    )
    parser.add_argument("--labels", metavar="FOLDER", help="label images, where DATA is a folder of images")
    parser.add_argument("--splits", metavar="CSV", help="columns image_id and split (train, val, test) [random 90:10]")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    parser.add_argument(
        "--start",
        metavar="NAME|PATH",
        help="shipped model, .keras file, or recipe that makes one, to go on from, instead of a new network",
    )
    network = parser.add_argument_group("network")
    network.add_argument("--encoder", metavar="NAME", help="see 'nucleiseg encoders' [mobilenet_v2]")
    network.add_argument("--weights", metavar="WHICH", help="imagenet, none, or a file [imagenet]")
    network.add_argument("--head", metavar="NAME", help="what is learned [semantic]")
    network.add_argument("--loss", metavar="NAME", help="instead of the head's own loss")
    network.add_argument("--half", action="store_true", default=None, help="save 16-bit weights, half the size")
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=int, metavar="N", help="passes over the data, at most [30]")
    training.add_argument("--frozen-epochs", type=int, metavar="N", help="of these with a frozen encoder [a fifth]")
    training.add_argument("--batch-size", type=int, metavar="N", help="crops in a batch [8]")
    training.add_argument("--crop", type=int, metavar="PIXELS", help="height and width of the crops [256]")
    training.add_argument(
        "--balance", metavar="NAME", help="draw rare values of this metadata more often, e.g. modality"
    )
    training.add_argument("--patience", type=int, metavar="N", help="stop after N epochs without gain [10]")
    training.add_argument("--seed", type=int, metavar="N", help="decides everything random [0]")
    training.add_argument(
        "--deterministic", action="store_true", default=None, help="the same weights bit for bit; slower"
    )
    add_read_options(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Train, save, draw, and print the scores on the test split if there is one."""
    output: Path = arguments.output
    check_new_model(output)
    stages = stages_of(_recipe(arguments), output)
    check_data(stages, [name for name in ("data", "labels", "splits") if getattr(arguments, name) is not None])
    for stage in stages:
        _check_names(stage.recipe, first=stage is stages[0])
    check_places(stages, arguments.resume)
    recipe = stages[-1].recipe
    if recipe.data is None:
        raise InvalidInputError(
            "there must be labelled images to learn from, got none; name them, or a recipe's [data]"
        )
    check_splits(recipe.splits)
    data = read_data(recipe.data, recipe.labels, read_options(arguments))
    train, val, test = _split(data, recipe)
    for stage in stages:
        _check_balance(stage.recipe, recipe.splits, train)

    import_tensorflow_quietly()
    done = [stage for stage in stages[:-1] if is_finished(stage)]
    check_recipes(done)
    todo = [stage for stage in stages if stage not in done]
    segmenter = _built(todo[0].recipe)
    _check_growth(segmenter, [stage.recipe for stage in todo[1:]])
    _check_teachers(segmenter, [stage.recipe for stage in todo])
    data.prepare()  # minutes for a large dataset, so after everything else that can go wrong
    check_images(done, train, val)
    for stage in todo:
        if stage is not todo[0]:
            segmenter = _built(stage.recipe)
        status, written = _train(stage, segmenter, train, val, arguments)
        if status and stage is not todo[-1]:
            return status
    if test is not None:
        say(str(segmenter.evaluate(test)))
    say("\n".join(str(path) for path in written))
    return status


def _built(recipe: Recipe) -> Segmenter:
    """The model that a training begins with: new, or the one that it starts from, which may have to grow."""
    from nucleiseg.growing import grow
    from nucleiseg.segmenter import Segmenter

    if recipe.start is None:
        return Segmenter(**recipe.network)
    start = _loaded(recipe.start)
    return grow(start, **recipe.network) if recipe.network else start


def _loaded(name: str) -> Segmenter:
    """A model file, or a shipped model."""
    from nucleiseg.segmenter import Segmenter

    return Segmenter.load(name) if Path(name).suffix else Segmenter.from_pretrained(name)


def _taught(recipe: Recipe, segmenter: Segmenter, train: Dataset) -> Dataset | TaughtImages:
    """What is learned from; where the start teaches, ``segmenter`` is as it starts."""
    from nucleiseg.teaching import teach
    from nucleiseg.training.recipe import START

    if recipe.teacher is None:
        return train
    return teach(train, segmenter if recipe.teacher == START else _loaded(recipe.teacher), recipe.teaching)


def _check_teachers(segmenter: Segmenter, recipes: Sequence[Recipe]) -> None:
    """Whether models can learn from the teachers of their recipes, before the first training takes its hours."""
    from nucleiseg.training.recipe import START
    from nucleiseg.training.taught import check_teacher

    for recipe in recipes:
        if recipe.teacher is not None and recipe.teacher != START:
            check_teacher(_loaded(recipe.teacher)._settings.head, segmenter._settings.head)


def _check_growth(segmenter: Segmenter, recipes: Sequence[Recipe]) -> None:
    """Whether a model can grow as later trainings want it to, before the first one takes its hours."""
    from nucleiseg.growing import grow

    for recipe in recipes:
        if recipe.network:
            segmenter = grow(segmenter, **recipe.network)


def _train(
    stage: Stage, segmenter: Segmenter, train: Dataset, val: Dataset | None, arguments: argparse.Namespace
) -> tuple[int, list[Path]]:
    """Exit status and files of one training."""
    recipe, output = stage.recipe, stage.output
    status = 0
    log = output.with_name(f"{output.stem}_history.csv")
    try:
        history = segmenter.fit(
            _taught(recipe, segmenter, train),
            val,
            recipe.epochs,
            recipe.options,
            stage.checkpoint,
            resume=arguments.resume,
            watch=lambda history: history.to_csv(log),  # however the run ends
        )
        if history.best_epoch == 0:
            warn(f"no epoch was better than {recipe.start} was, so its weights are kept")
        # Where a start model whose thresholds were chosen has learned, fit has chosen them anew.
        chosen = recipe.start is not None and history.best_epoch > 0 and "min_area" in segmenter.thresholds
        if val is not None and not chosen:
            segmenter.optimize_thresholds(val)
    except KeyboardInterrupt:
        hint = "; go on with --resume" if stage.checkpoint.exists() else ""
        raise KeyboardInterrupt(f"interrupted{hint}") from None
    except TrainingError as error:
        if not error.rows:
            raise
        from nucleiseg.plotting import History

        report(error, arguments.debug)  # the best weights so far are worth keeping
        history, status = History(error.rows), 1

    written = _write(segmenter, history, output, log, recipe.half)
    if status == 0:
        shutil.rmtree(stage.checkpoint, ignore_errors=True)
    return status, written


def _write(segmenter: Segmenter, history: History, output: Path, log: Path, half: bool) -> list[Path]:
    """The model, and what is drawn of it."""
    return [
        segmenter.save(output, half=half),
        history.to_csv(log),
        history.plot(output.with_name(f"{output.stem}_curves.png")),
        segmenter.plot_architecture(output.with_name(f"{output.stem}_unet.png")),
        segmenter.plot_architecture(output.with_name(f"{output.stem}_encoder.png"), part="encoder"),
    ]


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """What the recipe says, where no flag says otherwise."""
    from nucleiseg.pretrained import pretrained_recipe
    from nucleiseg.training.recipe import Recipe, read_recipe

    recipe = Recipe()
    if arguments.recipe is not None:
        named = not arguments.recipe.endswith(".toml")
        recipe = read_recipe(pretrained_recipe(arguments.recipe) if named else arguments.recipe)

    def given(**flags: Any) -> dict[str, Any]:
        return {name: value for name, value in flags.items() if value is not None}

    network = given(encoder=arguments.encoder, head=arguments.head, loss=arguments.loss)
    network |= given(deterministic=arguments.deterministic)
    start = recipe.start if arguments.start is None else arguments.start
    if start is None or recipe.network or network:  # a model to start from has its own, unless it grows
        network |= given(seed=arguments.seed)
    if arguments.weights is not None:
        network["weights"] = None if arguments.weights.lower() == "none" else arguments.weights
    options = given(
        batch_size=arguments.batch_size,
        crop=None if arguments.crop is None else (arguments.crop, arguments.crop),
        balance=arguments.balance,
        frozen_epochs=arguments.frozen_epochs,
        patience=arguments.patience,
        seed=arguments.seed,
    )
    places = given(data=arguments.data, labels=arguments.labels, splits=arguments.splits)
    return replace(
        recipe,
        **places,
        **given(start=arguments.start, epochs=arguments.epochs, half=arguments.half),
        network={**recipe.network, **network},
        options=replace(recipe.options, **options),
    )


def _check_names(recipe: Recipe, first: bool) -> None:
    from nucleiseg._checks import check_choice, check_count
    from nucleiseg.heads import list_heads
    from nucleiseg.networks import list_encoders
    from nucleiseg.training.loss_table import list_losses
    from nucleiseg.training.recipe import START

    if recipe.start is not None and first:  # the others start from what the one before will have made
        check_start(recipe.start)
    if recipe.teacher is not None and recipe.teacher != START:
        check_model(recipe.teacher)
    if recipe.start is not None and not recipe.network:
        return
    network = {"encoder": "mobilenet_v2", "head": "semantic", "weights": "imagenet", "seed": 0, **recipe.network}
    check_choice(network["encoder"], "encoder", list_encoders())
    check_choice(network["head"], "head", list_heads())
    if network.get("loss") is not None:
        check_choice(network["loss"], "loss", list_losses())
    check_count(network["seed"], "seed", 0)
    weights = network["weights"]
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise InvalidInputError(f"weights must be imagenet, none or a file, got {weights!r}; check the path")


def _seed_of(recipe: Recipe) -> int:
    """Decides which images are held out."""
    chosen = recipe.options.seed
    return int(recipe.network.get("seed", 0) if chosen is None else chosen)


def _split(data: Dataset, recipe: Recipe) -> tuple[Dataset, Dataset | None, Dataset | None]:
    """Images to learn from, to choose the best epoch by, and to report on."""
    if recipe.splits is None:
        if len(data) < 2:
            return data, None, None
        held_out = max(0.1, 1 / len(data))  # a handful of corrected images is how many begin
        train, val = data.split(1 - held_out, held_out, seed=_seed_of(recipe))
        return train, val, None
    train, val, test = data.split_by(recipe.splits)
    if not train:
        others = ", ".join(name for name, part in (("val", val), ("test", test)) if part)
        raise InvalidInputError(
            f"{recipe.splits} must have images in the split 'train', got only {others}; mark those to learn from"
        )
    return train, val or None, test or None


def _check_balance(recipe: Recipe, splits: str | None, train: Dataset) -> None:
    from nucleiseg._checks import check_choice

    balance = recipe.options.balance
    if balance is not None and splits is None:
        raise InvalidInputError(f"--balance needs --splits, a table that has a column {balance!r} too")
    if balance is not None:
        check_choice(balance, f"column of {splits}", train.metadata[0])
