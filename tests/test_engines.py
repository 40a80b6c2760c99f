"""One contract for every engine: image batch in, maps out, the same as the network gives.

Each is tested as it is used: with a network that was written to its kind of file and read from there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import numpy as np
import pytest
import skimage.data

from nucleiseg import PredictOptions, Segmenter, engines
from nucleiseg.engines import keras_engine
from nucleiseg.engines.formats import _formats
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import match
from nucleiseg.networks import get_encoder, unet
from nucleiseg.pretrained import pretrained_path

FORMATS = engines.list_formats()
SETTINGS = {
    "segmenter": {
        "encoder": "tiny",
        "head": "boundary",
        "scaling": "percentile",
        "thresholds": {"probability": 0.5},
        "licence": "CC-BY-4.0",
    },
    "passport": {"diameter": [8.5, 40], "µm": None},
}


@pytest.fixture(scope="module")
def model(tiny_encoder):
    keras.utils.set_random_seed(5)
    return unet(get_encoder(tiny_encoder), channels=2, widths=(4, 4, 4, 4, 4))


@pytest.fixture(scope="module", params=FORMATS)
def kind(request):
    """A kind of model file."""
    return _formats.get(request.param)


@pytest.fixture(scope="module")
def file(kind, model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / f"tiny{kind.ending}"
    kind.write(path, engines.KerasEngine(model), SETTINGS)
    return path


@pytest.fixture(scope="module")
def engine(kind, file):
    return kind.load(file)


def batch(number, height, width, seed=0):
    return np.random.default_rng(seed).random((number, height, width, 3), np.float32)


def test_there_are_engines():
    assert {"bioimage", "keras", "onnx"} <= set(FORMATS)


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 32), (2, 32, 160)])
def test_maps_are_what_the_network_gives_at_any_size(engine, model, shape):
    images = batch(*shape)
    before = images.copy()
    maps = engine(images)
    assert isinstance(maps, np.ndarray)
    assert maps.dtype == np.float32
    assert maps.shape == (*shape, 2)
    np.testing.assert_allclose(maps, np.asarray(model(images, training=False)), atol=1e-5)
    np.testing.assert_array_equal(images, before)


def test_the_same_images_give_the_same_maps(engine, kind, file):
    images = batch(2, 64, 96)
    maps = engine(images)
    np.testing.assert_array_equal(engine(images), maps)
    np.testing.assert_array_equal(kind.load(file)(images), maps)


def test_multiples_are_enough(engine):
    side = engine.multiple
    assert engine(batch(1, side, 2 * side)).shape == (1, side, 2 * side, 2)


def test_images_of_a_batch_do_not_mix(engine):
    images = batch(4, 32, 64)
    together = engine(images)
    alone = np.concatenate([engine(images[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_many_threads_may_call_it(engine):
    images = [batch(1, 32 * (1 + seed % 3), 64, seed) for seed in range(12)]
    expected = [engine(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(engine, images), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_settings_ride_in_the_file_whatever_they_are(kind, file):
    settings = dict(kind.read_settings(file))
    assert settings.pop("format") == 1
    assert settings == SETTINGS


def test_a_read_model_can_be_written_again(kind, engine, file, tmp_path):
    again = tmp_path / f"again{kind.ending}"
    settings = {"segmenter": {**SETTINGS["segmenter"], "head": "other"}}
    kind.write(again, engine, settings)
    assert kind.read_settings(again)["segmenter"] == settings["segmenter"]
    np.testing.assert_array_equal(kind.load(again)(batch(1, 32, 32)), engine(batch(1, 32, 32)))
    assert list(tmp_path.iterdir()) == [again]


@pytest.mark.parametrize("name", FORMATS)
def test_engines_find_the_same_nuclei(name, tmp_path):
    """The model in the box on real tissue, at sizes that are no multiples of 32."""
    segmenter = Segmenter.from_pretrained("nuclei")
    ending = _formats.get(name).ending
    shipped = {".keras": pretrained_path("nuclei"), ".onnx": pretrained_path("nuclei").with_suffix(".onnx")}
    source = segmenter if ending == ".keras" else Segmenter.load(shipped[".onnx"])  # converting takes long
    other = Segmenter.load(shipped.get(ending) or source.export(tmp_path / f"nuclei{ending}"))
    assert other.thresholds == segmenter.thresholds
    image, exact = skimage.data.immunohistochemistry(), PredictOptions(precision="float32")
    options = exact if ending == ".keras" else PredictOptions()  # other engines compute in nothing else
    for height, width in ((512, 512), (200, 333), (31, 97)):
        part = image[:height, :width]
        one, two = segmenter.predict(part, exact), other.predict(part, options)
        assert np.abs(one.probability - two.probability).max() <= 1e-4
        assert match(one.labels, two.labels).average_precision(0.9) >= 0.99


def test_new_weights_count_at_once(model):
    engine = engines.KerasEngine(model)
    images = batch(1, 32, 32)
    before = engine(images)
    old = model.get_weights()
    model.set_weights([weight * 0 for weight in old])
    try:
        np.testing.assert_allclose(engine(images), 0.5)
    finally:
        model.set_weights(old)
    np.testing.assert_array_equal(engine(images), before)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_constant_weights_give_the_same_bits_and_may_change_once_somebody_says_so(model, precision):
    changing = engines.KerasEngine(model).computing_in(precision)
    engine = engines.KerasEngine(model, constant=True)
    constant = engine.computing_in(precision)
    images = batch(1, 32, 64)
    np.testing.assert_array_equal(constant(images), changing(images))
    old = model.get_weights()
    model.set_weights([weight * 0 for weight in old])
    try:
        assert np.abs(constant(images) - 0.5).max() > 0.01  # what was computed once stays
        engine.let_weights_change()
        np.testing.assert_allclose(constant(images), 0.5)
    finally:
        model.set_weights(old)


def test_a_loaded_model_has_constant_weights_until_somebody_asks_for_it(tiny_segmenter, tmp_path):
    segmenter = Segmenter.load(tiny_segmenter.save(tmp_path / "tiny.keras"))
    image = skimage.data.coins()[:64, :64]
    before = segmenter.predict(image)
    segmenter.save(tmp_path / "again.keras")
    assert segmenter._engine.constant
    segmenter.model.set_weights([weight * 0 for weight in segmenter.model.get_weights()])
    after = segmenter.predict(image)
    np.testing.assert_allclose(after.probability, 0.5)
    assert before.probability.max() != 0.5


@pytest.fixture
def traces(monkeypatch):
    """One more with every trace."""
    found = []
    whole = keras_engine.computed_in
    monkeypatch.setattr(keras_engine, "computed_in", lambda *given: found.append(given) or whole(*given))
    return found


def test_one_function_serves_all_sizes(model, traces):
    engine = engines.KerasEngine(model)
    for side in (32, 64, 96):
        engine(batch(1, side, side))
    assert len(traces) == 1


def test_layers_that_must_know_the_size_are_traced_for_each(traces):
    class Enlarged(keras.layers.Layer):
        def call(self, maps, like):
            return keras.ops.image.resize(maps, keras.ops.shape(like)[1:3])

        def compute_output_shape(self, maps_shape, like_shape):
            return (*like_shape[:3], maps_shape[3])

    image = keras.Input((None, None, 3))
    model = keras.Model(image, Enlarged()(keras.layers.AveragePooling2D(2)(image), image))
    engine = engines.KerasEngine(model)
    for shape in ((1, 32, 64), (2, 32, 64), (1, 96, 32), (1, 32, 64)):
        images = batch(*shape)
        np.testing.assert_allclose(engine(images), np.asarray(model(images)), atol=1e-6)
    assert len(traces) == 1 + 2


def test_what_fails_at_every_size_fails_with_its_own_error():
    class Broken(keras.layers.Layer):
        def call(self, maps):
            if not isinstance(maps, keras.KerasTensor):
                raise RuntimeError("out of order")
            return maps

    image = keras.Input((None, None, 3))
    with pytest.raises(RuntimeError, match="out of order"):
        engines.KerasEngine(keras.Model(image, Broken()(image)))(batch(1, 32, 32))


# ---- Kinds of files. ----


@pytest.mark.parametrize("name", ["nuclei.tflite", "nuclei", "onnx"])
def test_files_of_other_kinds_are_refused(name):
    with pytest.raises(InvalidInputError, match=f"must end in .bioimage.zip or .keras or .onnx, got '{name}'; use"):
        engines.find_format(name)
    with pytest.raises(InvalidInputError, match="must end in"):
        Segmenter.load(name)


def test_capitals_make_no_other_kind():
    assert engines.find_format("NUCLEI.ONNX").name == "onnx"


def test_an_ending_begins_with_a_dot():
    with pytest.raises(InvalidInputError, match=r"must begin with '.', got 'ort'"):
        replace(engines.find_format("a.onnx"), ending="ort")


def test_a_registered_kind_is_found_and_used(tiny_segmenter, tmp_path):
    written = {}

    class Zeros:
        multiple = 32

        def __call__(self, images):
            return np.zeros((*images.shape[:3], 1), np.float32)

    kind = engines.ModelFormat(
        "zeros",
        ".zeros",
        read_settings=lambda path: written[path],
        load=lambda path: Zeros(),
        write=lambda path, engine, settings: written.update({path: settings}),
    )
    engines.register_format(kind)
    try:
        path = tiny_segmenter.export(tmp_path / "model.zeros")
        assert Segmenter.load(path).predict(np.eye(40)).count == 0
    finally:
        _formats.unregister("zeros")


def test_layers_are_traced_without_converting_their_code():
    """As Keras does; AutoGraph takes several times as long as all else until the first image is there."""
    import tensorflow as tf

    seen = []

    class Watching(keras.layers.Layer):
        def call(self, images):
            seen.append(tf.__internal__.autograph.control_status_ctx().status.name)
            return images

    image = keras.Input((None, None, 3))
    model = keras.Model(image, Watching()(image))
    seen.clear()
    engines.KerasEngine(model)(np.zeros((1, 32, 32, 3), np.float32))
    assert seen
    assert "ENABLED" not in seen
