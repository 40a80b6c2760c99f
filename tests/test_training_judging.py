"""Progress in nuclei: what is counted, and that the best epoch is chosen by it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg import datasets
from nucleiseg.heads import get_head, list_heads
from nucleiseg.instances import match
from nucleiseg.networks import STRIDES, unet
from nucleiseg.plotting import History
from nucleiseg.training import FitOptions, fit_two_phases
from nucleiseg.training.fitting import _validation_crops
from nucleiseg.training.judging import InstanceScores, labels_target

label_images = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(0, 2**31 - 1)
)


@given(label_images)
def test_labels_as_a_target_are_the_same_nuclei(labels):
    target = labels_target(labels)
    assert (target.dtype, target.shape) == (np.float32, (*labels.shape, 1))
    assert match(labels, target[..., 0].astype(np.int64)).average_precision(0.95) == 1
    assert target.max() <= labels.size


class Echo(keras.Model):
    """Puts out what it is given as one map."""

    def predict_on_batch(self, images):
        return np.asarray(images)[..., :1]


def judged(batches):
    judge = InstanceScores(batches, "components", {"probability": 0.5})
    judge.set_model(Echo())
    judge.on_epoch_end(0, logs := {})
    return logs


def test_counts_are_pooled_over_images_and_batches():
    labels = np.zeros((3, 8, 8, 1), np.float32)
    labels[0, 1:3, 1:3], labels[0, 5:7, 5:7], labels[1, 1:7, 1:7], labels[2, 2, 2] = 1, 2, 1, 1
    found = np.zeros((3, 8, 8, 3), np.float32)
    found[0, 1:3, 1:3] = 1  # the second nucleus is missed
    found[1, 1:7, 1:5] = 1  # IoU 2 / 3
    found[2, 2, 2] = 1
    logs = judged([(found[:2], labels[:2]), (found[2:], labels[2:])])
    assert logs["val_ap50"] == pytest.approx(3 / 4)
    assert logs["val_ap"] == pytest.approx((4 * 3 / 4 + 6 * 2 / 5) / 10)


@pytest.mark.parametrize("crop", [(32, 32), (32, 96), (96, 32), (64, 64)])
def test_in_a_crop_larger_than_the_image_each_mirrored_nucleus_counts(crop):
    labels = np.zeros((1, 24, 24), np.int32)
    labels[0, 2:8, 2:8], labels[0, 0:5, 14:20], labels[0, 15:24, 10:24] = 5, 2, 9
    data = datasets.from_arrays((labels > 0).astype(np.uint8) * 200, labels)
    logs = judged(_validation_crops(data, labels_target, FitOptions(crop=crop), "minmax"))
    assert logs == {"val_ap50": 1.0, "val_ap": 1.0}


def test_without_batches_nothing_is_said():
    assert judged([]) == {}


def tiny_unet(head):
    image = keras.Input((None, None, 3))
    features = [keras.layers.Conv2D(2, 3, stride, padding="same")(image) for stride in STRIDES]
    return unet(keras.Model(image, features), head.channels, head.activation, widths=(2, 2, 2, 2, 2))


@pytest.mark.usefixtures("eager_steps")
@pytest.mark.parametrize("name", list_heads())
def test_training_tells_it_and_keeps_the_best_epoch_by_it(name, monkeypatch):
    labels = np.zeros((2, 32, 32), np.int32)
    labels[:, 4:14, 5:20] = 1
    data = datasets.from_arrays((labels * 200).astype(np.uint8), labels)
    head = get_head(name)
    model = tiny_unet(head)
    values = iter([0.1, 0.9, 0.3])
    kept = []

    def score(self, epoch, logs):
        logs["val_ap"] = logs["val_dice"] = -1.0
        logs[head.monitor] = next(values)
        kept.append(self.model.get_weights())

    monkeypatch.setattr(InstanceScores, "on_epoch_end", score)
    rows = fit_two_phases(
        model, data, data, head.task("percentile"), 3, False, FitOptions(batch_size=2, crop=(32, 32), augmentation=None)
    )
    assert [row[head.monitor] for row in rows] == [0.1, 0.9, 0.3]
    for one, other in zip(model.get_weights(), kept[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert History(rows).best_epoch == 2  # what the curves mark
    assert History(rows).monitor == head.monitor


def test_a_validation_image_has_as_many_crops_as_are_asked_for_and_always_the_same():
    images = np.random.default_rng(0).integers(0, 255, (2, 64, 64), np.uint8)
    data = datasets.from_arrays(images, (images > 99).astype(int))
    options = FitOptions(batch_size=8, crop=(32, 32), validation_crops=3)
    crops = _validation_crops(data, "mask", options, "percentile")
    (first,), (again,) = ([np.asarray(batch[0]) for batch in crops] for _ in range(2))
    assert first.shape == (6, 32, 32, 3)
    np.testing.assert_array_equal(first, again)
    assert len({crop.tobytes() for crop in first}) == 6
