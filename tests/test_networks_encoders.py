"""One contract for every encoder; what the built-in ones are; and what happens when weights cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from nucleiseg.errors import DownloadError, InvalidInputError, ModelFileError, NucleisegError
from nucleiseg.networks import STRIDES, encoders, get_encoder, list_encoders, register_encoder
from nucleiseg.networks.keras_applications import APPLICATIONS, build_application

# The smallest of each family, and the channels that its architecture has at strides 2, 4, 8, 16, 32.
SMALLEST = {
    "mobilenet": (64, 128, 256, 512, 1024),
    "mobilenet_v2": (96, 144, 192, 576, 1280),
    "mobilenet_v3_small": (16, 72, 96, 288, 576),
    "efficientnet_b0": (96, 144, 240, 672, 1280),
    "efficientnet_v2_b0": (16, 32, 192, 672, 1280),
    "resnet50": (64, 256, 512, 1024, 2048),
    "resnet50_v2": (64, 64, 128, 256, 2048),
    "densenet121": (64, 128, 256, 512, 1024),
    "vgg16": (128, 256, 512, 512, 512),
    "residual": (32, 64, 128, 192, 256),
    "residual_deep": (32, 64, 128, 192, 256),
    "residual_small": (16, 32, 64, 128, 192),
}


def quick_or_slow(names):
    return [pytest.param(name, marks=() if name in SMALLEST else pytest.mark.slow) for name in names]


@pytest.fixture(autouse=True)
def clean_registry(monkeypatch):
    """What a test registers or finds is forgotten after it."""
    monkeypatch.setattr(encoders._encoders, "_items", dict(encoders._encoders._items))
    monkeypatch.setattr(encoders._encoders, "_plugins", None)


@pytest.fixture(autouse=True)
def no_leftovers():
    """Let Keras forget the networks of a test, so that those of many don't add up in memory."""
    yield
    keras.backend.clear_session()


def family(name):
    """The module of `keras.applications` in which the preprocessing of an architecture is published."""
    if name.startswith("resnet"):
        return keras.applications.resnet_v2 if name.endswith("_v2") else keras.applications.resnet
    # The longer beginnings first.
    families = (
        "mobilenet_v2",
        "mobilenet_v3",
        "mobilenet",
        "efficientnet_v2",
        "efficientnet",
        "densenet",
        "vgg16",
        "vgg19",
    )
    return getattr(keras.applications, next(module for module in families if name.startswith(module)))


def photograph(height, width, number=1):
    return np.random.default_rng(0).random((number, height, width, 3), np.float32)


def check_contract(name, folder):
    """What everything above relies on, of every encoder whoever wrote it. Returns the channels."""
    encoder = get_encoder(name)
    assert isinstance(encoder, keras.Model)
    assert encoder.name == name
    assert [tuple(tensor.shape) for tensor in encoder.inputs] == [(None, None, None, 3)]
    channels = tuple(tensor.shape[-1] for tensor in encoder.outputs)

    for height, width in [(64, 96), (32, 32)]:
        image = photograph(height, width, number=2)
        features = [np.asarray(feature) for feature in encoder(image)]
        assert [feature.shape for feature in features] == [
            (2, height // stride, width // stride, count) for stride, count in zip(STRIDES, channels, strict=True)
        ]
        for feature in features:
            assert feature.dtype == np.float32
            assert np.isfinite(feature).all()
            assert np.ptp(feature) > 0
            assert not np.array_equal(feature[0], feature[1])

    encoder.save(folder / "encoder.keras")
    loaded = keras.saving.load_model(folder / "encoder.keras", safe_mode=True)
    assert loaded.name == name
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in encoder.layers]
    for again, feature in zip(loaded(image), features, strict=True):
        np.testing.assert_allclose(again, feature, rtol=1e-5, atol=1e-6 * abs(feature).max())
    return channels


@pytest.mark.parametrize("name", quick_or_slow(list_encoders()))
def test_an_encoder_keeps_the_contract(name, tmp_path):
    channels = check_contract(name, tmp_path)
    assert channels == SMALLEST.get(name, channels)


def test_an_encoder_of_another_package_keeps_the_contract(plugin, tmp_path):
    assert "five_convolutions" in list_encoders()
    assert "nucleiseg_example" not in sys.modules
    check_contract("five_convolutions", tmp_path)


def test_an_encoder_of_ones_own_keeps_the_contract(tmp_path):
    @register_encoder("my_backbone")
    def my_backbone(weights=None):
        image = keras.Input((None, None, 3))
        taps = [image]
        for filters in (2, 3, 4, 5, 6):
            taps.append(keras.layers.SeparableConv2D(filters, 3, strides=2, padding="same")(taps[-1]))
        return keras.Model(image, taps[1:])

    check_contract("my_backbone", tmp_path)


@pytest.mark.parametrize("name", quick_or_slow(APPLICATIONS))
def test_an_encoder_sees_what_its_weights_were_trained_on(name):
    encoder = get_encoder(name)
    published = getattr(keras.applications, APPLICATIONS[name].function)(weights=None, include_top=False)
    published.set_weights(encoder.get_weights())

    image = photograph(64, 64)
    # A mean far from grey and unequal channels, so that neither a lost offset nor swapped channels go unseen.
    image *= np.float32([0.2, 0.5, 0.9])
    expected = np.asarray(published(family(name).preprocess_input(255 * image)))
    np.testing.assert_allclose(encoder(image)[-1], expected, rtol=1e-3, atol=1e-4 * abs(expected).max())


def test_batch_statistics_follow_within_an_epoch_from_random_weights():
    """MobileNetV2 averages over a thousand batches, which is longer than many trainings last."""
    layers = build_application("mobilenet_v2", None).layers
    momenta = [layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert momenta
    assert max(momenta) <= 0.97


def test_there_is_one_of_each_family_and_the_list_is_sorted():
    names = list_encoders()
    assert names == sorted(names)
    assert set(SMALLEST) <= set(names)
    assert set(APPLICATIONS) <= set(names)


def test_two_encoders_of_one_kind_have_weights_of_their_own():
    first, second = get_encoder("mobilenet_v3_small"), get_encoder("mobilenet_v3_small")
    assert any(not np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("kind", [str, Path])
def test_weights_come_from_a_file(suffix, kind, tmp_path):
    published = keras.applications.MobileNetV3Small(weights=None, include_top=False)
    path = tmp_path / f"mine{suffix}"
    published.save(path) if suffix == ".keras" else published.save_weights(path)
    encoder = get_encoder("mobilenet_v3_small", weights=kind(path))
    for ours, theirs in zip(encoder.get_weights(), published.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_unknown_encoder_is_guessed():
    with pytest.raises(InvalidInputError, match=r"unknown encoder 'mobilenetv2'; did you mean 'mobilenet_v2'\?"):
        get_encoder("mobilenetv2")


@pytest.mark.parametrize("weights", ["no_such.weights.h5", ".", "imagenet21k"])
def test_a_weights_file_that_is_missing(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InvalidInputError, match=f"'imagenet', None or an existing file, got '{weights}'; check the path"
    ):
        get_encoder("mobilenet_v2", weights=weights)


def _text(path, encoder):
    path.write_text("no weights at all")


def _nothing(path, encoder):
    path.touch()


def _cut(path, encoder):
    encoder.save_weights(path)
    path.write_bytes(path.read_bytes()[:1000])


def _of_another_network(path, encoder):
    layers = keras.layers
    keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(9, 3)]).save_weights(path)


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("text.weights.h5", _text, "signature not found"),
        ("text.keras", _text, "not a zip file"),
        ("weights.bin", _text, "File format not supported"),
        ("empty.weights.h5", _nothing, "signature not found"),
        ("cut.weights.h5", _cut, "truncated file"),
        ("other.weights.h5", _of_another_network, ""),  # Keras has several reasons
    ],
)
def test_a_damaged_weights_file_is_named(name, make, reason, plugin, tmp_path):
    path = tmp_path / name
    make(path, get_encoder("five_convolutions"))
    with pytest.raises(ModelFileError) as caught:
        get_encoder("five_convolutions", weights=path)
    message = str(caught.value)
    assert message.startswith(f"the weights file {path} cannot be read into 'five_convolutions' (")
    assert "\n" not in message
    assert message.endswith("without its classification top")
    assert reason in message
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(("error", "reason"), [(ValueError("two\nlines"), "two"), (EOFError(), "EOFError")])
def test_the_reason_is_one_line(error, reason):
    @register_encoder("fragile")
    def fragile(weights=None):
        raise error

    with pytest.raises(ModelFileError, match=rf"cannot be read into 'fragile' \({reason}\); pass a complete"):
        get_encoder("fragile", weights=__file__)


def test_an_encoders_own_error_about_weights_stays():
    @register_encoder("strict")
    def strict(weights=None):
        raise InvalidInputError("only 16-bit weights")

    with pytest.raises(InvalidInputError, match=r"^only 16-bit weights$"):
        get_encoder("strict", weights=__file__)


def test_a_model_without_a_stride_is_no_encoder():
    @register_encoder("shallow")
    def shallow(weights=None):
        image = keras.Input((None, None, 3))
        x = image
        for filters in (2, 3, 4):
            x = keras.layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        return keras.Model(image, x)

    with pytest.raises(InvalidInputError, match="has none at stride 16, 32"):
        get_encoder("shallow")


def test_an_encoder_without_imagenet_weights_says_so():
    with pytest.raises(InvalidInputError, match=r"'residual' has no ImageNet weights.*; pass weights=None"):
        get_encoder("residual", weights="imagenet")


def test_an_encoder_of_ones_own_need_not_know_imagenet():
    @register_encoder("mine")
    def mine(weights=None):
        image = keras.Input((None, None, 3))
        model = keras.Model(image, keras.layers.Conv2D(2, 3, strides=32, padding="same")(image))
        if weights is not None:
            model.load_weights(weights)
        return model

    with pytest.raises(
        InvalidInputError, match=r"'mine' has no ImageNet weights.*\(File format not supported"
    ) as caught:
        get_encoder("mine", weights="imagenet")
    assert "; pass weights=None (--weights none)" in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_builder_without_the_parameter_weights_is_told_what_to_write(monkeypatch):
    monkeypatch.setitem(encoders._encoders._items, "bare", lambda: None)
    message = r"'bare' must be a function of weights alone, got one of \(\); write 'def bare\(weights=None\)'"
    with pytest.raises(InvalidInputError, match=message):
        get_encoder("bare")


def test_an_encoders_own_error_about_imagenet_stays():
    @register_encoder("strict")
    def strict(weights=None):
        raise DownloadError("the server is asleep")

    with pytest.raises(DownloadError, match=r"^the server is asleep$"):
        get_encoder("strict", weights="imagenet")


def test_the_residual_encoder_takes_its_weights_from_a_file(tmp_path):
    first = get_encoder("residual")
    first.save_weights(tmp_path / "mine.weights.h5")
    for ours, theirs in zip(
        get_encoder("residual", weights=tmp_path / "mine.weights.h5").get_weights(), first.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


# In a process of its own, since Keras reads KERAS_HOME once; without a network whatever the machine has.
WITHOUT_NETWORK = """
import sys, urllib.error, urllib.request

def urlopen(*args, **options):
    raise urllib.error.URLError("no network here")

urllib.request.urlopen = urlopen
from pathlib import Path
from nucleiseg.errors import NucleisegError
from nucleiseg.networks import get_encoder

for name in sys.argv[1:]:
    try:
        get_encoder(name, weights="imagenet")
    except NucleisegError as error:
        print(type(error).__name__, error, flush=True)
"""
V2_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


def test_weights_that_cannot_be_downloaded_or_read(run_python, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / V2_FILE).write_bytes(b"half of a download")
    process = run_python(WITHOUT_NETWORK, "resnet50_v2", "mobilenet_v2", KERAS_HOME=str(tmp_path))
    assert process.returncode == 0, process.stderr
    missing, damaged = (line for line in process.stdout.splitlines() if line.split()[0].endswith("Error"))
    assert missing == (
        f"{DownloadError.__name__} the ImageNet weights of 'resnet50_v2' could not be downloaded; fetch "
        f"resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5 on a machine with a network and put it into {models} "
        "(or point KERAS_HOME at a folder that has it under models/), or use weights=None"
    )
    assert damaged.startswith(f"{ModelFileError.__name__} the ImageNet weights of 'mobilenet_v2' in {models} cannot be")
    assert damaged.endswith("; delete the file there and try again, or use weights=None")


def test_a_mistake_in_the_code_is_not_taken_for_missing_weights(monkeypatch):
    def broken(**options):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(keras.applications, "MobileNetV2", broken)
    with pytest.raises(ZeroDivisionError, match="a bug") as caught:
        get_encoder("mobilenet_v2", weights="imagenet")
    assert not isinstance(caught.value, NucleisegError)
