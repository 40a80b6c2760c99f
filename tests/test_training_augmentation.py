"""Random changes leave labels labels, and image and labels together. Each change does what its setting says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg.errors import InvalidInputError
from nucleiseg.training import Augmentation, augment
from nucleiseg.training.grounds import empty_ground

FEW = settings(max_examples=60, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)

OFF = {
    "flip": False,
    "turn": False,
    "scale": (1.0, 1.0),
    "stretch": 0.0,
    **dict.fromkeys(("brightness", "contrast", "gamma", "colour", "blur", "noise"), 0.0),
    **dict.fromkeys(("recolour", "counterstain", "invert", "empty"), 0.0),
}


def only(**on):
    """Settings with everything off but what is named."""
    return Augmentation(**{**OFF, **on})


@st.composite
def pairs(draw):
    """A float32 image (H, W, C) in [0, 1] and integer labels (H, W)."""
    height, width, channels = draw(st.integers(1, 12)), draw(st.integers(1, 12)), draw(st.sampled_from([1, 3]))
    rng = np.random.default_rng(draw(SEEDS))
    labels = rng.integers(0, draw(st.integers(1, 50)), (height, width)).astype(
        draw(st.sampled_from(["u1", "u2", "i8"]))
    )
    return rng.random((height, width, channels), np.float32), labels


@st.composite
def any_settings(draw):
    part = st.floats(0, 1)
    bounds = sorted(draw(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10))))
    return Augmentation(
        flip=draw(st.booleans()),
        turn=draw(st.booleans()),
        scale=tuple(bounds),
        **{name: draw(part) for name in ("brightness", "recolour", "counterstain", "invert", "noise")},
        **{name: draw(st.floats(0, 10)) for name in ("contrast", "gamma", "colour", "blur")},
    )


def smooth(height=24, width=24, channels=3):
    """An image that differs in every pixel and channel, away from 0 and 1."""
    values = np.linspace(0.35, 0.65, height * width * channels, dtype=np.float32)
    return values.reshape(channels, height, width).transpose(1, 2, 0).copy()


def images_after(settings, image, times=40):
    """The image changed with many seeds."""
    labels = np.zeros(image.shape[:2], np.int32)
    return [augment(image, labels, settings, np.random.default_rng(seed))[0] for seed in range(times)]


@FEW
@given(pairs(), any_settings(), SEEDS)
def test_the_result_is_an_image_and_labels_whatever_the_settings(pair, settings, seed):
    image, labels = pair
    before = image.copy(), labels.copy()
    changed, moved = augment(image, labels, settings, np.random.default_rng(seed))
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert moved.dtype == labels.dtype
    assert changed.shape[:2] == moved.shape
    assert changed.shape[2] == image.shape[2]
    # Labels are moved about, never mixed: every value is there as often as before.
    np.testing.assert_array_equal(np.sort(moved, axis=None), np.sort(labels, axis=None))
    assert sorted(changed.shape[:2]) == sorted(image.shape[:2])
    if labels.shape[0] != labels.shape[1]:
        assert moved.shape == labels.shape
    # The arguments stay as they were, and what comes back can be written to without changing them.
    changed[:] = 0
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])


@FEW
@given(pairs(), SEEDS)
def test_image_and_labels_move_together(pair, seed):
    _, labels = pair
    image = np.repeat(labels[..., np.newaxis] / np.float32(64), 3, axis=2).astype(np.float32)
    changed, moved = augment(image, labels, only(flip=True, turn=True), np.random.default_rng(seed))
    for channel in range(3):
        np.testing.assert_array_equal(changed[..., channel] * 64, moved)


@FEW
@given(pairs(), any_settings(), SEEDS)
def test_the_seed_decides(pair, settings, seed):
    first, second = (augment(*pair, settings, np.random.default_rng(seed)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@FEW
@given(pairs(), any_settings(), SEEDS)
def test_colours_have_no_say_in_where_pixels_go_nor_in_what_is_drawn_next(pair, settings, seed):
    generators = np.random.default_rng(seed), np.random.default_rng(seed)
    geometry = only(flip=settings.flip, turn=settings.turn)
    moved = [augment(*pair, chosen, rng)[1] for chosen, rng in zip((settings, geometry), generators, strict=True)]
    np.testing.assert_array_equal(*moved)
    assert generators[0].random() == generators[1].random()


@FEW
@given(pairs(), SEEDS)
def test_everything_off_changes_nothing(pair, seed):
    image, labels = pair
    changed, moved = augment(image, labels, only(), np.random.default_rng(seed))
    np.testing.assert_array_equal(changed, image)
    np.testing.assert_array_equal(moved, labels)
    assert not np.shares_memory(changed, image)


@pytest.mark.parametrize(
    ("chosen", "shape", "ways"),
    [
        ({"flip": True}, (3, 3), 2),
        ({"turn": True}, (3, 3), 4),
        ({"turn": True}, (3, 4), 2),  # a quarter turn would change the shape
        ({"flip": True, "turn": True}, (3, 3), 8),
        ({"flip": True, "turn": True}, (4, 3), 4),
    ],
)
def test_all_flips_and_turns_come_up(chosen, shape, ways):
    labels = np.arange(np.prod(shape)).reshape(shape)
    image = np.zeros((*shape, 3), np.float32)
    found = {augment(image, labels, only(**chosen), np.random.default_rng(seed))[1].tobytes() for seed in range(100)}
    assert len(found) == ways


# How far each change is turned up; half of the images are to stay as they are where that is possible.
ON = {
    **dict.fromkeys(("flip", "turn"), True),
    **dict.fromkeys(("brightness", "contrast", "gamma", "colour", "noise"), 0.3),
    **dict.fromkeys(("recolour", "counterstain", "invert"), 0.5),
    "blur": 2.0,
}


def test_every_setting_is_looked_at_here():
    assert {*ON, "scale", "stretch", "empty"} == set(OFF) == {field.name for field in dataclasses.fields(Augmentation)}


@pytest.mark.parametrize("name", ON)
def test_a_change_leaves_the_numbers_of_the_others_as_they_are(name):
    image = smooth()
    alone = images_after(only(**{name: ON[name]}), image)
    with_it, without_it = Augmentation(**ON), Augmentation(**{**ON, name: OFF[name]})
    unchanged = [np.array_equal(changed, image) for changed in alone]
    assert not all(unchanged)
    for same, one, other in zip(unchanged, images_after(with_it, image), images_after(without_it, image), strict=True):
        if same:
            np.testing.assert_array_equal(one, other)


def test_an_empty_crop_has_no_labels_and_nothing_of_its_image():
    image, labels = smooth(), np.ones(smooth().shape[:2], int)
    changed = [augment(image, labels, only(empty=0.5), np.random.default_rng(seed)) for seed in range(60)]
    empty = [picture for picture, numbers in changed if not numbers.any()]
    assert 15 < len(empty) < 45
    assert all(not np.array_equal(picture, image) for picture in empty)
    for picture, numbers in changed:
        if numbers.any():
            np.testing.assert_array_equal(picture, image)


@FEW
@given(st.tuples(st.integers(1, 50), st.integers(1, 50), st.integers(1, 4)), SEEDS)
def test_a_ground_is_in_range_and_the_same_for_the_same_numbers(shape, seed):
    one, two = (empty_ground(shape, np.random.default_rng(seed)) for _ in range(2))
    assert (one.shape, one.dtype) == (shape, np.float32)
    assert 0 <= one.min() <= one.max() <= 1
    np.testing.assert_array_equal(one, two)


def test_brightness_shifts_all_values_alike():
    image = smooth()
    shifts = [changed - image for changed in images_after(only(brightness=0.2), image)]
    assert all(np.ptp(shift) < 1e-5 for shift in shifts)
    means = [shift.mean() for shift in shifts]
    assert -0.2 <= min(means) < -0.1 < 0.1 < max(means) <= 0.2


def test_contrast_stretches_about_the_mean():
    image = smooth()
    factors = []
    for changed in images_after(only(contrast=0.5), image):
        factors.append(changed.std() / image.std())
        np.testing.assert_allclose(changed, image.mean() + factors[-1] * (image - image.mean()), atol=1e-5)
    assert 1 / 1.5 - 1e-4 <= min(factors) < 0.85 < 1.2 < max(factors) <= 1.5 + 1e-4


def test_gamma_is_an_exponent():
    image = smooth()
    exponents = []
    for changed in images_after(only(gamma=0.5), image):
        exponents.append(np.log(changed[0, 0, 0]) / np.log(image[0, 0, 0]))
        np.testing.assert_allclose(changed, image ** exponents[-1], atol=1e-5)
    assert 1 / 1.5 - 1e-4 <= min(exponents) < 0.85 < 1.2 < max(exponents) <= 1.5 + 1e-4


def test_colour_is_a_factor_for_each_channel():
    image = smooth()
    factors = np.array([(changed / image).mean(axis=(0, 1)) for changed in images_after(only(colour=0.5), image)])
    for changed, factor in zip(images_after(only(colour=0.5), image), factors, strict=True):
        np.testing.assert_allclose(changed, image * factor, atol=1e-5)
    assert factors.min() >= 1 / 1.5 - 1e-4
    assert factors.max() <= 1.5 + 1e-4
    assert (np.ptp(factors, axis=1) > 0.01).all()


def test_recolour_exchanges_channels_or_makes_them_grey():
    image = smooth()
    outcomes = set()
    for changed in images_after(only(recolour=1.0), image):
        if np.ptp(changed, axis=2).max() == 0:
            np.testing.assert_allclose(changed[..., 0], image.mean(axis=2), atol=1e-6)
            outcomes.add("grey")
        else:
            order = [int(np.argmin(np.abs(image[0, 0] - value))) for value in changed[0, 0]]
            np.testing.assert_array_equal(changed, image[..., order])
            assert sorted(order) == [0, 1, 2]
            outcomes.add(tuple(order))
    assert "grey" in outcomes
    assert len(outcomes) >= 5


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (0.5, 60, 140), (1.0, 200, 200)])
def test_inversion_happens_as_often_as_it_says(probability, low, high):
    image = smooth(4, 4)
    inverted = 0
    for changed in images_after(only(invert=probability), image, times=200):
        is_inverted = not np.array_equal(changed, image)
        np.testing.assert_allclose(changed, 1 - image if is_inverted else image, atol=1e-6)
        inverted += is_inverted
    assert low <= inverted <= high


def tissue():
    """An almost white image (192, 192, 3) and labels: a chessboard of nuclei and ground."""
    rows, columns = np.mgrid[:192, :192] // 8
    labels = ((rows + columns) % 2) * (1 + 24 * rows + columns)
    image = np.full((192, 192, 3), (1.0, 0.96, 1.0), np.float32)
    return image, labels


def test_a_counterstain_is_pink_to_brown_and_outside_of_nuclei():
    image, labels = tissue()
    hues = []
    for seed in range(40):
        changed, _ = augment(image, labels, only(counterstain=1.0), np.random.default_rng(seed))
        density = -np.log(changed)
        red, green, blue = density[labels == 0].mean(axis=0)
        assert green > red
        assert density[labels == 0].mean() > density[labels > 0].mean()
        hues.append(blue / green)
    assert min(hues) < 0.3 < 0.7 < max(hues)


def test_a_counterstain_makes_nuclei_paler_more_often_than_darker():
    image, labels = tissue()
    image[labels > 0] = (0.4, 0.3, 0.6)
    before = -np.log(image[labels > 0]).mean()
    ratios = []
    for seed in range(60):
        changed, _ = augment(image, labels, only(counterstain=1.0), np.random.default_rng(seed))
        ratios.append(-np.log(changed[labels > 0]).mean() / before)
    assert min(ratios) > np.exp(-1.6)
    assert 0.3 < np.mean(np.array(ratios) < 1) < 0.95


@pytest.mark.parametrize(
    "image",
    [
        np.full((16, 16, 3), 0.8, np.float32),  # grey
        np.full((16, 16, 3), (0.1, 0.2, 0.3), np.float32),  # dark
        np.full((16, 16, 1), 0.8, np.float32),  # no colours at all
    ],
)
def test_only_colours_on_a_light_ground_are_counterstained(image):
    assert all(np.array_equal(changed, image) for changed in images_after(only(counterstain=1.0), image))


def test_blur_spreads_a_point_within_its_channel():
    image = np.zeros((31, 31, 3), np.float32)
    image[15, 15, 1] = 1
    widths = []
    rows = np.arange(31) - 15
    for changed in images_after(only(blur=3.0), image, times=60):
        assert not changed[..., [0, 2]].any()
        assert changed.sum() == pytest.approx(1, abs=1e-4)
        widths.append(float(np.sqrt((changed[..., 1].sum(axis=1) * rows**2).sum())))
    assert 15 <= widths.count(0.0) <= 45  # half of the images are blurred
    assert 2 < max(widths) <= 3


def test_noise_is_new_in_every_pixel_and_never_beyond_its_deviation():
    image = np.full((64, 64, 3), 0.5, np.float32)
    deviations = []
    for changed in images_after(only(noise=0.05), image, times=60):
        assert changed.mean() == pytest.approx(0.5, abs=0.005)
        deviations.append(float(changed.std()))
        if deviations[-1]:
            assert np.ptp(changed, axis=2).max() > 0
    assert 15 <= deviations.count(0.0) <= 45
    assert 0.035 < max(deviations) <= 0.0525


def test_scale_is_left_to_the_crop():
    image, labels = smooth(), np.arange(24 * 24).reshape(24, 24)
    changed, moved = augment(image, labels, only(scale=(3.0, 4.0)), np.random.default_rng(0))
    np.testing.assert_array_equal(changed, image)
    np.testing.assert_array_equal(moved, labels)


def test_settings_are_frozen_and_can_be_compared_and_hashed():
    chosen, from_json = Augmentation(scale=(0.5, 2.0)), Augmentation(scale=[0.5, 2])
    assert chosen == from_json != Augmentation()
    assert hash(chosen) == hash(from_json)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Augmentation().flip = False


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *[
            ({name: 1.1}, f"{name} must be a number from 0 to 1,")
            for name in ("brightness", "recolour", "counterstain")
        ],
        ({"invert": 2}, "invert must be a number from 0 to 1, got 2"),
        ({"noise": -0.1}, "noise must be a number from 0 to 1, got -0.1"),
        *[({name: 11}, f"{name} must be a number from 0 to 10,") for name in ("contrast", "gamma", "colour", "blur")],
        ({"gamma": float("nan")}, "gamma must be a number from 0 to 10, got nan"),
        ({"blur": "much"}, "blur must be a number from 0 to 10, got 'much'"),
        ({"scale": (0.01, 1)}, "the lower scale must be a number from 0.1 to 10, got 0.01"),
        ({"scale": (1, 20)}, "the upper scale must be a number from 0.1 to 10, got 20"),
        ({"scale": (1.5, 0.5)}, r"scale must be \(smallest, largest\), got \(1.5, 0.5\); swap the two"),
        ({"scale": 1.5}, r"scale must be \(smallest, largest\), got 1.5; \(1, 1\) leaves the size as it is"),
        ({"flip": "no"}, "flip must be true or false, got 'no'"),
        ({"turn": 1}, "turn must be true or false, got 1"),
        ({"scale": (1, 1, 1)}, r"scale must be \(smallest, largest\), got \(1, 1, 1\)"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        Augmentation(**settings)


@pytest.mark.parametrize(
    ("image", "labels", "message"),
    [
        ((4, 4, 3), (4, 5), r"image and labels must have the same height and width, got \(4, 4\) and \(4, 5\)"),
        ((4, 4), (4, 4), r"image must be \(H, W, C\), got shape \(4, 4\), dtype float32; add a channel"),
    ],
)
def test_an_image_must_fit_its_labels(image, labels, message):
    with pytest.raises(InvalidInputError, match=message):
        augment(np.zeros(image, np.float32), np.zeros(labels, int), Augmentation(), np.random.default_rng(0))
