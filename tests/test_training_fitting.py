"""Two-phase training: what learns, what is kept, when it stops, and that an interruption changes nothing."""

from __future__ import annotations

import gc
import io
import json
import re
import shutil
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from nucleiseg import datasets
from nucleiseg.errors import InvalidInputError, TrainingError
from nucleiseg.networks import find_encoder, get_encoder, unet
from nucleiseg.training import Augmentation, Checkpoint, FitOptions, Task, callbacks, fit_two_phases
from nucleiseg.training.phases import Phase, compile_phase

pytestmark = pytest.mark.usefixtures("eager_steps")

TASK = Task("mask", "dtype", "bce_dice")
OPTIONS = FitOptions(batch_size=4, crop=(32, 32), frozen_epochs=2, learning_rate=0.01, augmentation=Augmentation())


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = np.zeros((4, 40, 40), np.int32)
    labels[:, 8:24, 10:30] = 1
    images = (labels * 120 + rng.integers(0, 60, labels.shape)).astype(np.uint8)
    return datasets.from_arrays(images, labels)


@pytest.fixture
def model(tiny_encoder):
    return build(tiny_encoder)


def build(encoder):
    """The same network each time, down to its weights."""
    keras.utils.set_random_seed(3)
    return unet(get_encoder(encoder), widths=(4, 4, 4, 4, 4))


def fit(model, data, epochs=4, validation=True, pretrained=True, options=OPTIONS, **others):
    return fit_two_phases(model, data, data if validation else None, TASK, epochs, pretrained, options, **others)


def weights(model):
    return [np.array(variable) for variable in model.variables]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def batch_statistics(model):
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return [np.array(weight) for layer in layers for weight in layer.weights]


def test_a_pretrained_encoder_is_frozen_first_and_keeps_its_batch_statistics(model, data):
    encoder = find_encoder(model)
    before, statistics = weights(encoder), batch_statistics(encoder)
    rows = fit(model, data, epochs=2)
    assert [row["phase"] for row in rows] == ["frozen", "frozen"]
    assert {row["monitor"] for row in rows} == {"val_dice"}
    assert same(weights(encoder), before)
    rows = fit(model, data, epochs=4)
    assert [row["phase"] for row in rows] == ["frozen", "frozen", "fine-tune", "fine-tune"]
    if np.argmax([row["val_dice"] for row in rows]) >= 2:  # else the best weights are those of a frozen epoch
        assert not same(weights(encoder), before)
    assert len(statistics) > 0
    assert same(batch_statistics(encoder), statistics)
    assert max(row["learning_rate"] for row in rows[2:]) < max(row["learning_rate"] for row in rows[:2])


def test_batch_statistics_learn_if_that_is_wanted(model, data):
    statistics = batch_statistics(find_encoder(model))
    options = replace(OPTIONS, frozen_epochs=0, freeze_statistics=False, keep="last")
    assert [row["phase"] for row in fit(model, data, epochs=1, options=options)] == ["fine-tune"]
    assert not any(
        np.array_equal(*pair) for pair in zip(batch_statistics(find_encoder(model)), statistics, strict=True)
    )


@pytest.mark.usefixtures("compiled_steps")
def test_half_the_bits_within_the_network_suffice_to_learn(model, data):
    options = replace(OPTIONS, precision="mixed_bfloat16")
    rows = fit(model, data, epochs=24, pretrained=False, options=options)
    assert max(row["val_dice"] for row in rows) > 0.7
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_a_random_encoder_learns_from_the_start(model, data):
    encoder = find_encoder(model)
    before = weights(encoder)
    assert [row["phase"] for row in fit(model, data, epochs=1, pretrained=False)] == ["full"]
    assert not same(weights(encoder), before)


def test_all_layers_can_be_trained_afterwards(model, data):
    fit(model, data, epochs=1)
    assert all(layer.trainable for layer in find_encoder(model).layers if layer.weights)


@pytest.mark.usefixtures("compiled_steps")
def test_it_learns(model, data):
    rows = fit(model, data, epochs=24, pretrained=False)
    assert max(row["val_dice"] for row in rows) > 0.7
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_the_best_weights_are_kept(model, data, monkeypatch):
    scores = iter([0.1, 0.9, 0.3, 0.2])
    seen = []
    plain = callbacks.Keeper.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        plain(self, epoch, {**logs, "val_dice": next(scores)})
        seen.append(weights(self.model))

    monkeypatch.setattr(callbacks.Keeper, "on_epoch_end", on_epoch_end)
    fit(model, data, epochs=4, pretrained=False)
    assert same(weights(model), seen[1])


def test_the_last_weights_are_kept_if_that_is_wanted(model, data, monkeypatch):
    seen = []
    plain = callbacks.Keeper.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        plain(self, epoch, {**logs, "val_dice": 1.0 / (epoch + 1)})
        seen.append(weights(self.model))

    monkeypatch.setattr(callbacks.Keeper, "on_epoch_end", on_epoch_end)
    options = FitOptions(batch_size=4, crop=(32, 32), patience=1, keep="last")
    rows = fit(model, data, epochs=3, pretrained=False, options=options)
    assert {row["monitor"] for row in rows} == {"epoch"}
    assert len(seen) == 3
    assert same(weights(model), seen[2])


def test_an_average_over_the_steps_is_kept_if_that_is_wanted(tiny_encoder, data, tmp_path):
    """Over a thousand steps, of which there are four: hardly more than the first step, and the last one without."""
    kept, learned, first = [], [], weights(build(tiny_encoder))
    for averaging in (0.0, 0.5, 0.999):
        model, folder = build(tiny_encoder), tmp_path / str(averaging)
        options = replace(OPTIONS, keep="last", averaging=averaging)
        fit(model, data, pretrained=False, options=options, checkpoint=Checkpoint(folder))
        kept.append(weights(model))
        with np.load(folder / "last.npz") as file:
            learned.append([file[name] for name in sorted(file.files) if name.startswith("model_")])
    assert same(kept[0], learned[0])
    assert same(learned[0], learned[1])  # what is averaged goes on as if it was not
    assert same(learned[0], learned[2])
    learns = [number for number, value in enumerate(first) if not same([value], [kept[2][number]])]
    far, near = (
        sum(float(np.abs(kept[which][number] - learned[0][number]).sum()) for number in learns) for which in (2, 1)
    )
    assert 0 < near < far / 2


def test_a_share_of_the_weights_before_the_training_is_mixed_in(tiny_encoder, data):
    start, options = weights(build(tiny_encoder)), replace(OPTIONS, keep="last")
    plain, shared = build(tiny_encoder), build(tiny_encoder)
    fit(plain, data, pretrained=False, options=options)
    fit(shared, data, pretrained=False, options=replace(options, start_share=0.25))
    wanted = [0.25 * before + 0.75 * after for before, after in zip(start, weights(plain), strict=True)]
    assert not same(start, weights(plain))
    for found, value in zip(weights(shared), wanted, strict=True):
        np.testing.assert_allclose(found, value, atol=1e-6)


def test_the_weights_before_the_training_outlive_an_interruption(tiny_encoder, data, tmp_path):
    def stop(rows):
        raise KeyboardInterrupt

    options = replace(OPTIONS, keep="last", start_share=0.5)
    whole, resumed = build(tiny_encoder), build(tiny_encoder)
    fit(whole, data, pretrained=False, options=options)
    with pytest.raises(KeyboardInterrupt):
        fit(resumed, data, pretrained=False, options=options, checkpoint=Checkpoint(tmp_path), watch=stop)
    fit(resumed, data, pretrained=False, options=options, checkpoint=Checkpoint(tmp_path))  # not with its first weights
    assert same(weights(whole), weights(resumed))


def test_an_epoch_has_as_many_batches_as_its_crops_fill(model, data, monkeypatch):
    batches = []
    monkeypatch.setattr(callbacks.Narrator, "on_train_batch_end", lambda self, batch, logs=None: batches.append(batch))
    options = FitOptions(batch_size=4, crop=(32, 32), crops_per_image=3)
    fit(model, data, epochs=1, pretrained=False, options=options)
    assert len(batches) == 3 * len(data) // 4


def test_weight_decay_shrinks_weights_and_spares_normalisation(model):
    kernel = model.get_layer("maps").kernel
    compile_phase(model, Phase("full", 1, 0.1), TASK, 10, FitOptions(weight_decay=0.5))
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    assert optimizer._use_weight_decay(kernel)
    spared = [weight for weight in model.trainable_variables if not optimizer._use_weight_decay(weight)]
    assert {weight.name for weight in spared} == {"gamma", "beta", "bias"}
    compile_phase(model, Phase("full", 1, 0.1), TASK, 10, FitOptions())
    assert model.optimizer.weight_decay is None


def test_a_phase_begins_with_the_best_weights(model, data, monkeypatch):
    scores = iter([0.9, 0.1, 0.2])
    ends, begins = [], []
    plain = callbacks.Keeper.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        plain(self, epoch, {**logs, "val_dice": next(scores)})
        ends.append(weights(self.model))

    monkeypatch.setattr(callbacks.Keeper, "on_epoch_end", on_epoch_end)
    monkeypatch.setattr(callbacks.Keeper, "on_train_begin", lambda self, logs=None: begins.append(weights(self.model)))
    fit(model, data, epochs=3)  # two of them frozen
    assert same(begins[1], ends[0])
    assert not same(begins[1], ends[1])


def test_without_validation_data_the_loss_decides(model, data):
    rows = fit(model, data, epochs=2, validation=False)
    assert "val_dice" not in rows[0]
    assert [row["monitor"] for row in rows] == ["loss", "loss"]


def test_a_phase_ends_early_when_nothing_improves(model, data, monkeypatch):
    monkeypatch.setattr(callbacks, "score_of", lambda measured, monitor: 0.0)
    options = FitOptions(batch_size=4, crop=(32, 32), frozen_epochs=6, patience=2, augmentation=None)
    rows = fit(model, data, epochs=12, options=options)
    # The first epoch is the best; two more without improvement end the phase. The second phase never gets better.
    assert [row["phase"] for row in rows] == ["frozen"] * 3 + ["fine-tune"] * 2


def test_every_epoch_is_told_after_its_checkpoint_is_there(model, data, tmp_path):
    told = []

    def watch(rows):
        with np.load(tmp_path / "last.npz") as state:
            saved = json.loads(state["facts"].tobytes())["rows"]
        assert list(rows) == saved
        told.append(len(rows))

    fit(model, data, epochs=2, validation=False, checkpoint=Checkpoint(tmp_path), watch=watch)
    assert told == [1, 2]


def test_on_a_terminal_each_epoch_is_a_line_and_the_one_that_is_kept_is_told(model, data, monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("NUCLEISEG_PROGRESS", raising=False)
    scores = iter([0.4, 0.9, 0.3])
    plain = callbacks.Keeper.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        logs["val_dice"] = next(scores)
        plain(self, epoch, logs)

    monkeypatch.setattr(callbacks.Keeper, "on_epoch_end", on_epoch_end)
    fit(model, data, epochs=3)  # two of them frozen
    lines = [re.sub(r".*\r|\x1b\[K|\d+ s", "", line) for line in stream.getvalue().split("\n")[:-1]]
    assert [re.sub(r"loss \S+ ", "", line) for line in lines] == [
        "epoch 1/3  frozen      Dice 0.400  ,  left, best so far",
        "epoch 2/3  frozen      Dice 0.900  ,  left, best so far",
        "epoch 3/3  fine-tune   Dice 0.300  ",
    ]
    assert "validating" in stream.getvalue()


def test_on_a_terminal_an_interruption_takes_the_bar_away(model, data, monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("NUCLEISEG_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def interrupt(self, batch, logs=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.Keeper, "on_train_batch_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, epochs=1, validation=False)
    assert "epoch 1/1" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


@pytest.fixture(scope="module")
def uninterrupted(tiny_encoder, data):
    """Weights and history of a run that nothing interrupts."""
    model = build(tiny_encoder)
    rows = fit(model, data)
    return weights(model), rows


@pytest.mark.parametrize("interrupted_after", [1, 2, 3])
def test_an_interruption_changes_nothing(tiny_encoder, data, uninterrupted, tmp_path, monkeypatch, interrupted_after):
    expected_weights, expected = uninterrupted

    class InterruptionError(Exception):
        pass

    plain = Checkpoint.save

    def save(self, state, settings):
        plain(self, state, settings)
        if len(state.rows) == interrupted_after:
            raise InterruptionError

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save)
        with pytest.raises(InterruptionError):
            fit(build(tiny_encoder), data, checkpoint=Checkpoint(tmp_path))
    resumed = build(tiny_encoder)
    rows = fit(resumed, data, checkpoint=Checkpoint(tmp_path))
    for one, other in zip(weights(resumed), expected_weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    for row, wanted in zip(rows, expected, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**wanted, "seconds": 0}, abs=1e-5)


def test_interruptions_while_nothing_improves_change_nothing(tiny_encoder, data, tmp_path, monkeypatch):
    # The second epoch is the best; two more without gain end the first phase, and two the second.
    scores = [0.3, 0.5, 0.4, 0.4, 0.2, 0.1]
    plain = callbacks.Keeper.on_epoch_end
    stops = []

    def on_epoch_end(self, epoch, logs=None):
        plain(self, epoch, {**logs, "val_dice": scores[epoch]})
        if epoch + 1 in stops:
            raise KeyboardInterrupt

    def run(folder):
        model = build(tiny_encoder)
        options = FitOptions(batch_size=4, crop=(32, 32), frozen_epochs=8, patience=2, augmentation=None)
        rows = fit(model, data, 16, options=options, checkpoint=Checkpoint(tmp_path / folder))
        assert [row["phase"] for row in rows] == ["frozen"] * 4 + ["fine-tune"] * 2
        return weights(model)

    monkeypatch.setattr(callbacks.Keeper, "on_epoch_end", on_epoch_end)
    at_once = run("at once")
    for epoch in (3, 4):  # while it waits, and as the phase ends
        stops[:] = [epoch]
        with pytest.raises(KeyboardInterrupt):
            run("in parts")
    stops.clear()
    for one, wanted in zip(run("in parts"), at_once, strict=True):
        np.testing.assert_allclose(one, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("error", "keep", "left", "validation"),
    [(KeyboardInterrupt, "best", 1, True), (OSError, "last", 2, True), (TrainingError, "best", 1, False)],
)
def test_by_whatever_training_ends_early_the_weights_are_those_to_keep(
    model, data, monkeypatch, error, keep, left, validation
):
    before, ends = weights(model), []
    plain = callbacks.Keeper.on_epoch_end
    score = iter([0.9, 0.1])

    def on_epoch_end(self, epoch, logs=None):
        value = next(score)
        plain(self, epoch, {**logs, "val_dice": value} if validation else {"loss": 1 - value})
        ends.append(weights(self.model))

    def on_train_batch_end(self, batch, logs=None):
        if len(ends) == stop:
            raise error("the disk is full")

    monkeypatch.setattr(callbacks.Keeper, "on_epoch_end", on_epoch_end)
    monkeypatch.setattr(callbacks.Keeper, "on_train_batch_end", on_train_batch_end)
    options = replace(OPTIONS, keep=keep)
    for stop in (0, 2):
        finished = []
        with pytest.raises(error, match="the disk is full"):
            fit(model, data, 4, validation, pretrained=False, options=options, finished=finished)
        assert len(finished) == stop
        assert same(weights(model), before if stop == 0 else ends[left - 1])


@pytest.mark.parametrize(
    ("error", "moment"),
    [
        (KeyboardInterrupt, "on_train_batch_end"),
        (KeyboardInterrupt, "on_epoch_end"),
        pytest.param(ZeroDivisionError, "on_train_batch_end", marks=pytest.mark.weekly),
    ],
)
@pytest.mark.usefixtures("compiled_steps")
def test_no_iterator_outlives_an_interruption(model, data, monkeypatch, error, moment):
    def interrupt(self, number, logs=None):
        raise error("the reason")

    def iterators():
        return [found for found in gc.get_objects() if type(found).__name__ == "OwnedIterator"]

    monkeypatch.setattr(callbacks.Keeper, moment, interrupt)
    gc.collect()
    before = iterators()
    gc.disable()
    try:
        with pytest.raises(error, match="the reason"):
            fit(model, data, 1)
        assert [found for found in iterators() if all(found is not earlier for earlier in before)] == []
    finally:
        gc.enable()


def test_batch_statistics_are_kept_in_nested_blocks_too(data):
    def block(filters):
        convolution = keras.layers.Conv2D(filters, 3, strides=2, padding="same")
        return keras.Sequential([convolution, keras.Sequential([keras.layers.BatchNormalization()])])

    image = keras.Input((None, None, 3))
    features = [block(4)(image)]
    for _ in range(4):
        features.append(block(4)(features[-1]))
    model = unet(keras.Model(image, features), widths=(4, 4, 4, 4, 4))
    encoder = find_encoder(model)
    normalisations = [layer.layers[-1].layers[0] for layer in encoder.layers if isinstance(layer, keras.Sequential)]
    before = [weight for layer in normalisations for weight in layer.get_weights()]
    kernels = [layer.layers[0].get_weights()[0] for layer in encoder.layers if isinstance(layer, keras.Sequential)]
    fit(model, data, epochs=1, validation=False, options=FitOptions(batch_size=4, crop=(32, 32), frozen_epochs=0))
    assert len(before) == 5 * 4
    assert same([weight for layer in normalisations for weight in layer.get_weights()], before)
    learned = [layer.layers[0].get_weights()[0] for layer in encoder.layers if isinstance(layer, keras.Sequential)]
    assert not same(learned, kernels)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(model, data, tmp_path, caplog):
    checkpoint = Checkpoint(tmp_path)
    fit(model, data, epochs=3, checkpoint=checkpoint)
    (tmp_path / "last.npz").write_bytes((tmp_path / "last.npz").read_bytes()[:-500])
    rows = fit(model, data, epochs=3, checkpoint=checkpoint)
    assert len(rows) == 3
    assert "is damaged and is passed over" in caplog.text


def test_checkpoints_that_are_all_damaged_are_an_error(model, data, tmp_path):
    (tmp_path / "last.npz").write_bytes(b"no zip")
    with pytest.raises(InvalidInputError, match="no checkpoint in .* can be read .*delete the folder"):
        fit(model, data, checkpoint=Checkpoint(tmp_path))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 5}, "epochs"),
        ({"options": FitOptions(batch_size=1, crop=(32, 32), frozen_epochs=2)}, "batch_size"),
        ({"options": replace(OPTIONS, seed=7)}, "seed"),
    ],
)
def test_other_settings_do_not_go_on(model, data, tmp_path, changed, message):
    fit(model, data, epochs=2, checkpoint=Checkpoint(tmp_path))
    with pytest.raises(InvalidInputError, match=f"other settings .*{message}.*delete the folder"):
        fit(model, data, **{"epochs": 2, "checkpoint": Checkpoint(tmp_path), **changed})


def test_another_network_does_not_go_on(model, data, tmp_path, tiny_encoder):
    fit(model, data, epochs=2, checkpoint=Checkpoint(tmp_path))
    other = unet(get_encoder(tiny_encoder), widths=(8, 4, 4, 4, 4))
    with pytest.raises(InvalidInputError, match="another network"):
        fit(other, data, epochs=2, checkpoint=Checkpoint(tmp_path))


def test_other_images_do_not_go_on(model, data, tmp_path):
    fit(model, data[:2], epochs=2, checkpoint=Checkpoint(tmp_path))
    with pytest.raises(InvalidInputError, match="delete the folder"):
        fit(model, data[2:], epochs=2, checkpoint=Checkpoint(tmp_path))


def test_a_finished_run_is_not_run_again(model, data, tmp_path):
    first = fit(model, data, epochs=2, checkpoint=Checkpoint(tmp_path))
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert fit(model, data, epochs=2, checkpoint=Checkpoint(tmp_path / "copy")) == first


@pytest.mark.parametrize(
    ("train", "validation"), [(slice(0), slice(None)), (slice(None), slice(0))], ids=["train", "validation"]
)
def test_empty_data_is_refused(model, data, train, validation):
    with pytest.raises(InvalidInputError, match="needs at least one image"):
        fit_two_phases(model, data[train], data[validation], TASK, 1, False, OPTIONS)


def test_the_number_of_epochs_is_checked(model, data):
    with pytest.raises(InvalidInputError, match="epochs must be a whole number of at least 1, got 0"):
        fit(model, data, epochs=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": (100, 64)}, r"multiples of 32.*for example \(128, 64\)"),
        ({"crop": 256}, r"crop must be \(height, width\), got 256; for example \(256, 256\)"),
        ({"crop": (64, 0)}, "crop must be a whole number of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size"),
        ({"patience": 0}, "patience"),
        ({"crops_per_image": 0}, "crops_per_image"),
        ({"validation_crops": 0}, "validation_crops"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"averaging": 1.0, "keep": "last"}, "averaging must be .* got 1.0"),
        (
            {"averaging": 0.9},
            "averaged weights are kept from the last epoch.*got averaging 0.9 and keep 'best'; pass keep='last'",
        ),
        ({"start_share": 1.0, "keep": "last"}, "start_share must be .* got 1.0"),
        ({"start_share": 0.5}, "got start_share 0.5 and keep 'best'; pass keep='last'"),
        ({"keep": "first"}, "unknown keep .first.; choose one of best, last"),
        ({"precision": "float16"}, "unknown precision .float16.; .*choose one of float32, mixed_bfloat16"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"frozen_epochs": -1}, "frozen_epochs"),
        ({"freeze_statistics": "false"}, "freeze_statistics must be true or false, got 'false'"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"balance_area": "no"}, "balance_area must be true or false, got 'no'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(InvalidInputError, match=message):
        FitOptions(**options)
