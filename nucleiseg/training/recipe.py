"""A training run as a readable file: data, network, schedule, augmentation and seed. Imports no Keras."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nucleiseg._checks import check_choice, check_count, check_flag, check_range
from nucleiseg._settings import check_setting, plain_path
from nucleiseg.errors import InvalidInputError, NucleisegError
from nucleiseg.training.augmentation import Augmentation
from nucleiseg.training.options import FitOptions

START = "start"
"""The teacher that is the model which training starts from."""

_TABLES = ("data", "network", "training", "augmentation", "output")


@dataclass(frozen=True)
class Recipe:
    """All that decides what a training run makes.

    Parameters
    ----------
    data, labels, splits : str, optional
        Labelled images as `nucleiseg.datasets.read` takes them, and the table that splits them.
    network : mapping
        Arguments of `nucleiseg.Segmenter` other than its defaults: encoder, weights, head, loss, upsampling, widths,
        convolutions, refine, scaling, seed, deterministic.
    start : str, optional
        A model file, or the name of a shipped model, whose training goes on; or a recipe (``.toml``) that makes one.
        It has a network; `network` then is what that grows by: encoder, refine and seed of `nucleiseg.grow`.
    teacher : str, optional
        Whose maps are learned beside the labels (`nucleiseg.teach`): a model file, the name of a shipped model, or
        ``"start"``, the model that training starts from.
    teaching : float
        Part of the target that is the teacher's, 0 to 1.
    epochs : int
        At most so many passes over the training data.
    options : FitOptions
        Everything else about training.
    half : bool
        Whether the model is saved with 16-bit weights.

    Raises
    ------
    InvalidInputError
        If the network has an argument that there is not or of another kind, or one that a model to start from has,
        epochs is below 1, teaching is no number from 0 to 1, or the start is to teach and there is none.

    Examples
    --------
    >>> Recipe(network={"head": "distance"}, options=FitOptions(crop=(192, 192))).network["head"]
    'distance'
    """

    data: str | None = None
    labels: str | None = None
    splits: str | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None
    teacher: str | None = None
    teaching: float = 0.5
    epochs: int = 30
    options: FitOptions = field(default_factory=FitOptions)
    half: bool = False

    def __post_init__(self) -> None:
        for name, value in self.network.items():
            check_choice(name, "argument of the network", NETWORK_ARGUMENTS)
            if name != "loss" or value is not None:  # None is the head's own
                check_setting(name, plain_path(value))  # now, not when the model is written after hours
        given = set(self.network)
        if self.start is not None and given and not (given <= set(_GROWING) and given & set(_GROWING[:2])):
            raise InvalidInputError(
                f"a model to start from has its own network, got {', '.join(self.network)} beside {self.start}; "
                "leave out one of the two, or let it grow by encoder or refine alone"
            )
        check_count(self.epochs, "epochs")
        check_range(self.teaching, "teaching", 0, 1)
        if self.teacher == START and self.start is None:
            raise InvalidInputError(
                f"teacher = {START!r} is the model that training starts from, got none; name it as start, or another "
                "teacher"
            )


_GROWING = ("encoder", "refine", "seed")
NETWORK_ARGUMENTS = (
    "encoder",
    "weights",
    "head",
    "loss",
    "upsampling",
    "widths",
    "convolutions",
    "refine",
    "scaling",
    "seed",
    "deterministic",
)


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    r"""Read a recipe from a TOML file.

    Parameters
    ----------
    path : path
        Tables, all of which may be left out, as may any of their keys:

        - ``[data]``: ``path``, ``labels``, ``splits``; relative paths count from the folder of the recipe;
        - ``[network]``: arguments of `nucleiseg.Segmenter`; ``weights = "none"`` starts from random ones;
        - ``[training]``: ``start``, ``teacher``, ``teaching``, ``epochs`` and the fields of `FitOptions`;
        - ``[augmentation]``: the fields of `Augmentation`; ``none = true`` switches all changes off;
        - ``[output]``: ``half``.

    Returns
    -------
    Recipe
        What the file leaves out has its default.

    Raises
    ------
    InvalidInputError
        If the file is missing or no TOML, has a table or key that there is not, or a value out of its range.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "small.toml"
    >>> _ = path.write_text("[network]\nhead = 'distance'\n[training]\nepochs = 5\ncrop = [192, 192]\n")
    >>> recipe = read_recipe(path)
    >>> recipe.epochs, recipe.options.crop, recipe.network
    (5, (192, 192), {'head': 'distance'})
    """
    source = Path(path)
    try:
        tables = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"the recipe {source} cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise InvalidInputError(f"the recipe {source} must be a TOML file ({error}); mend it there") from error
    try:
        return _from_tables(tables, source.parent)
    except (NucleisegError, TypeError) as error:
        raise InvalidInputError(f"the recipe {source}: {error}") from error


def _from_tables(tables: Mapping[str, Any], folder: Path) -> Recipe:
    for name, table in tables.items():
        check_choice(name, "table", _TABLES)
        if not isinstance(table, dict):
            raise InvalidInputError(f"{name} must be a table, got {table!r}; write [{name}] above its keys")
    data = _table(tables, "data", ("path", "labels", "splits"))
    network = _table(tables, "network", NETWORK_ARGUMENTS)
    weights = network.get("weights", "imagenet")
    if isinstance(weights, str) and weights.lower() != "imagenet":
        network["weights"] = None if weights.lower() == "none" else os.fspath(folder / weights)
    further = ("start", "teacher", "teaching", "epochs")
    training = _table(tables, "training", (*further, *_names(FitOptions, without="augmentation")))
    augmentation = _table(tables, "augmentation", ("none", *_names(Augmentation)))
    output = _table(tables, "output", ("half",))
    half = check_flag(output.get("half", False), "half")
    own = {name: training.pop(name) for name in ("teaching", "epochs") if name in training}
    changes = None if check_flag(augmentation.pop("none", False), "none") else Augmentation(**augmentation)
    models = {name: training.pop(name) for name in ("start", "teacher") if name in training}
    for key, value in (data | models).items():
        if not isinstance(value, str):
            raise InvalidInputError(f'{key} must be text, got {value!r}; write {key} = "a path"')
    places = {key: os.fspath(folder / value) for key, value in data.items()}
    return Recipe(
        data=places.get("path"),
        labels=places.get("labels"),
        splits=places.get("splits"),
        network=network,
        start=_model(models.get("start"), folder),
        teacher=_model(models.get("teacher"), folder),
        **own,
        options=FitOptions(**training, augmentation=changes),
        half=half,
    )


def _model(name: str | None, folder: Path) -> str | None:
    """A file from the folder of the recipe, or the name of a shipped model."""
    return os.fspath(folder / name) if name is not None and Path(name).suffix else name


def _table(tables: Mapping[str, Any], name: str, known: Iterable[str]) -> dict[str, Any]:
    """A table whose keys are known, with tuples for lists."""
    content = dict(tables.get(name, {}))
    for key in content:
        check_choice(key, f"key in [{name}]", known)
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}


def _names(settings: type, without: str = "") -> tuple[str, ...]:
    return tuple(item.name for item in fields(settings) if item.name != without)
