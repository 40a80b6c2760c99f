"""Which trainings of a chain are finished, and whether they are those that are wanted, so that none is run twice."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg.cli.stages import Stage
from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    from nucleiseg._settings import SegmenterSettings
    from nucleiseg.datasets import Dataset
    from nucleiseg.training.recipe import Recipe

__all__ = ["check_images", "check_recipes", "is_finished"]


def is_finished(stage: Stage) -> bool:
    """Whether its model is there, and no checkpoint: one that failed leaves a model too, but keeps the checkpoint."""
    return stage.output.exists() and not stage.checkpoint.exists()


def check_recipes(stages: Sequence[Stage]) -> None:
    """Whether finished trainings were those of these recipes, as far as their models tell.

    Raises
    ------
    InvalidInputError
        If a network or its training was another one.
    """
    for stage in stages:
        made, recipe = _settings_of(stage), stage.recipe
        run, share = _run_of(stage, made), None if recipe.teacher is None else recipe.teaching
        training = {"most_epochs": recipe.epochs, "options": asdict(recipe.options), "teaching": share}
        was = {**run, "teaching": run["data"]["train"].get("share")} if run.get("data") else run
        changes = *_changes(asdict(made), _network_of(recipe)), *_changes(was, training)
        _check_same(stage, changes)


def check_images(stages: Sequence[Stage], train: Dataset, val: Dataset | None) -> None:
    """Whether finished trainings learned from these images, whoever taught them. All images are read.

    Raises
    ------
    InvalidInputError
        If there is one that learned from others, or chose its best epoch by others.
    """
    from nucleiseg.training.fingerprints import describe_images

    if not stages:
        return
    now = {"train": describe_images(train), "validation": None if val is None else describe_images(val)}
    for stage in stages:
        facts = _run_of(stage, _settings_of(stage)).get("data", {})
        was = {name: None if one is None else describe_images(_untaught(one)) for name, one in facts.items()}
        _check_same(stage, list(_changes(was, now)))


def _untaught(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in ("images", "sha256")}


def _settings_of(stage: Stage) -> SegmenterSettings:
    from nucleiseg._settings import SegmenterSettings
    from nucleiseg.modelfile import read_settings

    return SegmenterSettings.from_json(read_settings(stage.output), str(stage.output))


def _run_of(stage: Stage, made: SegmenterSettings) -> Mapping[str, Any]:
    """The manifest of its training; empty where no epoch was better than the start, whose manifest the model has."""
    run = made.run or {}
    own = stage.recipe.start is None or Path(run.get("checkpoint") or "").name == stage.checkpoint.name
    return run if own else {}


def _network_of(recipe: Recipe) -> dict[str, Any]:
    """What a recipe says of the network, which one that starts from a model leaves to that, or lets grow."""
    from nucleiseg.heads import get_head
    from nucleiseg.segmenter import Segmenter

    if recipe.start is not None:
        return dict(recipe.network)
    defaults = {name: one.default for name, one in inspect.signature(Segmenter).parameters.items()}
    network = {**defaults, **recipe.network}
    return network if network["loss"] is not None else {**network, "loss": get_head(network["head"]).loss}


def _changes(was: Mapping[str, Any], now: Mapping[str, Any], group: str = "") -> Iterator[str]:
    """What differs; what an older version did not tell is taken as the same."""
    was, now = (json.loads(json.dumps(facts)) for facts in (was, now))  # as in a file: tuples are lists
    for name, wanted in now.items():
        found = was.get(name, wanted)
        if isinstance(found, dict) and isinstance(wanted, dict):
            yield from _changes(found, wanted, f"{group}{name}.")
        elif found != wanted:
            yield f"{group}{name} was {found!r}, is {wanted!r}"


def _check_same(stage: Stage, changes: Sequence[str]) -> None:
    if changes:
        raise InvalidInputError(
            f"{stage.output} was trained with other settings ({', '.join(changes)}); "
            "use the same, or delete it to train it anew"
        )
