"""Transfer learning in two phases: the decoder on a frozen encoder, then everything at a lower rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import keras

from nucleiseg._checks import check_count
from nucleiseg.errors import InvalidInputError
from nucleiseg.networks.precision import computed_in
from nucleiseg.training.callbacks import Keeper, Narrator, Watcher
from nucleiseg.training.checkpoints import Checkpoint, RunState
from nucleiseg.training.endings import assign, clean_end, mixed, sound_end, values_of
from nucleiseg.training.faults import FiniteLoss, explain_memory
from nucleiseg.training.fingerprints import describe_images
from nucleiseg.training.judging import InstanceScores, judge_start, labels_target
from nucleiseg.training.loss_table import check_loss
from nucleiseg.training.narration import Narration
from nucleiseg.training.options import FitOptions
from nucleiseg.training.phases import Task, compile_phase, plan_phases, seed_layers, unfreeze
from nucleiseg.training.pipeline import LabelledImages, as_tf_dataset
from nucleiseg.training.targets import Target, check_target

if TYPE_CHECKING:
    import tensorflow as tf


def fit_two_phases(
    model: keras.Model,
    train: LabelledImages,
    validation: LabelledImages | None,
    task: Task,
    epochs: int,
    pretrained: bool,
    options: FitOptions,
    *,
    checkpoint: Checkpoint | None = None,
    watch: Callable[[tuple[Mapping[str, Any], ...]], object] | None = None,
    start_counts: bool = False,
    finished: list[Mapping[str, Any]] | None = None,
) -> tuple[Mapping[str, Any], ...]:
    """Train a U-Net in place and leave it with the best weights.

    While a pretrained encoder is frozen, only the decoder learns. Fine-tuning then trains everything but the encoder's
    batch normalisation, whose statistics batches this small would spoil, unless ``options.freeze_statistics`` is false.
    An encoder with random weights is trained as a whole from the start. The learning rate of each phase warms up and
    falls along a cosine.

    Parameters
    ----------
    model : keras.Model
        From `nucleiseg.networks.unet`. Compiled here; all its layers are trainable afterwards, and compute in the
        precision that they had.
    train, validation : Dataset
        Sequences of labelled images.
    task : Task
        Target, scaling and loss.
    epochs : int
        Epochs of both phases together, at most.
    pretrained : bool
        Whether the encoder has pretrained weights.
    options : FitOptions
        Everything else; their seed, 0 if there is none, decides order, crops and augmentation.
    checkpoint : Checkpoint, optional
        Where the state is kept after every epoch; a state found there is gone on from.
    watch : function, optional
        Called after every epoch, its checkpoint saved, with the rows so far.
    start_counts : bool
        Whether the weights at the start take part as epoch 0: they stay if no epoch has a better score. Without
        validation data, or where ``options.keep`` is "last", they do not.
    finished : list, optional
        Filled with the rows so far where training ends by an error or Ctrl-C.

    Returns
    -------
    tuple of dict
        One row an epoch: epoch, phase, loss and metrics (``val_`` for validation), learning_rate, seconds, and as
        monitor the name of what decides which epoch is best. Where the start counts, its row comes first: epoch 0, of
        the phase "start", with neither loss nor learning rate.

    Raises
    ------
    InvalidInputError
        If epochs is below 1, a dataset is empty, or the checkpoint belongs to a run with other settings, other images
        or another network.
    TrainingError
        If the loss is no number any more, or memory does not suffice. By whatever training ends early, the model then
        has the best weights so far, and those from before if no epoch was finished.

    Examples
    --------
    >>> import numpy as np
    >>> from nucleiseg import datasets, networks
    >>> data = datasets.from_arrays(np.zeros((2, 32, 32), np.uint8), np.zeros((2, 32, 32), int))
    >>> image = keras.Input((None, None, 3))
    >>> features = [keras.layers.Conv2D(1, 3, stride, padding="same")(image) for stride in networks.STRIDES]
    >>> model = networks.unet(keras.Model(image, features), widths=(2, 2, 2, 2, 2))
    >>> task = Task("mask", "percentile", "bce_dice")
    >>> rows = fit_two_phases(model, data, None, task, 1, False, FitOptions(batch_size=2, crop=(32, 32)))
    >>> [row["phase"] for row in rows]
    ['full']
    """
    phases = plan_phases(check_count(epochs, "epochs"), pretrained, options)
    _check_data(train, validation)
    channels = int(model.output_shape[-1])
    check_loss(task.loss, check_target(task.target, channels), channels)
    identity = {} if checkpoint is None else _identity(checkpoint, train, validation, task, epochs, pretrained, options)
    state = RunState()
    if checkpoint is not None:
        state = checkpoint.load(identity) or state
        _check_variables(state, model, checkpoint)
    validation_batches, judges = None, []
    if validation is not None:
        crops = partial(_validation_crops, validation, options=options, scaling=task.scaling)
        if task.decoder is not None:
            judges = [InstanceScores(crops(labels_target), task.decoder, task.thresholds)]
        validation_batches = crops(task.target)
    resumed = bool(state.rows)
    if not resumed:
        seed_layers(model, options.seed or 0)
        state = replace(state, start_model=values_of(model.variables) if options.start_share else ())
    with sound_end(model, lambda: state, [] if finished is None else finished):
        for number in range(state.phase, len(phases)):
            phase = phases[number]
            if number > state.phase:
                state = replace(state, phase=number, phase_epochs=0, waited=0)
            steps = -(-len(train) * options.crops_per_image // options.batch_size)
            compile_phase(model, phase, task, phase.epochs * steps, options)
            if resumed:
                assign(model.variables, state.model)
                model.optimizer.build(model.trainable_variables)
                assign(model.optimizer.variables, state.optimizer)
                resumed = False
            elif state.best_model:
                assign(model.variables, state.best_model)
            if state.waited < options.patience and state.phase_epochs < phase.epochs:
                monitor = "epoch" if options.keep == "last" else task.monitor
                keeper = Keeper(state, phase.name, monitor, options.patience, checkpoint, identity)
                batches = _training_crops(train, task, options, first_pass=state.epochs)
                narration = Narration(phases, number, state.phase_epochs, steps, state.rows)
                finite = FiniteLoss(keeper.rows, phase.learning_rate)
                callbacks = [finite, *judges, keeper, Narrator(narration, keeper)]
                try:
                    with (
                        explain_memory(options, keeper.rows),
                        clean_end(model),
                        narration,
                        computed_in(model, options.precision) as as_before,
                    ):
                        if watch is not None:
                            callbacks.append(Watcher(watch, keeper, as_before))
                        if start_counts and validation_batches is not None and monitor != "epoch" and not state.rows:
                            keeper.begin_with(judge_start(model, validation_batches, judges, monitor), model)
                            narration.tell_start(keeper.state.rows)
                        model.fit(
                            batches,
                            validation_data=validation_batches,
                            initial_epoch=state.epochs,
                            epochs=state.epochs + phase.epochs - state.phase_epochs,
                            callbacks=callbacks,
                            shuffle=False,  # as_tf_dataset does it
                            verbose=0,  # the narration says more in less room
                        )
                finally:
                    state = keeper.state
    assign(model.variables, mixed(state.start_model, state.best_model, options.start_share))
    unfreeze(model)
    return state.rows


def _identity(
    checkpoint: Checkpoint,
    train: LabelledImages,
    validation: LabelledImages | None,
    task: Task,
    epochs: int,
    pretrained: bool,
    options: FitOptions,
) -> dict[str, Any]:
    """What a run must have in common with the one whose state it goes on from, in JSON values."""
    known = checkpoint.facts
    images = {"train": train, "validation": validation}
    described = {split: data and describe_images(data) for split, data in images.items() if split not in known}
    settings = {**asdict(task), **asdict(options), "seed": options.seed or 0}
    return {"epochs": epochs, "pretrained": pretrained, **described, **settings, **known}


def _training_crops(data: LabelledImages, task: Task, options: FitOptions, first_pass: int) -> tf.data.Dataset:
    """Others in every epoch; those of a run that goes on are those that it would have had."""
    return as_tf_dataset(
        data,
        task.target,
        options.crop,
        options.augmentation,
        options.batch_size,
        options.seed or 0,
        task.scaling,
        options.balance,
        first_pass=first_pass,
        crops_per_image=options.crops_per_image,
        balance_area=options.balance_area,
    )


def _validation_crops(data: LabelledImages, target: str | Target, options: FitOptions, scaling: str) -> tf.data.Dataset:
    """The same crops in every epoch."""
    return as_tf_dataset(
        data,
        target,
        options.crop,
        None,
        options.batch_size,
        options.seed or 0,
        scaling,
        shuffle=False,
        crops_per_image=options.validation_crops,
    )


def _check_data(train: LabelledImages, validation: LabelledImages | None) -> None:
    if not len(train):
        raise InvalidInputError("training needs at least one image, got an empty dataset; check how it was split")
    if validation is not None and not len(validation):
        raise InvalidInputError(
            "validation needs at least one image, got an empty dataset; check how it was split, or leave it out: "
            "then the training loss decides which weights are best"
        )


def _check_variables(state: RunState, model: keras.Model, checkpoint: Checkpoint) -> None:
    saved = [value.shape for value in state.model]
    wanted = [tuple(variable.shape) for variable in model.variables]
    if state.rows and saved != wanted:
        raise InvalidInputError(
            f"the run in {checkpoint.folder} was started with another network ({len(saved)} variables with "
            f"{_total(saved):,} values, this one has {len(wanted)} with {_total(wanted):,}); build the same, "
            "or delete the folder to start anew"
        )


def _total(shapes: Sequence[tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes)
