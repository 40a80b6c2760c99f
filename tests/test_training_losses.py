"""Every loss against its formula in NumPy, and one contract for every name in the registry."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.training import loss_table as table
from nucleiseg.training import losses

pytestmark = pytest.mark.usefixtures("plugin")

FEW = settings(max_examples=40, deadline=None)
EVERY = [*losses.list_losses(), "log_cosh_dice"]  # the last one is of another package
# TensorFlow takes subnormal numbers for 0.
PROBABILITIES = st.floats(0, 1, width=32, allow_subnormal=False)


@st.composite
def batches(draw):
    """A mask and a prediction, (N, H, W, 1): the mask 0 and 1, the prediction any probability."""
    shape = (*draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=5)), 1)
    mask = draw(hnp.arrays(np.float32, shape, elements=st.sampled_from([0.0, 1.0])))
    probability = draw(hnp.arrays(np.float32, shape, elements=PROBABILITIES))
    return mask, probability


def cross_entropies(mask, probability):
    # Keras keeps logarithms finite with its epsilon, which it takes from 1 in float32.
    p = np.clip(probability, np.float32(1e-7), np.float32(1) - np.float32(1e-7)).astype(float)
    return -(mask * np.log(p) + (1 - mask) * np.log(1 - p))


def bce(mask, probability):
    return cross_entropies(mask, probability).mean()


def focal(mask, probability):
    p_true = mask * probability + (1 - mask) * (1 - probability)
    return ((1 - p_true) ** 2 * cross_entropies(mask, probability)).mean()


def dice(mask, probability):
    mask, probability = mask.astype(float), probability.astype(float)
    return 1 - 2 * (mask * probability).sum() / (mask.sum() + probability.sum() + 1e-7)


def tversky(mask, probability, false=0.3, missed=0.7):
    mask, probability = mask.astype(float), probability.astype(float)
    tp, fp, fn = (mask * probability).sum(), ((1 - mask) * probability).sum(), (mask * (1 - probability)).sum()
    return 1 - tp / (tp + false * fp + missed * fn + 1e-7)


FORMULAS = {
    "binary_crossentropy": bce,
    "focal": focal,
    "dice": dice,
    "tversky": tversky,
    "bce_dice": lambda *batch: bce(*batch) + dice(*batch),
    "bce_tversky": lambda *batch: bce(*batch) + tversky(*batch),
    "focal_dice": lambda *batch: focal(*batch) + dice(*batch),
}


@pytest.mark.parametrize("name", FORMULAS)
@FEW
@given(batches())
def test_the_value_is_that_of_the_formula(name, batch):
    value = losses.get(name)(*batch)
    assert value.shape == ()
    assert float(value) == pytest.approx(FORMULAS[name](*batch), rel=1e-5, abs=1e-5)


def with_background(name, maps):
    """The maps as a loss wants them: one of classes needs a second class, the background."""
    return keras.ops.concatenate([maps, 1 - maps], axis=-1) if name == "categorical_crossentropy" else maps


@pytest.mark.parametrize("name", EVERY)
@FEW
@given(batches())
def test_the_contract_of_a_loss(name, batch):
    mask, probability = (with_background(name, maps) for maps in batch)
    loss = losses.get(name)
    value = float(loss(mask, probability))
    assert np.isfinite(value)
    assert value >= -1e-6
    assert float(loss(mask, mask)) <= value + 1e-5
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(mask, probability)) == value


@pytest.mark.parametrize("name", losses.list_losses())
@FEW
@given(batches(), st.randoms())
def test_what_lies_under_pixels_that_weigh_nothing_has_no_say(name, batch, random):
    mask, probability = batch
    weights = np.float32([[[random.choice([0.0, 1.0]) for _ in row] for row in image] for image in mask])
    hidden = np.where(weights[..., np.newaxis] > 0, probability, random.random()).astype(np.float32)
    loss = losses.get(name)
    values = [
        float(loss(with_background(name, mask), with_background(name, maps), sample_weight=weights))
        for maps in (probability, hidden)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", losses.list_losses())
def test_weights_of_1_and_of_whole_images_are_kept_to(name):
    rng = np.random.default_rng(0)
    mask = with_background(name, (rng.random((2, 5, 6, 1)) > 0.5).astype(np.float32))
    found = with_background(name, rng.random((2, 5, 6, 1), np.float32))
    loss = losses.get(name)
    plain = float(loss(mask, found))
    assert float(loss(mask, found, sample_weight=np.ones((2, 5, 6), np.float32))) == pytest.approx(plain, rel=1e-5)
    first = np.float32([[[1]], [[0]]])
    by_image = [float(loss(mask, maps, sample_weight=first)) for maps in (found, np.stack([found[0], 1 - found[1]]))]
    assert by_image[0] == pytest.approx(by_image[1], rel=1e-5)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_gradients_are_finite_and_point_towards_the_mask(name, value):
    import tensorflow as tf

    mask = np.float32([[[[1.0], [0.0]], [[1.0], [0.0]]]])
    probability = tf.Variable(np.full((1, 2, 2, 1), value, np.float32))
    with tf.GradientTape() as tape:
        loss = losses.get(name)(with_background(name, mask), with_background(name, probability))
    gradient = tape.gradient(loss, probability).numpy()
    assert np.isfinite(gradient).all()
    # At 0 and 1 cross-entropy is clipped and flat; the region losses never push the wrong way.
    assert (gradient[mask == 1] <= 0).all()
    assert (gradient[mask == 0] >= 0).all()
    if value == 0.3:
        assert gradient.all()


def test_a_model_learns_and_is_loaded_again(tmp_path, run_python):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(1, 1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(0.3), loss=losses.get("bce_tversky"))
    image = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    mask = (image > 0.7).astype(np.float32)
    before = model.evaluate(image, mask, verbose=0)
    model.fit(image, mask, epochs=10, verbose=0)
    after = model.evaluate(image, mask, verbose=0)
    assert after < before
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.evaluate(image, mask, verbose=0) == pytest.approx(after, rel=1e-5)
    code = "import sys, keras; from nucleiseg.training import losses; print(keras.saving.load_model(sys.argv[1]).loss)"
    elsewhere = run_python(code, tmp_path / "model.keras")  # where nothing but the import has registered the class
    assert "WeightedSum" in elsewhere.stdout, elsewhere.stderr


def test_a_missed_contact_costs_more_than_a_missed_pixel_of_the_mask():
    truth = np.zeros((1, 8, 8, 3), np.float32)
    truth[0, 1:7, 1:7, :2] = 1
    truth[0, 3, 1:7, 2] = 1
    no_contact, no_pixel = truth.copy(), truth.copy()
    no_contact[0, 3, 3, 2] = 0
    no_pixel[0, 3, 3, 0] = 0
    loss = losses.get("mask_depth_and_contact")
    assert float(loss(truth, no_contact)) > float(loss(truth, no_pixel)) > float(loss(truth, truth))


@FEW
@given(batches(), st.floats(0, 5), st.floats(0, 5))
def test_tversky_weighs_false_and_missed_pixels_as_published(batch, alpha, beta):
    mask, probability = batch
    value = float(losses.Tversky(alpha, beta)(mask, probability))
    assert value == pytest.approx(tversky(mask, probability, false=alpha, missed=beta), rel=1e-4, abs=1e-5)
    mirrored = float(losses.Tversky(beta, alpha)(probability, mask))
    assert mirrored == pytest.approx(value, rel=1e-4, abs=1e-5)


def test_a_missed_pixel_costs_more_than_a_false_one():
    mask = np.float32([1, 1, 1, 0, 0, 0]).reshape(1, 2, 3, 1)
    missed = np.float32([1, 1, 0, 0, 0, 0]).reshape(mask.shape)
    false = np.float32([1, 1, 1, 1, 0, 0]).reshape(mask.shape)
    assert float(losses.get("tversky")(mask, missed)) > float(losses.get("tversky")(mask, false))


@pytest.mark.parametrize("name", ["dice", "tversky"])
def test_region_losses_pool_the_batch(name):
    # An image without nuclei beside one with them: pooled, the empty one leaves a perfect prediction perfect.
    mask = np.zeros((2, 2, 2, 1), np.float32)
    mask[0, 0] = 1
    assert float(losses.get(name)(mask, mask)) == pytest.approx(0, abs=1e-6)
    assert float(losses.get(name)(mask, np.ones_like(mask))) == pytest.approx(FORMULAS[name](mask, np.ones_like(mask)))


@FEW
@given(batches(), st.floats(0, 10), st.floats(0, 10))
def test_a_weighted_sum_is_the_sum(batch, first, second):
    loss = losses.WeightedSum({"dice": first, "binary_crossentropy": second}, name="mine")
    assert loss.name == "mine"
    expected = first * dice(*batch) + second * bce(*batch)
    assert float(loss(*batch)) == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_settings_survive_serialisation():
    loss = losses.WeightedSum({"dice": 2, "focal": 0.5})
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is losses.WeightedSum
    assert again.weights == {"dice": 2.0, "focal": 0.5}
    again = keras.losses.deserialize(keras.losses.serialize(losses.Tversky(0.1, 2)))
    assert (again.alpha, again.beta, again.name) == (0.1, 2.0, "tversky")


def test_every_call_gives_a_new_loss():
    assert losses.get("bce_dice") is not losses.get("bce_dice")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.get("dise"), r"unknown loss 'dise'; did you mean 'dice'\? choose one of bce_dice, "),
        (lambda: losses.WeightedSum({}), r"needs at least one loss, got none; pass \{'dice': 1.0\}"),
        (lambda: losses.WeightedSum({"dise": 1}), "unknown loss 'dise'; did you mean 'dice'"),
        (lambda: losses.WeightedSum({"dice": -1}), "the weight of 'dice' must be a number from 0 to 1e"),
        (lambda: losses.WeightedSum({"dice": "1"}), "the weight of 'dice' must be a number from 0 to 1e"),
        (lambda: losses.Tversky(alpha=-0.1), "alpha must be a number from 0 to 1e"),
        (lambda: losses.Tversky(beta=float("nan")), "beta must be a number from 0 to 1e"),
        (lambda: losses.register_loss("dice")(keras.losses.Dice), "loss 'dice' is registered already"),
    ],
)
def test_names_and_weights_are_checked(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_losses_can_be_added_and_summed():
    losses.register_loss("mae")(keras.losses.MeanAbsoluteError)
    try:
        assert "mae" in losses.list_losses()
        value = losses.WeightedSum({"mae": 2.0})([[[[1.0]]]], [[[[0.75]]]])
        assert float(value) == pytest.approx(0.5)
    finally:
        table._losses.unregister("mae")


@pytest.mark.parametrize(
    "loss", [lambda y_true, y_pred: keras.ops.mean(y_true - y_pred), keras.losses.binary_crossentropy]
)
def test_a_loss_in_place_of_the_function_that_gives_it_is_refused(loss):
    losses.register_loss("two")(loss)
    try:
        with pytest.raises(
            InvalidInputError, match=r"without parameters that gives it, which 'two' is not .*y_true.*;"
        ) as e:
            table.check_loss("two", one_nucleus(1), 1)
        assert str(e.value).endswith("register it by register_loss('two')(lambda: my_loss)")
    finally:
        table._losses.unregister("two")


@pytest.mark.parametrize(
    "build", [lambda: keras.losses.binary_crossentropy, lambda more=1: keras.losses.MeanSquaredError()]
)
def test_functions_that_give_functions_or_have_defaults_are_taken(build):
    losses.register_loss("taken")(build)
    try:
        table.check_loss("taken", one_nucleus(1), 1)
    finally:
        table._losses.unregister("taken")


def one_nucleus(channels):
    """Maps of which the first is 1 in a nucleus and the others elsewhere."""
    maps = np.zeros((8, 8, channels), np.float32)
    maps[2:4, 2:4, 0] = 1
    maps[..., 1:] = 1 - maps[..., :1]
    return maps


@pytest.mark.parametrize("name", EVERY)
def test_every_loss_teaches_something(name):
    table.check_loss(name, one_nucleus(3), 3)


@pytest.mark.parametrize(
    ("name", "maps", "channels", "message"),
    [
        ("categorical_crossentropy", 1, 1, "fails for 1 maps of a network and 1 of the target .*; choose one"),
        ("mask_depth_and_contact", 3, 1, "fails for 1 maps of a network and 3 of the target"),
        ("dicee", 1, 1, "unknown loss 'dicee'; did you mean 'dice'"),
    ],
)
def test_a_loss_that_teaches_nothing_is_refused(name, maps, channels, message):
    with pytest.raises(InvalidInputError, match=message):
        table.check_loss(name, one_nucleus(maps), channels)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            lambda y_true, y_pred: 0 * y_pred,
            "a network of 1 maps nothing: it is 0 for the target and 0 for its opposite; choose",
        ),
        (lambda y_true, y_pred: np.nan * y_pred, "it is nan for the target and nan for its opposite"),
        (
            lambda y_true, y_pred: keras.ops.matmul(y_true, keras.ops.ones((7, 7))),
            "fails for 1 maps of a network and 1",
        ),
    ],
)
def test_a_loss_of_ones_own_that_is_the_same_for_everything_is_no_number_or_fails_is_refused(value, message):
    class Broken(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return value(y_true, y_pred)

    losses.register_loss("broken")(Broken)
    try:
        with pytest.raises(InvalidInputError, match=message):
            table.check_loss("broken", one_nucleus(1), 1)
    finally:
        table._losses.unregister("broken")
