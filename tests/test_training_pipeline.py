"""Datasets as batches: shapes, ranges, seeds, passes, balance."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg import datasets
from nucleiseg.errors import InvalidInputError
from nucleiseg.images import rescale
from nucleiseg.training import Augmentation, arrays_to_tf_dataset, as_tf_dataset


def made(count, height=48, width=40):
    """Images whose pixels are all different, and labels where they are bright."""
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, height, width, 3), np.uint8)
    return datasets.from_arrays(images, (images[..., 0] > 128).astype(np.int32))


def collected(batches):
    return [tuple(part.numpy() for part in batch) for batch in batches]


def flat(labels):
    """A target that lacks its last axis."""
    return (labels > 0).astype(np.float32)


def equal(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a, b) for pair in zip(one, other, strict=True) for a, b in zip(*pair, strict=True)
    )


@settings(max_examples=8, deadline=None)
@given(
    count=st.integers(1, 5),
    batch_size=st.integers(1, 3),
    crop=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    augmented=st.booleans(),
    shuffle=st.booleans(),
)
def test_batches_have_the_promised_shapes_types_and_range(count, batch_size, crop, augmented, shuffle):
    augmentation = Augmentation() if augmented else None
    batches = as_tf_dataset(made(count), crop=crop, augmentation=augmentation, batch_size=batch_size, shuffle=shuffle)
    pairs = collected(batches)
    assert len(batches) == len(pairs) == -(-count // batch_size)
    assert sum(len(images) for images, _ in pairs) == count
    for images, masks in pairs:
        assert images.shape[1:] == (*crop, 3)
        assert masks.shape == (*images.shape[:3], 1)
        assert images.dtype == masks.dtype == np.float32
        assert images.min() >= 0
        assert images.max() <= 1
        assert set(np.unique(masks)) <= {0.0, 1.0}


def test_whole_images_are_scaled_as_in_prediction():
    data = made(2)
    (images, masks), *_ = collected(as_tf_dataset(data, batch_size=2, shuffle=False))
    for sample, image, mask in zip(data, images, masks, strict=True):
        np.testing.assert_allclose(image, rescale(sample.image), atol=1e-6)
        assert np.array_equal(mask[..., 0], sample.labels > 0)


def test_a_seed_decides_everything_and_another_changes_it():
    def run(seed):
        return collected(as_tf_dataset(made(4), crop=(32, 32), augmentation=Augmentation(), batch_size=2, seed=seed))

    assert equal(run(0), run(0))
    assert not equal(run(0), run(1))


def test_the_seed_decides_crops_as_well_as_the_order():
    one, other = (collected(as_tf_dataset(made(1), crop=(8, 8), seed=seed)) for seed in (0, 1))
    assert not equal(one, other)


def test_passes_differ_and_a_later_first_pass_goes_on():
    def batches(first_pass):
        return as_tf_dataset(made(4), crop=(32, 32), augmentation=Augmentation(), first_pass=first_pass)

    whole = batches(0)
    passes = [collected(whole) for _ in range(3)]
    assert not equal(passes[0], passes[1])
    later = batches(1)
    assert equal(passes[1], collected(later))
    assert equal(passes[2], collected(later))


def test_without_shuffling_passes_are_equal():
    batches = as_tf_dataset(made(3), crop=(32, 32), shuffle=False)
    assert equal(collected(batches), collected(batches))


def test_one_iterator_is_one_pass():
    batches = as_tf_dataset(made(2), crop=(32, 32))
    iterator = iter(batches)
    assert equal(collected(iterator), collected(as_tf_dataset(made(2), crop=(32, 32))))
    assert next(iterator, None) is None


class Counted:
    """A dataset that counts how often it is asked for an image."""

    def __init__(self, data):
        self.data, self.count = data, 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        self.count += 1
        return self.data[index]


def test_keras_takes_one_pass_an_epoch():
    import keras

    train, validation = Counted(made(5)), Counted(made(3))
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd", loss="mse")
    batches = (as_tf_dataset(data, crop=(32, 32), batch_size=2) for data in (train, validation))
    model.fit(next(batches), validation_data=next(batches), epochs=3, shuffle=False, verbose=0)
    assert (train.count, validation.count) == (3 * 5, 3 * 3)


ABANDONED = """
import sys, time
import numpy as np
from nucleiseg import datasets
from nucleiseg.training import as_tf_dataset

class Slow:
    def __init__(self):
        self.data = datasets.from_arrays(np.zeros((9, 32, 32), np.uint8), np.zeros((9, 32, 32), int))
    def __len__(self):
        return len(self.data)
    def __getitem__(self, index):
        time.sleep(0.3)
        return self.data[index]

import keras
model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(1, 1)])
model.compile("sgd", loss="mse")

class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt

def train():
    try:
        model.fit(as_tf_dataset(Slow(), crop=(32, 32), batch_size=1), callbacks=[Stop()], verbose=0)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped") from None

try:
    train()
except KeyboardInterrupt as interrupt:
    print(interrupt)
"""


def test_an_interrupted_process_ends(run_python):
    assert run_python(ABANDONED, timeout=120).stdout == "stopped\n"


def test_every_image_comes_once_in_a_pass():
    images = np.repeat(np.arange(1, 8, dtype=np.uint8), 64).reshape(7, 8, 8)
    data = datasets.from_arrays(images, np.ones((7, 8, 8), np.int32))
    pairs = collected(as_tf_dataset(data, crop=(8, 8), batch_size=3, scaling="dtype"))
    seen = [round(float(image.mean()) * 255) for batch, _ in pairs for image in batch]
    assert sorted(seen) == list(range(1, 8))


def test_a_pass_may_have_several_crops_of_each_image():
    images = np.repeat(np.arange(1, 8, dtype=np.uint8), 64).reshape(7, 8, 8)
    data = datasets.from_arrays(images, np.ones((7, 8, 8), np.int32))
    for shuffle in (True, False):
        options = {"crop": (4, 4), "batch_size": 4, "scaling": "dtype", "crops_per_image": 3, "shuffle": shuffle}
        batches = as_tf_dataset(data, **options)
        seen = [round(float(image.mean()) * 255) for batch, _ in collected(batches) for image in batch]
        assert len(batches) == 6
        assert Counter(seen) == dict.fromkeys(range(1, 8), 3)


def of_two_sizes(folder):
    """Small images of two kinds, the second of which has large ones too: their pixels are 1, 2 and 3."""
    sides = [(1, 8)] * 16 + [(2, 8)] * 8 + [(3, 16)] * 8
    images = [np.full((side, side), value, np.uint8) for value, side in sides]
    table = folder / "kinds.csv"
    rows = [f"{number:04},{'one' if value == 1 else 'other'}" for number, (value, _) in enumerate(sides)]
    table.write_text("\n".join(["image_id,kind", *rows]))
    return datasets.from_arrays(images, [np.ones(image.shape, np.int32) for image in images]).with_metadata(table)


@pytest.mark.parametrize(
    ("balance", "expected"), [(None, {1: 0.4, 2: 0.2, 3: 0.4}), ("kind", {1: 0.5, 2: 1 / 6, 3: 1 / 3})]
)
def test_large_images_are_drawn_more_often_by_the_root_of_their_area(balance, expected, tmp_path):
    options = {"crop": (4, 4), "batch_size": 32, "scaling": "dtype", "balance": balance, "balance_area": True}
    batches = as_tf_dataset(of_two_sizes(tmp_path), **options)
    drawn = Counter(round(float(image.mean()) * 255) for _ in range(30) for image in collected(batches)[0][0])
    for value, part in expected.items():
        assert drawn[value] / drawn.total() == pytest.approx(part, abs=0.03)


def test_balance_draws_rare_kinds_more_often(tmp_path):
    table = tmp_path / "kinds.csv"
    rows = [f"{number:04},{'rare' if number < 4 else 'common'}" for number in range(40)]
    table.write_text("\n".join(["image_id,kind", *rows]))
    images = np.repeat(np.arange(1, 41, dtype=np.uint8), 4).reshape(40, 2, 2)
    data = datasets.from_arrays(images, np.ones((40, 2, 2), np.int32)).with_metadata(table)
    batches = as_tf_dataset(data, crop=(2, 2), batch_size=40, scaling="dtype", balance="kind")
    drawn = Counter(bool(round(float(image.mean()) * 255) <= 4) for _ in range(8) for image in collected(batches)[0][0])
    # In proportion to the square root of the groups' sizes: 2 to 6, so a quarter.
    assert drawn[True] / drawn.total() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": (0, 8)}, "crop must be a whole number of at least 1"),
        ({"crop": 32}, r"crop must be \(height, width\), got 32"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"first_pass": -1}, "first_pass must be a whole number of at least 0, got -1"),
        ({"crops_per_image": 0}, "crops_per_image must be a whole number of at least 1, got 0"),
        ({"target": "maks"}, "target"),
        ({"target": flat}, r"the target flat must give numbers \(H, W, C\) for labels \(H, W\), got shape \(32, 32\)"),
        ({"target": partial(flat)}, r"the target functools\.partial\(.*flat.*\) must give numbers \(H, W, C\)"),
        ({"scaling": "none"}, "scaling"),
        ({"balance": "modality"}, "balance needs 'modality' in the metadata"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        collected(as_tf_dataset(made(1), **{"crop": (8, 8), **options}))


def test_no_images_are_refused():
    with pytest.raises(InvalidInputError, match="the number of images must be a whole number of at least 1"):
        as_tf_dataset(made(1)[:0])


def test_full_arrays_become_batches():
    images, masks = np.random.default_rng(0).random((5, 8, 6, 3)), np.ones((5, 8, 6, 1), bool)
    plain = collected(arrays_to_tf_dataset(images, masks, batch_size=2))
    assert [len(batch) for batch, _ in plain] == [2, 2, 1]
    assert np.array_equal(np.concatenate([batch for batch, _ in plain]), images.astype(np.float32))
    assert plain[0][1].dtype == np.float32
    shuffled = arrays_to_tf_dataset(images, masks, batch_size=5, shuffle_seed=0)
    first, second = collected(shuffled)[0][0], collected(shuffled)[0][0]
    assert not np.array_equal(first, second)
    assert np.allclose(first.sum(), second.sum())


@pytest.mark.parametrize("shape", [(5, 8, 6), (4, 8, 6, 1), (5, 8, 5, 1)])
def test_arrays_that_do_not_fit_are_refused(shape):
    with pytest.raises(InvalidInputError, match="same N, H and W"):
        arrays_to_tf_dataset(np.zeros((5, 8, 6, 3)), np.zeros(shape))


def test_no_thread_tunes_a_pipeline():
    """At the end of an epoch, training would wait for it at times, for up to a minute."""
    images = np.zeros((2, 32, 32), np.uint8)
    labelled = as_tf_dataset(datasets.from_arrays(images, images), crop=(32, 32))
    arrays = arrays_to_tf_dataset(np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 1)))
    assert [batches.options().autotune.enabled for batches in (labelled, arrays)] == [False, False]
