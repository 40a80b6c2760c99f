"""Metrics against counts in NumPy. What is pooled must not depend on how pixels fall into batches."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import count_pixels
from nucleiseg.training import get_target, metrics

FEW = settings(max_examples=40, deadline=None)
# TensorFlow takes subnormal numbers for 0.
PROBABILITIES = st.floats(0, 1, width=32, allow_subnormal=False)
# Each metric, and its score in `nucleiseg.instances.PixelCounts`, which shares no code with it.
METRICS = {metrics.PixelAccuracy: "accuracy", metrics.IoU: "iou", metrics.Dice: "dice"}
EVERY = pytest.mark.parametrize("metric", METRICS)


@st.composite
def several_batches(draw):
    """Masks and probabilities of 1 to 4 batches, each (N, H, W, 1) of its own size."""
    result = []
    for _ in range(draw(st.integers(1, 4))):
        shape = (*draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=4)), 1)
        mask = draw(hnp.arrays(np.float32, shape, elements=st.sampled_from([0.0, 1.0])))
        result.append((mask, draw(hnp.arrays(np.float32, shape, elements=PROBABILITIES))))
    return result


def score(metric, batches, threshold=0.5):
    """The score of all pixels together, counted in NumPy."""
    mask = np.concatenate([mask.ravel() for mask, _ in batches])
    probability = np.concatenate([probability.ravel() for _, probability in batches])
    return getattr(count_pixels(mask, probability > np.float32(threshold)), METRICS[metric])


@EVERY
@FEW
@given(several_batches(), st.sampled_from([0, 0.25, 0.5, 0.9, 1]))
def test_counts_are_pooled_over_batches(metric, batches, threshold):
    kept = metric(threshold=threshold)
    for mask, probability in batches:
        kept.update_state(mask, probability)
    assert float(kept.result()) == pytest.approx(score(metric, batches, threshold), abs=1e-6)
    pixels = sum(mask.size for mask, _ in batches)
    assert float(kept.tp + kept.fp + kept.fn + kept.tn) == pixels


@EVERY
def test_it_is_no_mean_over_batches(metric):
    # One pixel that is wrong, and nine that are right: a mean of the two batches would be a half.
    kept = metric()
    kept.update_state(np.ones((1, 1, 1, 1)), np.zeros((1, 1, 1, 1), np.float32))
    kept.update_state(np.ones((1, 3, 3, 1)), np.ones((1, 3, 3, 1), np.float32))
    assert float(kept.result()) == pytest.approx({"dice": 18 / 19}.get(METRICS[metric], 0.9))


@EVERY
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float32", "float16"])
def test_masks_of_any_dtype(metric, dtype):
    mask = np.array([0, 1, 1, 0]).reshape(1, 2, 2, 1)
    probability = np.float32([0.9, 0.9, 0.1, 0.1]).reshape(mask.shape)
    kept = metric()
    kept.update_state(mask.astype(dtype), probability)
    assert float(kept.result()) == pytest.approx(score(metric, [(mask, probability)]))


@EVERY
def test_a_value_at_the_threshold_is_background(metric):
    kept = metric(threshold=0.5)
    kept.update_state([[[[1.0], [1.0]]]], [[[[0.5], [0.5000001]]]])
    assert (float(kept.fn), float(kept.tp)) == (1, 1)


@EVERY
@FEW
@given(several_batches(), st.floats(0, 0.49), st.data())
def test_a_soft_target_counts_as_the_mask_that_it_was_made_of(metric, batches, share, data):
    """As long as the mask has the larger part in it, whatever it is mixed with."""
    hard, soft = metric(), metric()
    for mask, probability in batches:
        other = data.draw(hnp.arrays(np.float32, mask.shape, elements=PROBABILITIES))
        hard.update_state(mask, probability)
        soft.update_state((1 - share) * mask + share * other, probability)
    assert float(soft.result()) == float(hard.result())


@EVERY
@pytest.mark.parametrize("dtype", ["bool", "uint8", "float32"])
def test_nuclei_of_several_channels_are_added_up_whatever_their_weights(metric, dtype):
    labels = np.array([[0, 0, 1, 1, 1, 1, 2, 2, 2, 2]])
    target = get_target("boundary")(labels)[np.newaxis]
    assert set(np.unique(target)) == {0, 1, 5}
    probability = np.repeat(np.float32([0.8, 0.1, 0.1])[:, np.newaxis], 10, axis=1).T[np.newaxis, np.newaxis]
    kept = metric(channels=(1, 2))
    kept.update_state(target.astype(dtype), probability)
    assert (float(kept.fn), float(kept.tn)) == (8, 2)


@EVERY
def test_a_target_may_have_further_maps_where_channels_are_picked(metric):
    rng = np.random.default_rng(0)
    mask, probability = rng.integers(0, 2, (2, 4, 4, 1)), rng.random((2, 4, 4, 1), np.float32)
    kept = metric(channels=(0,))
    kept.update_state(np.concatenate([mask, 9 + mask], axis=-1), probability)
    assert float(kept.result()) == pytest.approx(score(metric, [(mask, probability)]))


@EVERY
@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        ((1, 4, 4, 2), (1, 4, 1, 2), r"the same shape but for their channels, got \(1, 4, 4, 2\) and \(1, 4, 1, 2\)"),
        ((4, 4, 2), (1, 4, 4, 2), "the same shape but for their channels"),
        (
            (1, 4, 4, 1),
            (1, 4, 4, 2),
            r"must both have the channels \(0, 1\), counted from 0, got the shapes \(1, 4, 4, 1",
        ),
        ((1, 4, 4, 2), (1, 4, 4, 1), r"must both have the channels \(0, 1\)"),
    ],
)
def test_channels_that_cannot_be_picked_are_refused(metric, true, predicted, message):
    with pytest.raises(InvalidInputError, match=message):
        metric(channels=(0, 1)).update_state(np.zeros(true), np.zeros(predicted, np.float32))


@EVERY
def test_where_there_is_nothing_to_get_wrong_the_score_is_one(metric):
    kept = metric()
    assert float(kept.result()) == 1
    kept.update_state(np.zeros((1, 4, 4, 1)), np.zeros((1, 4, 4, 1), np.float32))
    assert float(kept.result()) == 1


@EVERY
def test_reset_forgets(metric):
    kept = metric()
    kept.update_state([[[[0.0]]]], [[[[1.0]]]])
    assert float(kept.result()) == 0
    kept.reset_state()
    assert float(kept.result()) == 1


@EVERY
def test_settings_survive_serialisation(metric):
    kept = metric(threshold=0.25, name="mine")
    again = keras.metrics.deserialize(keras.metrics.serialize(kept))
    assert type(again) is metric
    assert (again.threshold, again.name) == (0.25, "mine")
    assert metric().name == {"accuracy": "pixel_accuracy"}.get(METRICS[metric], METRICS[metric])


def test_what_evaluate_reports_is_pooled(tmp_path):
    # Batches of 2 and 1: a mean over batches would weigh the last image twice.
    identity = keras.Sequential([keras.Input((None, None, 1)), keras.layers.ReLU()])
    identity.compile(loss="mse", metrics=[metric() for metric in METRICS])
    rng = np.random.default_rng(0)
    mask, probability = rng.integers(0, 2, (3, 8, 8, 1)), rng.random((3, 8, 8, 1), np.float32)
    mask[2] = 0
    found = identity.evaluate(probability, mask, batch_size=2, verbose=0, return_dict=True)
    for metric in METRICS:
        assert found[metric().name] == pytest.approx(score(metric, [(mask, probability)]), abs=1e-6)
    identity.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.evaluate(probability, mask, batch_size=2, verbose=0, return_dict=True) == pytest.approx(found)


@pytest.mark.parametrize("known", [None, (None, None, None, None), (None, 2, None, 1)])
def test_shapes_that_are_not_known_yet_are_taken(known):
    import tensorflow as tf

    kept = metrics.Dice()

    @tf.function(input_signature=[tf.TensorSpec(known), tf.TensorSpec((1, None, 2, 1))])
    def update(mask, probability):
        kept.update_state(mask, probability)

    update(np.ones((1, 2, 2, 1), np.float32), np.ones((1, 2, 2, 1), np.float32))
    assert float(kept.tp) == 4


@EVERY
@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 4, 1, 1), (2, 4, 4, 1), (1, 4, 4, 3)])
def test_shapes_that_would_be_broadcast_are_refused(metric, shape):
    with pytest.raises(
        InvalidInputError, match=r"must have the same shape, got .* and \(1, 4, 4, 1\); masks need a ch"
    ):
        metric().update_state(np.zeros(shape), np.zeros((1, 4, 4, 1), np.float32))


@EVERY
@pytest.mark.parametrize("threshold", [-0.1, 1.1, "0.5", None, float("nan")])
def test_the_threshold_is_checked(metric, threshold):
    with pytest.raises(InvalidInputError, match="threshold must be a number from 0 to 1, got"):
        metric(threshold=threshold)
