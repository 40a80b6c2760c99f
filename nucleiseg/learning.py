"""From a segmenter's settings to a network, and from labelled images to its weights. Needs Keras."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg._checks import check_choice, check_count, check_instance
from nucleiseg._seeding import seeded
from nucleiseg._settings import SegmenterSettings
from nucleiseg._warnings import warn_caller
from nucleiseg.datasets import Dataset
from nucleiseg.datasets.doctor import warn_about_errors
from nucleiseg.datasets.given import check_labelled
from nucleiseg.engines.gpus import grow_gpu_memory
from nucleiseg.errors import InvalidInputError, TrainingWarning
from nucleiseg.heads import get_head
from nucleiseg.images import list_scalings
from nucleiseg.inference.limits import MIN_CONFIDENCE
from nucleiseg.inference.scale import Passport
from nucleiseg.modelchecks import check_saveable
from nucleiseg.networks import get_encoder, unet
from nucleiseg.training import Checkpoint, FitOptions, losses
from nucleiseg.training.runs import TrainingRun, run_training
from nucleiseg.training.taught import TaughtImages, check_teacher

if TYPE_CHECKING:
    import keras


def build_network(settings: SegmenterSettings) -> keras.Model:
    """The U-Net that the settings describe, with the encoder's weights in it.

    Raises
    ------
    InvalidInputError
        A name that is not registered, a weights file that is missing, a number out of its range, or a layer that can't
        be saved.
    """
    head = get_head(settings.head)
    check_choice(settings.loss, "loss", losses.list_losses())
    check_choice(settings.scaling, "scaling", list_scalings())
    check_count(settings.seed, "seed", 0)
    grow_gpu_memory()
    with seeded(settings.seed):
        model = unet(
            get_encoder(settings.encoder, settings.weights),
            channels=head.channels,
            activation=head.activation,
            upsampling=settings.upsampling,
            widths=settings.widths,
            convolutions=settings.convolutions,
            refine=settings.refine,
        )
    check_saveable(model)  # now, not when it has been trained
    return model


def train_network(
    model: keras.Model,
    settings: SegmenterSettings,
    train: Dataset | TaughtImages,
    validation: Dataset | None,
    epochs: int,
    options: FitOptions | None,
    checkpoint: str | os.PathLike[str] | None,
    resume: bool,
    watch: Callable[[tuple[Mapping[str, Any], ...]], object] | None = None,
) -> TrainingRun:
    """Train a network in place; returns its settings as they are then, what was measured, and why it failed if it did.

    A network that was trained before goes on with `FitOptions.for_few_images` unless there are options. If no epoch is
    better than its start, weights and settings are what they were. With new weights, how the confidence of the old ones
    was calibrated is dropped, as is the least confidence; thresholds stay.

    Warns
    -----
    TrainingWarning
        If a trained network goes on without validation data.

    Raises
    ------
    InvalidInputError
        What `fit_two_phases` refuses, data that are no labelled images, a checkpoint that exists although ``resume`` is
        false, or a teacher with another head.
    """
    _check_labelled(train, "train")
    if validation is not None:
        _check_labelled(validation, "validation_data")
    epochs = check_count(epochs, "epochs")
    if options is not None:
        check_instance(options, FitOptions, "options", "FitOptions(batch_size=4)")
    keeper = Checkpoint.for_run(None if checkpoint is None else Path(checkpoint), resume)
    settings = _as_begun(settings, keeper)
    head = get_head(settings.head)
    labelled = train.data if isinstance(train, TaughtImages) else train
    if isinstance(train, TaughtImages):
        check_teacher(train.head, settings.head)
    warn_about_errors(labelled, semantic=head.target == "mask")
    if settings.trained and validation is None:
        warn_caller(
            "a trained model goes on without validation data: nothing can tell whether it gets worse, and its "
            "confidence will not be calibrated; give fit validation_data, e.g. of data.split(0.8, 0.2), or call "
            "nucleiseg.fine_tune, which keeps the better model",
            TrainingWarning,
        )
    task = head.task(settings.scaling, settings.loss)
    if options is None:
        options = FitOptions.for_few_images(max(1, len(train))) if settings.trained else FitOptions()
    # Before the training, so that nothing can fail, or be interrupted, between new weights and their settings.
    passport = passport_of(labelled, options)
    if options.start_share and settings.trained and settings.passport is not None and passport is not None:
        before = settings.passport  # weights of before are among the new ones, which so know what those knew
        passport = (min(before[0], passport[0]), passport[1], max(before[2], passport[2]))
    run = run_training(model, settings, task, train, validation, epochs, options, keeper, watch)
    if run.is_as_before:
        return replace(run, settings=settings)
    thresholds = {name: value for name, value in settings.thresholds.items() if name != MIN_CONFIDENCE}
    fresh = replace(run.settings, passport=passport, licence=None, calibration=None, scale_calibration=None)
    return replace(run, settings=replace(fresh, thresholds=thresholds))


def _check_labelled(data: Any, name: str) -> None:
    """Refuse what does not hold labelled images, which else ends in a traceback from the search for wrong labels."""
    if isinstance(data, TaughtImages) and name != "train":
        raise InvalidInputError(
            f"{name} must have labels of its own, got what a teacher finds; give the images without it: {name}.data"
        )
    if isinstance(data, TaughtImages):
        return
    try:
        check_labelled(data, name)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"{error}; a tf.data pipeline is learned from by segmenter.model.fit(pairs), compiled before"
        ) from None


def _as_begun(settings: SegmenterSettings, keeper: Checkpoint | None) -> SegmenterSettings:
    """Where a model goes on with the very run that it comes from: whether it was trained before that run began."""
    run = settings.run or {}
    if keeper is None or not keeper.exists() or run.get("checkpoint") is None:
        return settings
    if Path(run["checkpoint"]).resolve() != keeper.folder.resolve():
        return settings
    return replace(settings, trained=bool(run.get("trained_before", settings.trained)))


def is_tuned(settings: SegmenterSettings) -> bool:
    """Whether thresholds were chosen by labelled images, or confidence was calibrated: a new network has the head's."""
    return settings.calibration is not None or dict(settings.thresholds) != dict(get_head(settings.head).thresholds)


def passport_of(train: Dataset, options: FitOptions) -> tuple[float, float, float] | None:
    """The sizes of nuclei that a network knows once it has learned from these images; None if there is no nucleus."""
    changes = options.augmentation
    largest = 1.0 if changes is None else max(1.0, changes.scale[1])
    passport = Passport.of_labels((sample.labels for sample in train), largest)
    return None if passport is None else (passport.low, passport.typical, passport.high)
