"""The trainings that one command runs, one after the other: a recipe may start from the model of another one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    from nucleiseg.training.recipe import Recipe

# What a recipe says of its images: as a field, as a key of [data], and on the command line.
_DATA = (("data", "path", "DATA"), ("labels", "labels", "--labels"), ("splits", "splits", "--splits"))


@dataclass(frozen=True)
class Stage:
    """One training of a chain in which each goes on from the one before.

    Parameters
    ----------
    recipe : Recipe
        Its own.
    output : Path
        The model that it makes.
    """

    recipe: Recipe
    output: Path

    @property
    def checkpoint(self) -> Path:
        """Where its state is kept while it runs."""
        return self.output.with_name(f"{self.output.stem}_checkpoint")


def stages_of(recipe: Recipe, output: Path) -> list[Stage]:
    """The trainings that make a model, in their order.

    Where a recipe starts from another recipe, that one comes first and leaves ``<stem>_start.keras``.

    Raises
    ------
    InvalidInputError
        If a recipe cannot be read, or starts from itself.

    Examples
    --------
    >>> from nucleiseg.pretrained import pretrained_recipe
    >>> from nucleiseg.training.recipe import read_recipe
    >>> [stage.output.name for stage in stages_of(read_recipe(pretrained_recipe("nuclei-fast")), Path("mine.keras"))]
    ['mine_start.keras', 'mine.keras']
    """
    from nucleiseg.training.recipe import read_recipe

    stages, seen = [Stage(recipe, output)], set()
    while (start := stages[0].recipe.start) is not None and start.endswith(".toml"):
        if start in seen:
            raise InvalidInputError(f"the recipe {start} must not start from itself; name a model or another recipe")
        seen.add(start)
        first = stages[0]
        made = first.output.with_name(f"{first.output.stem}_start.keras")
        stages[0] = replace(first, recipe=replace(first.recipe, start=str(made)))
        stages.insert(0, Stage(read_recipe(start), made))
    return stages


def check_data(stages: Sequence[Stage], given: Collection[str]) -> None:
    """All trainings of a chain learn from the images of the last recipe, so that an earlier one can't name others.

    What is ``given`` on the command line (data, labels, splits) holds for all of them. A recipe that says nothing of
    images takes those of the last one.

    Raises
    ------
    InvalidInputError
        If it names others.
    """
    last = stages[-1].recipe
    for stage in stages[:-1]:
        recipe = stage.recipe
        if recipe.data is recipe.labels is recipe.splits is None:
            continue
        for name, key, flag in _DATA:
            said, wanted = getattr(recipe, name), getattr(last, name)
            if name not in given and _resolved(said) != _resolved(wanted):
                raise InvalidInputError(
                    "all trainings of a chain must learn from the same images, split alike, got "
                    f"{key} = {said or 'none'} in the recipe that makes {stage.output.name} and {wanted or 'none'} in "
                    f"the last one; write the same [data] into both, or give {flag} on the command line, which holds "
                    "for all"
                )


def _resolved(path: str | None) -> Path | None:
    return None if path is None else Path(path).resolve()


def check_places(stages: Sequence[Stage], resume: bool) -> None:
    """What an earlier run has left is gone on with, if at all, on purpose.

    Raises
    ------
    InvalidInputError
        If there is something, and it is not to be gone on with.
    """
    for place in [stage.checkpoint for stage in stages] + [stage.output for stage in stages[:-1]]:
        if place.exists() and not resume:
            raise InvalidInputError(
                f"{place} holds an earlier run that was interrupted; go on with --resume, or delete it"
            )
