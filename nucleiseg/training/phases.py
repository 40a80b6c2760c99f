"""The phases of transfer learning: what learns in each, for how long, and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from nucleiseg.networks import find_encoder
from nucleiseg.networks.precision import layers_of
from nucleiseg.training.options import FitOptions


@dataclass(frozen=True)
class Task:
    """What a model is trained for: target and scaling of the data, and the loss, by name.

    ``foreground`` are the maps whose sum is the probability of being nucleus, by which progress is measured. With a
    ``decoder`` and its ``thresholds``, it is measured in nuclei too. ``monitor`` is what decides which epoch is best.

    Examples
    --------
    >>> Task(target="mask", scaling="percentile", loss="bce_dice").loss
    'bce_dice'
    """

    target: str
    scaling: str
    loss: str
    foreground: tuple[int, ...] = (0,)
    decoder: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    monitor: str = "val_dice"


@dataclass(frozen=True)
class Phase:
    """A stretch of training: ``"frozen"``, ``"fine-tune"`` or ``"full"``, its longest duration and its highest rate."""

    name: str
    epochs: int
    learning_rate: float


def plan_phases(epochs: int, pretrained: bool, options: FitOptions) -> list[Phase]:
    """The phases of a run; together they have as many epochs as the run."""
    if not pretrained:
        return [Phase("full", epochs, options.learning_rate)]
    frozen = max(1, epochs // 5) if options.frozen_epochs is None else options.frozen_epochs
    frozen = min(frozen, epochs)
    phases = [
        Phase("frozen", frozen, options.learning_rate),
        Phase("fine-tune", epochs - frozen, options.fine_tune_rate),
    ]
    return [phase for phase in phases if phase.epochs]


def compile_phase(model: keras.Model, phase: Phase, task: Task, steps: int, options: FitOptions) -> None:
    """Freeze what does not learn in a phase, and compile the model for its number of steps."""
    from nucleiseg.training import losses, metrics

    encoder = find_encoder(model)
    unfreeze(model)
    encoder.trainable = phase.name != "frozen"
    if phase.name == "fine-tune" and options.freeze_statistics:
        for layer in layers_of(encoder):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    warm_up = max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        phase.learning_rate / 10,
        max(1, steps - warm_up),
        alpha=0.02,
        warmup_target=phase.learning_rate,
        warmup_steps=warm_up,
    )
    scores = (metrics.PixelAccuracy, metrics.IoU, metrics.Dice)
    averaging = {"use_ema": True, "ema_momentum": options.averaging} if options.averaging else {}
    optimizer = keras.optimizers.Adam(schedule, weight_decay=options.weight_decay or None, **averaging)
    if options.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(
        optimizer=optimizer,
        loss=losses.get(task.loss),
        metrics=[score(channels=task.foreground) for score in scores],
        # TensorFlow's XLA takes three times as long for these networks on CPU.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )


def unfreeze(model: keras.Model) -> None:
    """Let all layers learn. Setting ``model.trainable`` reaches no layer of a nested model that differs from it."""
    for layer in layers_of(model):
        layer.trainable = True


def seed_layers(model: keras.Model, seed: int) -> None:
    """Have layers such as dropout draw what this seed says; in a loaded model they would draw something new each time.

    Examples
    --------
    >>> image = keras.Input((4, 4, 1))
    >>> model = keras.Model(image, keras.layers.Dropout(0.5)(image))
    >>> seed_layers(model, 3)
    >>> first = np.asarray(model(np.ones((1, 4, 4, 1)), training=True))
    >>> seed_layers(model, 3)
    >>> bool((np.asarray(model(np.ones((1, 4, 4, 1)), training=True)) == first).all())
    True
    """
    states = [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]
    for number, state in enumerate(states):
        state.assign(np.array([np.random.SeedSequence((seed, number)).generate_state(1)[0], 0]))
