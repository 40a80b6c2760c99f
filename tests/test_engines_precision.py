"""Prediction in bfloat16: nearly the same maps, none of it left in the model, an error where it can't be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import skimage.data
import tifffile

from nucleiseg import PredictOptions, Segmenter, Tiling, _processor
from nucleiseg.engines import KerasEngine
from nucleiseg.engines.engine import computing_in, settle_precision
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import match
from nucleiseg.large import predict_large
from nucleiseg.networks import get_encoder, unet
from nucleiseg.networks.precision import computed_in, layers_of

FEWER_BITS = "mixed_bfloat16"
needs_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the default backend's results")


@pytest.fixture
def model(tiny_encoder):
    keras.utils.set_random_seed(3)
    return unet(get_encoder(tiny_encoder), channels=2, widths=(4, 4, 4, 4, 4))


@pytest.fixture
def images():
    return np.random.default_rng(0).random((2, 32, 64, 3), np.float32)


def test_maps_are_nearly_the_same_and_the_model_is_as_before(model, images):
    plain = KerasEngine(model)
    fewer = plain.computing_in(FEWER_BITS)
    wanted, rounded = plain(images), fewer(images)
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - wanted).max() < 0.05
    assert {layer.compute_dtype for layer in layers_of(model)} == {"float32"}
    np.testing.assert_array_equal(plain(images), wanted)
    np.testing.assert_array_equal(fewer(images), rounded)


@needs_tensorflow
def test_layers_that_are_not_kerass_own_compute_as_they_were_written(images):
    import tensorflow as tf

    class Blur(keras.layers.Layer):
        def call(self, maps):
            kernel = tf.ones((3, 3, int(maps.shape[-1]), 1), tf.float32) / 9
            return tf.nn.depthwise_conv2d(maps, kernel, [1, 1, 1, 1], "SAME")

    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(image)
    x = Blur()(keras.layers.Conv2D(4, 3, padding="same")(x))
    chosen = keras.layers.Conv2D(4, 3, padding="same", dtype="float64")
    x = keras.layers.Conv2D(4, 3, padding="same")(chosen(x))
    model = keras.Model(image, keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))
    engine = KerasEngine(model)
    assert np.abs(engine.computing_in(FEWER_BITS)(images) - engine(images)).max() < 0.05
    with computed_in(model, FEWER_BITS):
        assert [layer.compute_dtype for layer in model.layers[1:]] == [
            *("float32", "bfloat16", "float32", "float64", "bfloat16", "float32")
        ]


def test_the_image_is_seen_in_single_precision_behind_a_normalisation():
    image = keras.Input((None, None, 3))
    x = keras.layers.Normalization(mean=0.5, variance=1.0)(keras.layers.Rescaling(2.0)(image))
    first, second, last = (keras.layers.Conv2D(4, 3, padding="same") for _ in range(3))
    with computed_in(keras.Model(image, last(second(first(x)))), FEWER_BITS):
        assert [layer.compute_dtype for layer in (first, second, last)] == ["float32", "bfloat16", "float32"]


def test_each_precision_is_compiled_once(model):
    engine = KerasEngine(model)
    assert engine.computing_in(FEWER_BITS) is engine.computing_in(FEWER_BITS)
    assert computing_in(engine, "float32") is engine
    assert computing_in(engine, FEWER_BITS) is engine.computing_in(FEWER_BITS)


def test_new_weights_are_seen(model, images):
    fewer = KerasEngine(model, FEWER_BITS)
    before = fewer(images)
    model.set_weights([weight + 0.1 for weight in model.get_weights()])
    assert np.abs(fewer(images) - before).max() > 0.01


def test_threads_that_compile_at_once_do_not_disturb_each_other(tiny_encoder, images):
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        model = unet(get_encoder(tiny_encoder), widths=(4, 4, 4, 4, 4))
        engines = [KerasEngine(model, precision) for precision in ("float32", FEWER_BITS) * 2]
        with ThreadPoolExecutor(4) as pool:
            first, second, third, fourth = pool.map(lambda engine: engine(images), engines)
        np.testing.assert_array_equal(first, third)
        np.testing.assert_array_equal(second, fourth)
        assert np.abs(first - second).max() > 0


def test_a_backend_that_compiles_nothing_is_told(model, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(InvalidInputError, match=r"'mixed_bfloat16' needs .* Keras on torch; set KERAS_BACKEND"):
        KerasEngine(model, FEWER_BITS)


def test_an_engine_with_a_precision_of_its_own_is_told():
    class Brightness:
        multiple = 1

        def __call__(self, images):
            return images.mean(axis=-1, keepdims=True)

    engine = Brightness()
    assert computing_in(engine, "auto") is engine
    with pytest.raises(InvalidInputError, match=r"Keras runs, got one that Brightness runs; load the \.keras file"):
        computing_in(engine, FEWER_BITS)


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """Pretend to run on a processor with these flags, or on none that tells."""

    def pretend(flags):
        told = tmp_path / "cpuinfo"
        told.unlink(missing_ok=True)
        if flags is not None:
            told.write_text(f"processor\t: 0\nmodel name\t: Processor\nflags\t\t: fpu {flags} sse2\n\n" * 2)
        monkeypatch.setattr(_processor, "_PROCESSORS", told)
        forget()

    def forget():
        _processor.knows_bfloat16.cache_clear()
        _processor.favours_onednn.cache_clear()

    yield pretend
    forget()


@pytest.mark.parametrize(
    ("flags", "knows", "favours"),
    [
        ("avx512_bf16", True, True),
        ("avx2 amx_bf16", True, True),
        ("avx2 avx_vnni", False, True),
        ("avx512f avx512_bf16_like", False, False),
        ("", False, False),
        (None, False, False),
    ],
)
def test_the_processor_is_asked_what_it_can_do(flags, knows, favours, processor):
    processor(flags)
    assert (_processor.knows_bfloat16(), _processor.favours_onednn()) == (knows, favours)


@needs_tensorflow
@pytest.mark.parametrize(
    ("flags", "told", "by_onednn"),
    [("avx2", None, False), ("avx512_vnni", None, True), ("avx2", "1", True), ("avx512_vnni", "False", False)],
)
def test_without_onednn_more_memory_is_planned_for_and_given_back(flags, told, by_onednn, processor, monkeypatch):
    """Measured with the model in the box: `test_a_prediction_stays_within_its_budget`, wherever it runs."""
    processor(flags)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if told is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", told)
    given = []
    monkeypatch.setattr("nucleiseg.engines.keras_engine.give_back", lambda: given.append(True))
    image = keras.Input((None, None, 3))
    engine = KerasEngine(keras.Model(image, keras.layers.Conv2D(1, 1)(image)))
    for side in (512, 544):
        engine(np.zeros((1, side, side, 3), np.float32))
    assert (engine.pixel_bytes, given) == ((32, []) if by_onednn else (56, [True]))


@needs_tensorflow
def test_auto_takes_fewer_bits_where_the_processor_knows_them(model, images, processor, monkeypatch):
    import tensorflow as tf

    processor("avx512_bf16")
    engine = KerasEngine(model)
    assert settle_precision(engine, "auto") == FEWER_BITS
    assert computing_in(engine, "auto") is engine.computing_in(FEWER_BITS)
    assert computing_in(engine, "float32") is engine
    processor("avx2")
    engine = KerasEngine(model)
    assert computing_in(engine, "auto") is engine
    processor("avx512_bf16")
    with monkeypatch.context() as patch:  # without oneDNN it would take several times as long
        patch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
        assert settle_precision(engine := KerasEngine(model), "auto") == "float32"
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    engine = KerasEngine(model)
    assert computing_in(engine, "auto") is engine


def test_auto_leaves_other_backends_alone(model, processor, monkeypatch):
    processor("avx512_bf16")
    engine = KerasEngine(model)
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    assert computing_in(engine, "auto") is engine


@needs_tensorflow
@pytest.mark.parametrize("name", ["nuclei", "nuclei-fast"])
def test_the_shipped_models_find_the_same_nuclei(name):
    segmenter = Segmenter.from_pretrained(name)
    tissue = skimage.data.immunohistochemistry()[:384, :384]
    plain = segmenter.predict(tissue, PredictOptions(scale=2, min_confidence=0, precision="float32"))
    fewer = segmenter.predict(tissue, PredictOptions(scale=2, min_confidence=0, precision=FEWER_BITS))
    assert (plain.precision, fewer.precision) == ("float32", FEWER_BITS)
    assert len(plain.table()) > 50
    assert match(plain.labels, fewer.labels).at(0.75).f1 > 0.95
    apart = np.abs(plain.probability - fewer.probability)
    assert 0 < apart.max() < 0.12
    assert apart.mean() < 0.002


@needs_tensorflow
def test_tiles_have_no_seams_in_fewer_bits_either():
    segmenter = Segmenter.from_pretrained("nuclei-fast")
    tissue = skimage.data.immunohistochemistry()
    whole, tiled = (
        segmenter.predict(tissue, PredictOptions(scale=2, precision=FEWER_BITS, tiling=tiling))
        for tiling in (None, Tiling(512, 128))
    )
    assert match(whole.labels, tiled.labels).at(0.9).f1 >= 0.99


@needs_tensorflow
def test_images_on_disk_are_seen_in_fewer_bits_too(tmp_path):
    tissue = skimage.data.immunohistochemistry()[:256, :320]
    options = PredictOptions(scale=1, precision=FEWER_BITS, min_confidence=0)
    predict_large("nuclei-fast", tissue, tmp_path / "labels.tif", options)
    written = tifffile.imread(tmp_path / "labels.tif")
    segmenter = Segmenter.from_pretrained("nuclei-fast")
    np.testing.assert_array_equal(written, segmenter.predict(tissue, options).labels)
    plain = segmenter.predict(tissue, PredictOptions(scale=1, precision="float32", min_confidence=0))
    assert not np.array_equal(plain.labels > 0, written > 0)
