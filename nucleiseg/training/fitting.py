"""Transfer learning in two phases: the decoder on a frozen encoder, then everything at a lower rate."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import keras

from nucleiseg._checks import check_count
from nucleiseg.errors import InvalidInputError
from nucleiseg.networks.precision import computed_in
from nucleiseg.training.checkpoints import Checkpoint, RunState
from nucleiseg.training.endings import assign, clean_end, kept_values, mixed, sound_end, values_of
from nucleiseg.training.faults import FiniteLoss, explain_memory
from nucleiseg.training.fingerprints import describe_images
from nucleiseg.training.judging import InstanceScores, judge_start, judged_by, labels_target, score_of
from nucleiseg.training.losses.table import check_loss
from nucleiseg.training.narration import Narration
from nucleiseg.training.options import FitOptions
from nucleiseg.training.phases import Task, compile_phase, plan_phases, seed_layers, unfreeze
from nucleiseg.training.pipeline import LabelledImages, as_tf_dataset
from nucleiseg.training.targets import Target, check_target

if TYPE_CHECKING:
    import tensorflow as tf

_LOGGER = logging.getLogger(__name__)


def fit_two_phases(
    model: keras.Model,
    train: LabelledImages,
    validation: LabelledImages | None,
    task: Task,
    epochs: int,
    pretrained: bool,
    options: FitOptions,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
    network: Mapping[str, Any] | None = None,
    images: Mapping[str, Any] | None = None,
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
        Everything else.
    seed : int
        Decides order, crops and augmentation.
    checkpoint : Checkpoint, optional
        Where the state is kept after every epoch; a state found there is gone on from.
    network : mapping, optional
        How the model was built, in JSON values. It goes into the checkpoint, so that a run of another network is told
        by name.
    images : mapping, optional
        What `fingerprint` gave for "train" and "validation", so that it need not be computed again for the checkpoint.
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
    settings: dict[str, Any] = {}
    state = RunState()
    if checkpoint is not None:
        settings = {
            "epochs": epochs,
            "pretrained": pretrained,
            "train": describe_images((images or {}).get("train") or train),
            "validation": None
            if validation is None
            else describe_images((images or {}).get("validation") or validation),
            **asdict(task),
            **asdict(options),
            "seed": seed,
            **(network or {}),
        }
        state = checkpoint.load(settings) or state
        _check_variables(state, model, checkpoint)
    validation_batches, judges = None, []
    if validation is not None:
        crops = partial(_validation_crops, validation, options=options, seed=seed, scaling=task.scaling)
        if task.decoder is not None:
            judges = [InstanceScores(crops(labels_target), task.decoder, task.thresholds)]
        validation_batches = crops(task.target)
    resumed = bool(state.rows)
    if not resumed:
        seed_layers(model, seed)
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
                keeper = _Keeper(state, phase.name, monitor, options.patience, checkpoint, settings)
                batches = as_tf_dataset(
                    train,
                    task.target,
                    options.crop,
                    options.augmentation,
                    options.batch_size,
                    seed,
                    task.scaling,
                    options.balance,
                    first_pass=state.epochs,
                    crops_per_image=options.crops_per_image,
                    balance_area=options.balance_area,
                )
                narration = Narration(phases, number, state.phase_epochs, steps, state.rows)
                finite = FiniteLoss(keeper.rows, phase.learning_rate)
                callbacks = [finite, *judges, keeper, _Narrator(narration, keeper)]
                try:
                    with (
                        explain_memory(options, keeper.rows),
                        clean_end(model),
                        narration,
                        computed_in(model, options.precision) as as_before,
                    ):
                        if watch is not None:
                            callbacks.append(_Watch(watch, keeper, as_before))
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


def _validation_crops(
    data: LabelledImages, target: str | Target, options: FitOptions, seed: int, scaling: str
) -> tf.data.Dataset:
    """The same crops in every epoch."""
    return as_tf_dataset(
        data,
        target,
        options.crop,
        None,
        options.batch_size,
        seed,
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


class _Keeper(keras.callbacks.Callback):
    """Writes rows, keeps the best weights, saves the state, and stops when nothing improves any more."""

    def __init__(
        self,
        state: RunState,
        phase: str,
        monitor: str,
        patience: int,
        checkpoint: Checkpoint | None,
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.state = state
        self._phase = phase
        self._monitor = monitor
        self._patience = patience
        self._checkpoint = checkpoint
        self._settings = settings
        self._started = 0.0

    def rows(self) -> tuple[Mapping[str, Any], ...]:
        """What was measured so far; nothing before the end of the first epoch."""
        return self.state.rows if self.state.epochs else ()

    def begin_with(self, row: Mapping[str, Any], model: keras.Model) -> None:
        """Have the weights at the start take part, unless they are too bad to be told how bad."""
        score = score_of(row, self._monitor)
        if math.isfinite(score):
            self.state = replace(self.state, rows=(row,), best_score=score, best_model=values_of(model.variables))

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        measured = {name: float(value) for name, value in (logs or {}).items()}
        row = {
            "epoch": epoch + 1,
            "phase": self._phase,
            **measured,
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "seconds": round(time.perf_counter() - self._started, 3),
        }
        _LOGGER.info("epoch %s", ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{v}" for k, v in row.items()))
        judged = {**measured, "epoch": float(epoch + 1)}
        row["monitor"] = judged_by(judged, self._monitor)
        state = self.state
        score = score_of(judged, self._monitor)
        better = state.best_score is None or score > state.best_score
        self.state = replace(
            state,
            rows=(*state.rows, row),
            phase_epochs=state.phase_epochs + 1,
            waited=0 if better else state.waited + 1,
            best_score=score if better else state.best_score,
            best_model=kept_values(self.model) if better else state.best_model,
        )
        if self._checkpoint:
            now = replace(
                self.state,
                model=values_of(self.model.variables),
                optimizer=values_of(self.model.optimizer.variables),
            )
            self._checkpoint.save(now, self._settings)
        if self.state.waited >= self._patience:
            self.model.stop_training = True


class _Narrator(keras.callbacks.Callback):
    """Passes on what happens."""

    def __init__(self, narration: Narration, keeper: _Keeper) -> None:
        super().__init__()
        self._narration = narration
        self._keeper = keeper

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        self._narration.begin_epoch()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        self._narration.end_batch(float((logs or {}).get("loss", math.nan)))

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        self._narration.validate()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        best = self._keeper.state.waited == 0
        self._narration.end_epoch(self._keeper.rows(), best, last=self.model.stop_training)


class _Watch(keras.callbacks.Callback):
    """Calls a function with what was measured so far; meanwhile the model is in its own precision, fit to be saved."""

    def __init__(
        self,
        watch: Callable[[tuple[Mapping[str, Any], ...]], object],
        keeper: _Keeper,
        as_before: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__()
        self._watch = watch
        self._keeper = keeper
        self._as_before = as_before

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        with self._as_before():
            self._watch(self._keeper.rows())
