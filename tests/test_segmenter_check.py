"""`Segmenter.fit` looks at some of the data first, and warns once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from nucleiseg import datasets, learning
from nucleiseg.errors import DatasetWarning, InvalidInputError
from nucleiseg.segmenter import Segmenter
from nucleiseg.training import TaughtImages
from nucleiseg.training.runs import TrainingRun


@pytest.fixture(scope="module")
def semantic():
    return Segmenter(weights=None, widths=(4, 4, 4, 4, 4))


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    row = {"epoch": 1, "phase": "full", "loss": 1.0, "learning_rate": 0.1, "seconds": 1.0, "monitor": "loss"}
    monkeypatch.setattr(learning, "run_training", lambda model, settings, *others: TrainingRun(settings, (row,)))


def labelled(count=3):
    rng = np.random.default_rng(0)
    labels = np.zeros((count, 64, 64), np.int32)
    labels[:, 10:30, 10:30], labels[:, 40:60, 35:50] = 1, 2
    return rng.integers(0, 200, labels.shape, np.uint8), labels


def test_sound_data_trains_in_silence(semantic):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        semantic.fit(datasets.from_arrays(*labelled()))


def test_errors_are_one_warning(semantic):
    images, labels = labelled()
    images[0] = 7
    labels[1] += 1
    with pytest.warns(DatasetWarning) as caught:
        semantic.fit(datasets.from_arrays(images, labels))
    (warning,) = caught
    text = str(warning.message)
    parts = ["3 of 3 images", "images of one value (1 image)", "cover the background (1 image)", "nucleiseg check"]
    assert [part for part in parts if part not in text] == []
    assert warning.filename == __file__


def test_masks_are_what_a_semantic_head_learns(semantic):
    images, labels = labelled()
    semantic.fit(datasets.from_arrays(images, labels > 0))


def pairs():
    """A tf.data pipeline, which has no images one by one."""
    import tensorflow as tf

    images, labels = labelled()
    return tf.data.Dataset.from_tensor_slices((images, labels))


@pytest.mark.parametrize("name", ["train", "validation_data"])
@pytest.mark.parametrize(
    ("data", "got"),
    [
        (pairs, r"\w+Dataset"),
        (labelled, "tuple"),
        (lambda: dict(zip(("image", "labels"), labelled(), strict=True)), "dict"),
        (lambda: labelled()[0], "ndarray"),
        (lambda: "my_images", "str"),
        (lambda: iter(datasets.from_arrays(*labelled())), ".*"),
        (lambda: datasets.from_arrays(*labelled())[0], "Sample"),
    ],
)
def test_what_holds_no_labelled_images_is_refused(semantic, name, data, got):
    given = {"train": datasets.from_arrays(*labelled()), name: data()}
    with pytest.raises(
        InvalidInputError, match=rf"^{name} must be a dataset, or a sequence .*, got {got}; make one"
    ) as caught:
        semantic.fit(**given)
    assert "datasets.from_arrays(images, labels)" in str(caught.value)
    assert "segmenter.model.fit(pairs)" in str(caught.value)


def test_sequences_of_samples_and_taught_images_are_learned_from(semantic):
    data = datasets.from_arrays(*labelled())

    class Lazy:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return data[index]

    taught = TaughtImages(data, [np.zeros((64, 64, 1), np.uint8)] * 3, 0.5, "another", "semantic")
    for train, validation in ((list(data), tuple(data)), (Lazy(), Lazy()), (taught, data)):
        semantic.fit(train, validation)


def test_a_teacher_does_not_judge(semantic):
    """Mixed with its maps, labels would be no numbers of nuclei."""
    data = datasets.from_arrays(*labelled())
    taught = TaughtImages(data, [np.zeros((64, 64, 1), np.uint8)] * 3, 0.5, "another", "semantic")
    with pytest.raises(
        InvalidInputError, match=r"validation_data must have labels of its own, .*: validation_data\.data"
    ):
        semantic.fit(data, taught)


def test_few_images_of_many_are_read(semantic, monkeypatch):
    images, labels = labelled(100)
    images[50] = 7
    read = []

    class Counting(list):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    semantic.fit(Counting(datasets.from_arrays(images, labels)))
    assert len(read) == 32
    assert (read[0], read[-1]) == (0, 99)
