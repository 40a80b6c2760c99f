"""A training run from end to end: its checkpoint, its manifest, and what is left of it if it fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras

from nucleiseg._forking import check_not_forked
from nucleiseg._manifest import describe_run, now
from nucleiseg._seeding import make_deterministic
from nucleiseg._settings import SegmenterSettings
from nucleiseg.training.checkpoints import Checkpoint, count_epochs
from nucleiseg.training.fingerprints import describe_images, fingerprint
from nucleiseg.training.fitting import fit_two_phases
from nucleiseg.training.judging import kept_epoch
from nucleiseg.training.options import FitOptions
from nucleiseg.training.phases import Task
from nucleiseg.training.pipeline import LabelledImages

__all__ = ["TrainingRun", "run_training"]


@dataclass(frozen=True)
class TrainingRun:
    """What a run leaves behind, besides the weights in its model.

    Parameters
    ----------
    settings : SegmenterSettings
        Of the model as it is now, with the manifest of this run.
    rows : tuple of dict
        What was measured, a row for each finished epoch; before them that of epoch 0, if the start counts.
    error : exception or None
        Why it ended early, after one epoch at least.
    """

    settings: SegmenterSettings
    rows: tuple[Mapping[str, Any], ...]
    error: BaseException | None = None

    @property
    def is_as_before(self) -> bool:
        """Whether the weights are those from before the run: no epoch was finished, or none was better."""
        return not self.rows or kept_epoch(self.rows) == 0


def run_training(
    model: keras.Model,
    settings: SegmenterSettings,
    task: Task,
    train: LabelledImages,
    validation: LabelledImages | None,
    epochs: int,
    options: FitOptions,
    checkpoint: Checkpoint | None,
    watch: Callable[[tuple[Mapping[str, Any], ...]], object] | None = None,
) -> TrainingRun:
    """Train in two phases, see `fit_two_phases`, and write down with what.

    The manifest tells the images of each split apart by what is in them. If the settings ask for it, operations are
    deterministic from here on. What ends the training early, Ctrl-C too, is raised if no epoch was finished; after that
    the model has changed, and it is told in what is returned.
    """
    check_not_forked()
    if settings.deterministic:
        make_deterministic()
    seed = settings.seed if options.seed is None else options.seed
    started = now()
    images = {"train": fingerprint(train), "validation": None if validation is None else fingerprint(validation)}
    if checkpoint is not None:
        described = {split: known and describe_images(known) for split, known in images.items()}
        checkpoint = Checkpoint(checkpoint.folder, {**settings.network, **described})
    finished: list[Mapping[str, Any]] = []
    problem: BaseException | None = None
    try:
        rows = fit_two_phases(
            model,
            train,
            validation,
            task,
            epochs,
            pretrained=settings.trained or settings.weights is not None,
            options=replace(options, seed=seed),
            checkpoint=checkpoint,
            watch=watch,
            start_counts=settings.trained,
            finished=finished,
        )
    except BaseException as error:
        if not finished:  # the model is what it was
            raise
        problem, rows = error, tuple(finished)
    facts = {
        "seed": seed,
        "trained_before": settings.trained,
        "deterministic": settings.deterministic,
        "epochs": count_epochs(rows),
        "kept_epoch": kept_epoch(rows) if rows else 0,
        "most_epochs": epochs,
        "options": asdict(options),
        "task": asdict(task),
        "data": images,
        "checkpoint": None if checkpoint is None else os.fspath(checkpoint.folder),
    }
    manifest = describe_run(started, facts)
    return TrainingRun(replace(settings, trained=settings.trained or bool(rows), run=manifest), rows, problem)
