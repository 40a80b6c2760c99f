"""A model as a teacher: its maps follow every crop and change, are mixed with the labels, and are told of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg import PredictOptions, Segmenter, datasets, teach
from nucleiseg.engines.engine import fingerprint_of
from nucleiseg.errors import InvalidInputError
from nucleiseg.inference import predict_maps
from nucleiseg.training import Augmentation, FitOptions, TaughtImages, as_tf_dataset
from nucleiseg.training.taught import number_pixels, pack, taught_target

pytestmark = pytest.mark.usefixtures("eager_steps")

STILL = Augmentation(
    scale=(1, 1), brightness=0, contrast=0, gamma=0, colour=0, recolour=0, counterstain=0, invert=0, blur=0, noise=0
)
OPTIONS = FitOptions(batch_size=2, crop=(32, 32), frozen_epochs=0)


def made(height=40, width=36, count=3):
    """Images whose pixels are all different, with labels where they are bright."""
    images = np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)
    images[:, 0, :2] = [[0] * 3, [255] * 3]  # the whole range, so that scaling leaves the values as they are
    return datasets.from_arrays(images, (images[..., 0] > 128).astype(np.int32))


def taught(data, share, channels=(0,)):
    """By a teacher whose maps are the image itself."""
    maps = [np.ascontiguousarray(sample.image[..., list(channels)]) for sample in data]
    return TaughtImages(data, maps, share, "mirror", "semantic")


def batches(data, augmentation, seed=0, **options):
    options = {"crop": (33, 35), "scaling": "minmax", **options}
    found = as_tf_dataset(data, augmentation=augmentation, seed=seed, batch_size=3, **options)
    return [tuple(part.numpy() for part in batch) for batch in found]


@settings(max_examples=10)
@given(
    seed=st.integers(0, 99),
    crop=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    target=st.sampled_from(["mask", "contact"]),
)
def test_without_a_share_all_is_as_without_a_teacher(seed, crop, target):
    data, changes = made(), Augmentation(empty=0.3)
    plain = batches(data, changes, seed, crop=crop, target=target)
    mixed = batches(taught(data, 0.0), changes, seed, crop=crop, target=target)
    for (image, wanted), (other, found) in zip(plain, mixed, strict=True):
        np.testing.assert_array_equal(image, other)
        np.testing.assert_allclose(wanted, found)


@settings(max_examples=10)
@given(seed=st.integers(0, 99), size=st.tuples(st.integers(8, 60), st.integers(8, 60)))
def test_maps_follow_cuts_mirrors_and_turns(seed, size):
    for image, wanted in batches(taught(made(*size), 1.0), STILL, seed):
        np.testing.assert_allclose(wanted[..., 0], image[..., 0], atol=1e-6)


def test_maps_follow_another_scale():
    data = made(64, 64)
    smooth = datasets.from_arrays(
        np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[:, np.newaxis, np.newaxis], (2, 64, 64, 3)),
        np.stack([sample.labels for sample in data[:2]]),
    )
    for image, wanted in batches(taught(smooth, 1.0), replace(STILL, scale=(0.6, 1.7), stretch=0.2)):
        assert np.abs(wanted[..., 0] - image[..., 0]).max() < 0.05


def test_a_share_is_mixed_with_the_labels():
    data = made()
    ((_, labels),), ((_, maps),), ((_, both),) = (batches(taught(data, share), STILL) for share in (0.0, 1.0, 0.25))
    np.testing.assert_allclose(both, 0.75 * labels + 0.25 * maps, atol=1e-6)


def test_a_ground_without_nuclei_teaches_nothing():
    for _, wanted in batches(taught(made(), 1.0), Augmentation(empty=1.0)):
        assert not wanted.any()


def test_where_the_target_has_more_channels_they_stay():
    sample = taught(made(), 1.0)[0]
    wanted = taught_target(number_pixels(sample.labels), sample, lambda labels: np.stack([labels, labels * 7], -1))
    np.testing.assert_allclose(wanted[..., 0], sample.maps[..., 0] / 255, atol=1e-6)
    np.testing.assert_array_equal(wanted[..., 1], sample.labels * 7)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=9))
def test_bytes_keep_a_map_to_half_a_step(values):
    maps = np.array(values, np.float32)
    assert np.abs(pack(maps) / 255 - maps).max() <= 0.5 / 255 + 1e-6


@pytest.fixture(scope="module")
def discs(disc_dataset):
    return datasets.read(disc_dataset)


def test_a_teacher_looks_at_whole_images_from_all_sides(discs):
    teacher = Segmenter.from_pretrained("nuclei-fast")
    (found,) = teach(discs[:1], teacher)
    options = PredictOptions(scale=1.0, tta=True)
    maps = predict_maps(discs[0].image, teacher._engine, teacher._settings.scaling, options)
    np.testing.assert_allclose(found.maps / 255, maps, atol=0.02)  # it may compute in fewer bits


def test_a_teacher_must_be_trained(discs, tiny_segmenter):
    with pytest.raises(InvalidInputError, match="a teacher must be a trained model, got one that was never trained"):
        teach(discs, tiny_segmenter)


def test_a_share_is_from_0_to_1(discs):
    with pytest.raises(InvalidInputError, match="share must be a number from 0 to 1, got 1.5"):
        teach(discs, Segmenter.from_pretrained("nuclei-fast"), 1.5)


def test_every_image_needs_maps(discs):
    with pytest.raises(InvalidInputError, match="a teacher must have maps for every image, got 0 for 6"):
        TaughtImages(discs, [], 0.5, "nobody", "semantic")


def test_a_teacher_of_another_head_is_refused(discs, tiny_segmenter):
    with pytest.raises(
        InvalidInputError, match="must have the head of the model that learns, 'semantic', got 'contact'"
    ):
        tiny_segmenter.fit(teach(discs, Segmenter.from_pretrained("nuclei-fast")), epochs=1, options=OPTIONS)


def test_a_model_learns_what_its_teacher_finds(discs, tiny_encoder):
    """Labels say that there is nothing; the teacher, that nuclei are everywhere."""
    empty = datasets.from_arrays(np.stack([s.image for s in discs]), np.zeros((6, 64, 64), int))
    means, eager = [], replace(OPTIONS, learning_rate=0.05)
    for share in (0.0, 1.0):
        student = Segmenter(tiny_encoder, weights=None, widths=(4, 4, 4, 4, 4), seed=1)
        maps = [np.full((64, 64, 1), 255, np.uint8)] * 6
        with pytest.warns(match="the training data has errors"):
            student.fit(TaughtImages(empty, maps, share, "a", "semantic"), epochs=6, options=eager)
        means.append(student.predict(discs[0].image).probability.mean())
    assert means[1] > means[0] + 0.1


def test_who_taught_is_told_and_another_teacher_does_not_go_on(discs, tiny_encoder, tmp_path):
    def student():
        return Segmenter(tiny_encoder, weights=None, widths=(4, 4, 4, 4, 4), seed=1)

    one, two = student(), student()
    for teacher in (one, two):
        teacher.fit(discs, epochs=1, options=OPTIONS)
    two.model.set_weights([values + 0.1 for values in two.model.get_weights()])
    learner = student()
    learner.fit(teach(discs, one), epochs=1, options=OPTIONS, checkpoint=tmp_path / "run")
    learned = learner.run["data"]["train"]
    assert (learned["teacher"], learned["share"]) == (fingerprint_of(one._engine), 0.5)
    for again in (teach(discs, two), teach(discs, one, 0.25), discs):
        with pytest.raises(InvalidInputError, match="train was '6 images .*, taught by "):
            student().fit(again, epochs=1, options=OPTIONS, checkpoint=tmp_path / "run", resume=True)
    assert student().fit(teach(discs, one), epochs=1, options=OPTIONS, checkpoint=tmp_path / "run", resume=True)


@pytest.mark.parametrize("values", [(-0.2, 0.9), (0.0, 1.4), (np.nan, 0.5)])
def test_maps_that_are_no_probabilities_are_refused(values):
    with pytest.raises(InvalidInputError, match=r"a teacher's maps must be from 0 to 1, got .*; take a head whose"):
        pack(np.array(values, np.float32).reshape(1, 2, 1))


def test_rounding_is_no_reason_to_refuse_them():
    assert pack(np.array([-1e-6, 1 + 1e-6], np.float32)).tolist() == [0, 255]
