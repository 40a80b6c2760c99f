"""From a segmenter's settings to a network, and from labelled images to its weights. Needs Keras."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg._checks import check_choice, check_count
from nucleiseg._seeding import seeded
from nucleiseg._settings import SegmenterSettings
from nucleiseg.datasets.doctor import warn_about_errors
from nucleiseg.errors import InvalidInputError
from nucleiseg.heads import get_head
from nucleiseg.images import list_scalings
from nucleiseg.networks import get_encoder, unet
from nucleiseg.training import Checkpoint, FitOptions, fit_two_phases, losses

if TYPE_CHECKING:
    import keras

    from nucleiseg.datasets import Dataset


def build_network(settings: SegmenterSettings) -> keras.Model:
    """The U-Net that the settings describe, with the encoder's weights in it.

    Raises
    ------
    InvalidInputError
        A name that is not registered, a weights file that is missing, or a number out of its range.
    """
    head = get_head(settings.head)
    check_choice(settings.loss, "loss", losses.list_losses())
    check_choice(settings.scaling, "scaling", list_scalings())
    check_count(settings.seed, "seed", 0)
    with seeded(settings.seed):
        return unet(
            get_encoder(settings.encoder, settings.weights),
            channels=head.channels,
            activation=head.activation,
            upsampling=settings.upsampling,
            widths=settings.widths,
        )


def train_network(
    model: keras.Model,
    settings: SegmenterSettings,
    train: Dataset,
    validation: Dataset | None,
    epochs: int,
    options: FitOptions | None,
    checkpoint: Path | None,
    resume: bool,
) -> tuple[Mapping[str, Any], ...]:
    """Train a network in place; returns one row an epoch.

    Raises
    ------
    InvalidInputError
        What `fit_two_phases` refuses, or a checkpoint that exists although ``resume`` is false.
    """
    keeper = Checkpoint(checkpoint) if checkpoint is not None else None
    if keeper is not None and keeper.exists() and not resume:
        raise InvalidInputError(
            f"the checkpoint folder {keeper.folder} holds an earlier run; pass resume=True to go on with it, "
            "or choose another folder"
        )
    head = get_head(settings.head)
    warn_about_errors(train, semantic=head.target == "mask")
    return fit_two_phases(
        model,
        train,
        validation,
        head.task(settings.scaling, settings.loss),
        epochs,
        pretrained=settings.trained or settings.weights is not None,
        options=options or FitOptions(),
        seed=settings.seed,
        checkpoint=keeper,
        network={name: getattr(settings, name) for name in ("encoder", "weights", "head", "upsampling", "widths")},
    )
