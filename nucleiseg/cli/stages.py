"""The trainings that one command runs, one after the other: a recipe may start from the model of another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    from nucleiseg.training.recipe import Recipe


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
