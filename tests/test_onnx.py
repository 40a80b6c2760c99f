"""ONNX files: what is written is read, without Keras; damage is named; other runtimes can open them."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg import PredictOptions, Segmenter, Tiling, datasets
from nucleiseg.engines import OnnxEngine
from nucleiseg.engines.onnx_export import OPSET, write_onnx
from nucleiseg.engines.onnx_metadata import read_settings, with_settings
from nucleiseg.errors import InvalidInputError, MissingPackageError, ModelFileError
from nucleiseg.heads import list_heads
from nucleiseg.pretrained import list_pretrained, model_card, pretrained_path
from nucleiseg.training.runs import TrainingRun

SIZES = ((64, 64), (57, 130), (33, 200))
# In the arithmetic of shapes, a few whole numbers; onnxruntime-web does these beside WebGPU, in WebAssembly.
NOT_ON_WEBGPU = {"Max", "Min"}


@pytest.fixture(scope="module")
def exported(tiny_segmenter, tmp_path_factory):
    return tiny_segmenter.export(tmp_path_factory.mktemp("onnx") / "tiny.onnx")


@pytest.fixture
def copy(exported, tmp_path):
    """A copy to be damaged."""
    return Path(shutil.copy(exported, tmp_path / "copy.onnx"))


@pytest.fixture(scope="module")
def discs(disc_dataset):
    return datasets.read(disc_dataset)


def image(height, width):
    return np.random.default_rng(0).random((height, width))


# ---- Parity. ----


def exported_beside(model, path):
    """Maps of noise, and those of the file that the model is exported to."""
    write_onnx(path, model, {})
    images = np.random.default_rng(0).random((1, 32, 64, 3), np.float32)
    return np.asarray(model(images)), onnxruntime.InferenceSession(path).run(None, {"image": images})[0]


@pytest.mark.parametrize("given", [{}, {"mean": [0.5, 0.4, 0.3], "variance": [0.1, 0.2, 0.3]}])
def test_a_normalisation_is_exported_as_it_computes(tmp_path, given):
    norm = keras.layers.Normalization(**given)
    if not given:
        norm.adapt(np.random.default_rng(1).random((8, 8, 8, 3)) / 9 + 0.5)
    inputs = keras.Input((None, None, 3))
    maps, written = exported_beside(keras.Model(inputs, keras.layers.Conv2D(2, 3)(norm(inputs))), tmp_path / "n.onnx")
    np.testing.assert_allclose(written, maps, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", ["gelu", "celu", "elu", "silu"])
def test_activations_are_exported(tmp_path, activation):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    maps = keras.layers.Rescaling(16.0, -8.0)(inputs)
    maps = keras.layers.Conv2D(2, 1, activation=activation)(keras.layers.Conv2D(2, 1, activation=activation)(maps))
    maps, written = exported_beside(keras.Model(inputs, maps), tmp_path / "activation.onnx")
    assert maps.std() > 0.1
    np.testing.assert_allclose(written, maps, atol=1e-5)


def test_operators_that_onnx_lacks_are_named(tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.ops.erfinv(keras.layers.Conv2D(1, 1, activation="sigmoid")(inputs)))
    with pytest.raises(InvalidInputError, match=r"of operators that ONNX has, got a network with Erfinv; save it as"):
        write_onnx(tmp_path / "erfinv.onnx", model, {})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module", params=[(head, "pix2pix") for head in list_heads()] + [("semantic", "resize_conv")])
def pair(request, tiny_encoder, tmp_path_factory):
    """A segmenter and the file that it was exported to."""
    head, upsampling = request.param
    segmenter = Segmenter(tiny_encoder, None, head, upsampling=upsampling, widths=(4, 4, 4, 4, 4))
    return segmenter, segmenter.export(tmp_path_factory.mktemp("onnx") / "model.onnx")


def test_every_head_predicts_the_same_at_any_size_with_any_option(pair):
    segmenter, other = pair[0], Segmenter.load(pair[1])
    assert other.thresholds == segmenter.thresholds
    tricky = PredictOptions(tta=True, tiling=Tiling(64, 16), min_area=5, fill_holes=True)
    plain, resized = PredictOptions(), PredictOptions(scale=1.5)
    for (height, width), options in zip((*SIZES, *SIZES[:2]), (plain, plain, plain, tricky, resized), strict=True):
        pixels, exact = image(height, width), replace(options, precision="float32")  # as ONNX files are computed in
        one, two = segmenter.predict(pixels, exact), other.predict(pixels, options)
        assert np.abs(one.probability - two.probability).max() <= 1e-4


@pytest.mark.parametrize("name", list_pretrained())
def test_the_shipped_onnx_file_is_the_shipped_model(name):
    """It belongs to the light distribution; 'nucleiseg export NAME -o nucleiseg/pretrained/NAME.onnx' makes it anew."""
    keras_file = pretrained_path(name)
    segmenter, other = Segmenter.from_pretrained(name), Segmenter.load(keras_file.with_suffix(".onnx"))
    assert keras_file.suffix == ".keras"
    assert other._settings == segmenter._settings
    for height, width in SIZES:
        pixels = image(height, width)
        one, two = segmenter.predict(pixels, PredictOptions(precision="float32")), other.predict(pixels)
        assert np.abs(one.probability - two.probability).max() <= 1e-4


def test_settings_and_licence_ride_in_the_file(exported, tiny_segmenter):
    assert read_settings(exported)["segmenter"] == json.loads(json.dumps(asdict(tiny_segmenter._settings)))
    shipped = read_settings(pretrained_path("nuclei").with_suffix(".onnx"))["segmenter"]
    assert shipped["licence"] == model_card("nuclei")["licence"] == "Apache-2.0"


def test_weights_learned_from_other_data_have_no_licence_of_ours(exported, discs, monkeypatch):
    segmenter = Segmenter.load(exported)
    segmenter._settings = replace(segmenter._settings, licence="Apache-2.0")
    monkeypatch.setattr("nucleiseg.segmenter.keras_model", lambda engine: None)
    rows = ({"epoch": 1, "loss": 0.5, "monitor": "loss"},)
    monkeypatch.setattr("nucleiseg.learning.run_training", lambda _, settings, *__: TrainingRun(settings, rows))
    segmenter.fit(discs)
    assert segmenter._settings.licence is None


# ---- What an exported model can do, and what not. ----


def test_it_evaluates_and_tunes_its_thresholds_and_keeps_them(tiny_segmenter, exported, discs, tmp_path):
    segmenter = Segmenter.load(exported)
    assert segmenter.evaluate(discs).to_dict()["all"]["images"] == len(discs)
    tuned = segmenter.optimize_thresholds(discs)
    assert tuned == Segmenter.load(tiny_segmenter.save(tmp_path / "tiny.keras")).optimize_thresholds(discs)
    assert tuned != tiny_segmenter.thresholds
    assert Segmenter.load(segmenter.export(tmp_path / "tuned.onnx")).thresholds == tuned


def test_it_says_what_it_is(exported):
    assert repr(Segmenter.load(exported)) == "Segmenter(encoder='tiny', head='semantic', OnnxEngine)"


@pytest.mark.parametrize(
    "use",
    [
        lambda segmenter, folder, data: segmenter.model,
        lambda segmenter, folder, data: segmenter.fit(data),
        lambda segmenter, folder, data: segmenter.save(folder / "a.keras"),
        lambda segmenter, folder, data: segmenter.export(folder / "a.keras"),
        lambda segmenter, folder, data: segmenter.plot_architecture(folder / "a.png"),
    ],
)
def test_it_has_no_keras_model(exported, discs, tmp_path, use):
    message = "was loaded from an exported file, which holds no Keras model .* load the .keras file"
    with pytest.raises(InvalidInputError, match=message):
        use(Segmenter.load(exported), tmp_path, discs)
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named(tiny_segmenter, exported, tmp_path, monkeypatch):
    for package, use in (
        ("onnxruntime", lambda: Segmenter.load(exported)),
        ("onnx", lambda: tiny_segmenter.export(tmp_path / "a.onnx")),
        ("tf2onnx", lambda: tiny_segmenter.export(tmp_path / "a.onnx")),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(
                MissingPackageError, match=rf'needs the package {package}.*pip install "nucleiseg\[onnx\]"'
            ):
                use()
    assert list(tmp_path.iterdir()) == []


def test_what_fails_leaves_the_old_file(tiny_segmenter, copy, monkeypatch):
    before = copy.read_bytes()
    monkeypatch.setattr("nucleiseg.engines.onnx_export.with_settings", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tiny_segmenter.export(copy)
    assert copy.read_bytes() == before
    assert list(copy.parent.iterdir()) == [copy]


# ---- Other programs. ----


def test_the_file_is_sound_and_its_parts_have_names(exported):
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    (ours,) = (entry.version for entry in model.opset_import if entry.domain == "")
    assert ours == OPSET == 18
    assert (model.producer_name, model.graph.name) == ("nucleiseg", "nucleiseg")
    for tensor, name, channels in ((model.graph.input[0], "image", 3), (model.graph.output[0], "maps", 1)):
        assert tensor.name == name
        sizes = [axis.dim_param or axis.dim_value for axis in tensor.type.tensor_type.shape.dim]
        assert sizes == ["batch", "height", "width", channels]


def allowed_operators():
    """Operators that onnxruntime-web runs on WebGPU at our opset."""
    lines = (Path(__file__).parent / "data" / "onnxruntime_web_operators.csv").read_text().splitlines()
    for row in csv.DictReader((line for line in lines if not line.startswith("#")), delimiter=";"):
        for versions in row["opsets"].split(","):
            first, _, last = versions.rstrip("+").partition("-")
            if int(first) <= OPSET <= (float("inf") if versions.endswith("+") else int(last or first)):
                yield row["operator"]


@pytest.mark.parametrize("name", list_pretrained())
def test_browsers_can_run_the_shipped_models(name):
    model = onnx.load(pretrained_path(name).with_suffix(".onnx"))
    assert {node.domain for node in model.graph.node} == {""}
    assert {node.op_type for node in model.graph.node} - {*allowed_operators()} <= NOT_ON_WEBGPU


def test_browsers_can_run_every_head(pair):
    assert {node.op_type for node in onnx.load(pair[1]).graph.node} - {*allowed_operators()} <= NOT_ON_WEBGPU


def test_the_list_of_operators_can_say_no():
    allowed = {*allowed_operators()}
    assert {"Conv", "ConvTranspose", "Resize"} <= allowed
    assert allowed.isdisjoint({"NonMaxSuppression", "Max"})


# ---- Metadata. ----

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(min_size=1).filter(lambda key: key != "format"), JSON, max_size=4))
def test_onnx_reads_what_we_write_and_so_do_we(exported, tmp_path_factory, stored):
    before = onnx.load(exported)
    path = tmp_path_factory.mktemp("written") / "model.onnx"
    path.write_bytes(with_settings(exported.read_bytes(), stored))
    assert read_settings(path) == {"format": 1, **stored}
    after = onnx.load(path)
    assert json.loads({entry.key: entry.value for entry in after.metadata_props}["nucleiseg.json"]) == {
        "format": 1,
        **stored,
    }
    assert len(after.metadata_props) == 2
    assert after.graph == before.graph
    assert after.opset_import == before.opset_import


def test_metadata_of_others_stays(exported, tmp_path):
    model = onnx.load(exported)
    model.metadata_props.add(key="author", value="Größe")
    path = tmp_path / "model.onnx"
    path.write_bytes(with_settings(model.SerializeToString(), {"a": 1}))
    assert {entry.key: entry.value for entry in onnx.load(path).metadata_props}["author"] == "Größe"


def plain_onnx(path):
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)


def other_weights(path):
    model = onnx.load(path)
    model.graph.node[0].name = "changed"
    onnx.save(model, path)


def other_format(path):
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 2'))


FOREIGN = {
    "missing": (lambda path: path.unlink(), r"copy.onnx does not exist; check the path, or write one with"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged or no ONNX file"),
    "text": (lambda path: path.write_text("no model at all"), "is damaged or no ONNX file"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-5]), "is damaged or no ONNX file"),
    "no network": (lambda path: path.write_bytes(b"\x08\x08"), "is damaged or no ONNX file .it has no network"),
    "an endless number": (lambda path: path.write_bytes(b"\x08" + b"\xff" * 20), "a number that is too long"),
    "plain ONNX": (plain_onnx, "holds no nucleiseg settings; write it with Segmenter.export"),
    "another network": (other_weights, "is damaged, or was changed after its export"),
    "a later format": (other_format, "was written by another version of nucleiseg; update nucleiseg"),
    "settings of something else": (
        lambda path: path.write_bytes(with_settings(path.read_bytes(), {"classifier": {}})),
        "copy.onnx holds no settings of a Segmenter",
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_files_are_refused(copy, kind):
    damage, message = FOREIGN[kind]
    damage(copy)
    with pytest.raises(ModelFileError, match=message) as raised:
        Segmenter.load(copy)
    assert "copy.onnx" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("limit", ["MOST_BYTES", "_MOST_FIELDS"])
def test_what_is_too_large_is_refused(copy, monkeypatch, limit):
    monkeypatch.setattr(f"nucleiseg.engines.onnx_metadata.{limit}", 3)
    with pytest.raises(ModelFileError, match=r"copy.onnx is damaged or no ONNX file \(it has .*more than "):
        Segmenter.load(copy)


def test_a_file_that_may_not_be_read_is_named(copy, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ModelFileError, match=r"copy.onnx cannot be read \(Permission denied\); check its permissions"):
        read_settings(copy)


def test_settings_that_are_nested_without_end_are_refused(copy, monkeypatch):
    monkeypatch.setattr("nucleiseg.engines.onnx_metadata.json.dumps", lambda *_, **__: "[" * 100_000)
    copy.write_bytes(with_settings(copy.read_bytes(), {}))
    with pytest.raises(ModelFileError, match=r"copy.onnx is damaged or no ONNX file"):
        read_settings(copy)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("head", 3, "text"),
        ("licence", 3, "text or null"),
        ("seed", -1, "a whole number of at least 0"),
        ("convolutions", True, "a whole number of at least 0"),
        ("refine", 1, "true or false"),
        ("trained", "yes", "true or false"),
        ("widths", [8.5], "whole numbers, such as .*"),
        ("thresholds", {"probability": "half"}, "names and numbers"),
        ("thresholds", {"probability": float("nan")}, "names and numbers"),
        ("calibration", [1], "names and numbers, or null"),
        ("scale_calibration", {"size": "large"}, "names and numbers, or null"),
        ("passport", [9, 8, 7], "three rising numbers above 0, or null"),
        ("passport", [8, 9], "three rising numbers above 0, or null"),
        ("run", "yesterday", "an object or null"),
    ],
)
def test_settings_of_a_wrong_kind_are_named(copy, name, value, rule):
    stored = read_settings(copy)
    stored["segmenter"][name] = value
    copy.write_bytes(with_settings(copy.read_bytes(), stored))
    with pytest.raises(
        ModelFileError, match=rf"copy.onnx holds no settings of a Segmenter \({name} must be {rule}, got"
    ):
        Segmenter.load(copy)


def test_settings_without_a_calibration_for_the_scale_can_be_read(copy):
    """As files had none before there was one."""
    stored = read_settings(copy)
    del stored["segmenter"]["scale_calibration"]
    copy.write_bytes(with_settings(copy.read_bytes(), stored))
    assert Segmenter.load(copy)._settings.scale_calibration is None


def test_a_network_that_cannot_run_is_named(copy):
    copy.write_bytes(with_settings(b"\x08\x08\x3a\x02\x08\x01", {"segmenter": {}}))
    with pytest.raises(ModelFileError, match=r"the network in .*copy.onnx cannot be run .*; export it again"):
        OnnxEngine(copy)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_named_or_harmless(data, exported, tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "damaged.onnx"
    content = bytearray(exported.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1) | st.integers(1, 900).map(lambda back: len(content) - back))
    if data.draw(st.booleans()):
        content = content[:position]
    else:
        content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    problem, stored = "", None
    try:
        stored = read_settings(path)
    except ModelFileError as error:
        problem = str(error)
    assert "damaged.onnx" in problem or stored == read_settings(exported)
