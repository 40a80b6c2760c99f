"""Training that cannot go on says why and what to do, and the model keeps its best weights."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from nucleiseg import datasets
from nucleiseg.errors import TrainingError
from nucleiseg.networks import get_encoder, unet
from nucleiseg.training import Checkpoint, FitOptions, Task, fit_two_phases, fitting
from nucleiseg.training.faults import explain_memory

pytestmark = pytest.mark.usefixtures("eager_steps")

TASK = Task("mask", "dtype", "bce_dice")
OPTIONS = FitOptions(batch_size=2, crop=(32, 32), frozen_epochs=0, augmentation=None)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = np.zeros((4, 40, 40), np.int32)
    labels[:, 8:24, 10:30] = 1
    return datasets.from_arrays((labels * 120 + rng.integers(0, 60, labels.shape)).astype(np.uint8), labels)


@pytest.fixture
def model(tiny_encoder):
    keras.utils.set_random_seed(3)
    return unet(get_encoder(tiny_encoder), widths=(4, 4, 4, 4, 4))


def spoil(monkeypatch, epoch, moment, fault):
    """Have something happen before our own callbacks see this epoch (from 1)."""
    plain = getattr(fitting.FiniteLoss, moment)

    def at(self, number, logs=None):
        if len(self._rows()) + 1 == epoch:
            logs = fault(self.model, dict(logs or {}))
        plain(self, number, logs)

    monkeypatch.setattr(fitting.FiniteLoss, moment, at)


def put_nan(model, logs):
    variable = model.trainable_variables[-1]
    variable.assign(np.full(variable.shape, np.nan))
    return logs


FAULTS = {
    "a batch": ("on_train_batch_end", lambda model, logs: {**logs, "loss": math.nan}, "the loss became nan"),
    "infinity": ("on_train_batch_end", lambda model, logs: {**logs, "loss": math.inf}, "the loss became inf"),
    "validation": (
        "on_epoch_end",
        lambda model, logs: {**logs, "val_loss": math.nan},
        "the validation loss became nan",
    ),
    "weights": ("on_epoch_end", put_nan, "a weight became nan"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_number_ends_training_with_the_best_weights(model, data, tmp_path, monkeypatch, fault):
    moment, change, message = FAULTS[fault]
    spoil(monkeypatch, 2, moment, change)
    checkpoint = Checkpoint(tmp_path)
    with pytest.raises(TrainingError, match=message) as raised:
        fit_two_phases(model, data, data, TASK, 4, True, OPTIONS, checkpoint=checkpoint)
    text = str(raised.value)
    assert "in epoch 2; the best weights of the 1 finished epoch are kept; use a lower learning rate" in text
    assert [row["epoch"] for row in raised.value.rows] == [1]
    best = np.load(tmp_path / "last.npz")
    for i, variable in enumerate(model.variables):
        np.testing.assert_array_equal(variable, best[f"best_model_{i:05}"])
        assert np.isfinite(np.asarray(variable)).all()
    assert all(layer.trainable for layer in model.layers)


def test_a_loss_that_overflows_is_noticed(model, data):
    options = FitOptions(batch_size=2, crop=(32, 32), frozen_epochs=0, augmentation=None, fine_tune_rate=10)
    for variable in model.trainable_variables:
        variable.assign(np.full(variable.shape, 1e30))
    with pytest.raises(TrainingError, match="in epoch 1; no epoch was finished, so there is nothing to keep"):
        fit_two_phases(model, data, None, TASK, 2, True, options)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: OOM when allocating tensor")])
def test_out_of_memory_names_the_batch_size_to_try(model, data, monkeypatch, error):
    def give_up(self, logs):
        raise error

    spoil(monkeypatch, 2, "on_train_batch_end", give_up)
    with pytest.raises(TrainingError, match=r"with batch_size=2 and crops of \(32, 32\); try batch_size=1") as raised:
        fit_two_phases(model, data, None, TASK, 3, True, OPTIONS)
    assert len(raised.value.rows) == 1


def test_memory_that_runs_out_while_images_are_read_is_told_too(model, data):
    class Large(list):
        def __getitem__(self, index):
            if index == 3:
                raise MemoryError("Unable to allocate 10.0 TiB")
            return super().__getitem__(index)

    with pytest.raises(TrainingError, match="try batch_size=1"):
        fit_two_phases(model, Large(data), None, TASK, 1, True, OPTIONS)


@pytest.mark.parametrize(
    ("batch_size", "crop", "advice"),
    [
        (8, (256, 256), "try batch_size=4 (--batch-size 4)"),
        (1, (256, 256), "try crop=(128, 128) (--crop 128)"),
        (1, (96, 96), "try crop=(32, 32)"),
        (1, (32, 32), "try a smaller encoder"),
    ],
)
def test_the_advice_is_smaller(batch_size, crop, advice):
    with pytest.raises(TrainingError) as raised, explain_memory(FitOptions(batch_size=batch_size, crop=crop), list):
        raise MemoryError
    assert advice in str(raised.value)


@pytest.mark.parametrize("error", [ValueError("shapes"), KeyboardInterrupt("memory"), OSError(28, "No space left")])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised, explain_memory(OPTIONS, list):
        raise error
    assert raised.value is error
