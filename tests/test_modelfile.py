"""Model files: what is written is read, anyone can read the settings, and damage is named and never guessed at."""

from __future__ import annotations

import io
import json
import re
import shutil
import threading
import zipfile
from random import Random

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg import pretrained
from nucleiseg.errors import InvalidInputError, ModelFileError
from nucleiseg.modelchecks import check_saveable
from nucleiseg.modelfile import copy_network, read_model, read_settings, write_model
from nucleiseg.networks import get_encoder, unet

SETTINGS = {"segmenter": {"encoder": "tiny", "note": "Größe 5 µm", "widths": [4, 4, 4, 4, 4], "weights": None}}


@pytest.fixture(scope="module")
def model(tiny_encoder):
    keras.utils.set_random_seed(2)
    return unet(get_encoder(tiny_encoder), widths=(4, 4, 4, 4, 4))


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "nuclei.keras", model, SETTINGS)


@pytest.fixture
def copy(saved, tmp_path):
    """A copy to be damaged."""
    return shutil.copy(saved, tmp_path / "copy.keras")


def maps(model):
    images = np.random.default_rng(0).random((1, 64, 32, 3), np.float32)
    return np.asarray(model(images, training=False))


def rewrite(path, change):
    """Write the archive again, its members changed by a function from a dict to a dict."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in change(members).items():
            archive.writestr(name, content)


def test_model_and_settings_come_back(saved, model):
    loaded, read = read_model(saved)
    assert read == {"format": 1, **SETTINGS} == read_settings(saved)
    np.testing.assert_array_equal(maps(loaded), maps(model))
    assert [tuple(weight.shape) for weight in loaded.weights] == [tuple(weight.shape) for weight in model.weights]
    assert {weight.dtype for weight in loaded.weights} == {"float32"}


def test_anyone_can_read_the_settings(saved):
    with zipfile.ZipFile(saved) as archive:
        text = archive.read("nucleiseg.json").decode()
    assert json.loads(text) == {"format": 1, **SETTINGS}
    assert '\n    "encoder": "tiny",\n    "note": "Größe 5 µm",\n' in text


def test_keras_itself_can_open_it(saved, model):
    np.testing.assert_array_equal(maps(keras.saving.load_model(saved, safe_mode=True)), maps(model))


def test_settings_are_read_without_keras(saved, run_python):
    code = (
        "import sys; from nucleiseg.modelfile import read_settings as r; r(sys.argv[1]); print('keras' in sys.modules)"
    )
    assert run_python(code, saved).stdout == "False\n"


def test_half_is_half_the_size_and_nearly_the_same(model, tmp_path):
    wide = unet(get_encoder("tiny"), widths=(64, 64, 32, 16, 16))
    whole = write_model(tmp_path / "whole.keras", wide, SETTINGS)
    half = write_model(tmp_path / "half.keras", wide, SETTINGS, half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    loaded, read = read_model(half)
    assert read["segmenter"] == SETTINGS["segmenter"]
    assert {weight.dtype for weight in loaded.weights} == {"float32"}
    np.testing.assert_allclose(maps(loaded), maps(wide), atol=1e-3)
    again = write_model(tmp_path / "again.keras", loaded, SETTINGS, half=True)
    np.testing.assert_array_equal(maps(read_model(again)[0]), maps(loaded))  # what is 16-bit stays as it is


def test_the_optimiser_is_left_out(tiny_encoder, saved, tmp_path):
    model = unet(get_encoder(tiny_encoder), widths=(4, 4, 4, 4, 4))
    model.compile("adam", loss="mse")
    model.train_on_batch(np.zeros((1, 32, 32, 3), np.float32), np.zeros((1, 32, 32, 1), np.float32))
    trained = write_model(tmp_path / "trained.keras", model, SETTINGS)
    assert trained.stat().st_size == pytest.approx(saved.stat().st_size, rel=0.1)
    np.testing.assert_array_equal(maps(read_model(trained)[0]), maps(model))
    assert model.optimizer is not None  # the model in memory goes on training


def test_files_say_nothing_that_earlier_versions_of_keras_do_not_know(saved):
    with zipfile.ZipFile(saved) as archive:
        config = archive.read("config.json").decode()
    assert set(re.findall(r'"module": "keras.initializers", "class_name": "\w+", "config": (.+?), ', config)) == {"{}"}
    assert "renorm" not in config


def test_a_file_of_a_later_version_of_keras_is_read_where_what_is_new_changes_nothing(copy, model):
    def add(members):
        config = members["config.json"].replace(b'"synchronized": false', b'"synchronized": false, "renorm": false')
        config = config.replace(b'"Zeros", "config": {}', b'"Zeros", "config": {"of_later": null}')
        assert config.count(b"renorm") > 5 < config.count(b"of_later")
        return {**members, "config.json": config.replace(b'"renorm": false', b'"renorm": false, "renorm_of_later": 1')}

    rewrite(copy, add)
    np.testing.assert_array_equal(maps(read_model(copy)[0]), maps(model))
    rewrite(copy, lambda members: {**members, "config.json": members["config.json"].replace(b"renorm", b"of_later")})
    with pytest.raises(ModelFileError, match=r"copy\.keras cannot be read"):
        read_model(copy)


@pytest.mark.parametrize("name", ["model", "model.h5", "model.keras.zip"])
def test_other_suffixes_are_refused(model, tmp_path, name):
    with pytest.raises(InvalidInputError, match=r"must end in .keras, got .*; use model(\.keras)?\.keras"):
        write_model(tmp_path / name, model, SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_what_fails_leaves_the_old_file(model, copy):
    before = copy.read_bytes()
    with pytest.raises(TypeError):
        write_model(copy, model, {"segmenter": object()})
    assert copy.read_bytes() == before
    assert list(copy.parent.iterdir()) == [copy]


# ---- Files that are not what they seem. ----


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"none.keras does not exist; check the path, or train one"):
        read_model(tmp_path / "none.keras")


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(ModelFileError, match="does not exist"):
        read_model(tmp_path)


FOREIGN = {
    "empty": (lambda path: path.write_bytes(b""), "is damaged or no .keras file"),
    "text": (lambda path: path.write_text("no model"), "is damaged or no .keras file"),
    "plain Keras": (
        lambda path: rewrite(path, lambda members: {n: c for n, c in members.items() if n != "nucleiseg.json"}),
        "holds no nucleiseg settings; save it with Segmenter.save",
    ),
    "settings that are no JSON": (
        lambda path: rewrite(path, lambda members: {**members, "nucleiseg.json": b"{"}),
        "is damaged or no .keras file",
    ),
    "settings that are a list": (
        lambda path: rewrite(path, lambda members: {**members, "nucleiseg.json": b"[]"}),
        "another version",
    ),
    "a later format": (
        lambda path: rewrite(path, lambda members: {**members, "nucleiseg.json": b'{"format": 2}'}),
        "was saved by another version of nucleiseg; update nucleiseg",
    ),
    "no network": (
        lambda path: rewrite(path, lambda members: {n: c for n, c in members.items() if n != "config.json"}),
        "cannot be read",
    ),
    "no weights": (
        lambda path: rewrite(path, lambda members: {n: c for n, c in members.items() if not n.endswith(".h5")}),
        "cannot be read",
    ),
    "half of the weights": (
        lambda path: rewrite(
            path, lambda members: {n: c[: len(c) // 2] if n.endswith(".h5") else c for n, c in members.items()}
        ),
        "cannot be read",
    ),
    "a layer that is no layer": (
        lambda path: rewrite(
            path,
            lambda members: {
                **members,
                "config.json": members["config.json"].replace(
                    b'"class_name": "Concatenate"', b'"class_name": "Lambda"'
                ),
            },
        ),
        "needs the class keras.layers.Lambda, which is not a plain layer of Keras",
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_files_are_refused(copy, kind):
    damage, message = FOREIGN[kind]
    damage(copy)
    with pytest.raises(ModelFileError, match=message) as raised:
        read_model(copy)
    assert "copy.keras" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_code_in_a_file_is_not_run(tmp_path):
    image = keras.Input((None, None, 3))
    path = tmp_path / "code.keras"
    keras.Model(image, keras.layers.Lambda(lambda x: x * 2)(image)).save(path)
    rewrite(path, lambda members: {**members, "nucleiseg.json": b'{"format": 1}'})
    with pytest.raises(ModelFileError, match=r"needs the class keras.layers.Lambda"):
        read_model(path)


# ---- Files made to harm. ----


def replace_in(name, old, new):
    return lambda members: {**members, name: members[name].replace(old, new)}


def with_weights(change):
    """The archive with its HDF5 file changed in place."""

    def rewritten(members):
        file = io.BytesIO(members["model.weights.h5"])
        with h5py.File(file, "r+") as weights:
            change(weights)
        return {**members, "model.weights.h5": file.getvalue()}

    return rewritten


def first_dataset(weights):
    found = []
    weights.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found[0]


def link(weights, target):
    name = first_dataset(weights)
    del weights[name]
    weights[name] = target


def virtual(weights):
    name = first_dataset(weights)
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "a", (4,))
    weights.create_virtual_dataset("elsewhere", layout)
    weights.move("elsewhere", f"{name}_more")


CLASSES = {
    "a Lambda": ("keras.layers", "Lambda"),
    "a saved model of TensorFlow": ("keras.layers", "TFSMLayer"),
    "a pickle of PyTorch": ("keras.layers", "TorchModuleWrapper"),
    "a table in a file": ("keras.layers", "StringLookup"),
    "a function that downloads": ("keras.utils", "get_file"),
    "a module of Python": ("os", "system"),
    "a private module": ("keras.src.utils.file_utils", "extract_archive"),
    "a lambda": (None, "__lambda__"),
}
HOSTILE = {
    **{
        kind: (
            replace_in(
                "config.json",
                b'"module": "keras.layers", "class_name": "Concatenate"',
                json.dumps({"module": module, "class_name": name}).encode()[1:-1],
            ),
            f"needs the class {f'{module}.' if module else ''}{name}, which is not a plain layer of Keras",
        )
        for kind, (module, name) in CLASSES.items()
    },
    "a class without a name": (
        replace_in("config.json", b'"class_name": "Concatenate"', b'"class_name": 7'),
        "the class",
    ),
    "a path out of the archive": (lambda members: {**members, "../evil.py": b""}, "holds '../evil.py', which no model"),
    "an absolute path": (lambda members: {**members, "/etc/evil": b""}, "holds '/etc/evil', which no model"),
    "assets": (lambda members: {**members, "assets/vocabulary.txt": b""}, "holds 'assets/vocabulary.txt'"),
    "a network of a terabyte": (
        replace_in("config.json", b'"kernel_size": [3, 3]', b'"kernel_size": [3000, 3000]'),
        r"is a network of [\d,]+ weights, more than the 268,435,456 allowed",
    ),
    "nested without end": (lambda members: {**members, "config.json": b"[" * 10**6}, "is damaged or no .keras file"),
    "settings nested without end": (lambda members: {**members, "nucleiseg.json": b"[" * 10**6}, "is damaged"),
    "a large array": (
        with_weights(lambda weights: weights.create_dataset("more", (10**13,), "f4", chunks=(1000,))),
        "has more weights than its network",
    ),
    "a link to another file": (
        with_weights(lambda weights: link(weights, h5py.ExternalLink("/etc/other.h5", "a"))),
        "has weights that lie elsewhere",
    ),
    "a link within": (
        with_weights(lambda weights: link(weights, h5py.SoftLink("/"))),
        "has weights that lie elsewhere",
    ),
    "a group that holds itself": (
        with_weights(lambda weights: weights.create_group("zz").__setitem__("again", weights["zz"])),
        r"has weights that lie in several places \('again'\)",
    ),
    "a group that holds all": (
        with_weights(lambda weights: weights.__setitem__("zz", weights["/"])),
        r"has weights that lie in several places \('zz'\)",
    ),
    "an array in another file": (
        with_weights(lambda weights: weights.create_dataset("raw", (4,), "f4", external=[("/etc/passwd", 0, 16)])),
        "has weights that are no plain numbers",
    ),
    "an array made of others": (with_weights(virtual), "has weights that are no plain numbers"),
    "text as weights": (
        with_weights(lambda weights: weights.create_dataset("text", data=["a"])),
        "has weights that are no plain numbers",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_and_named(copy, kind):
    change, message = HOSTILE[kind]
    before = copy.read_bytes()
    rewrite(copy, change)
    assert copy.read_bytes() != before
    with pytest.raises(ModelFileError, match=message) as raised:
        read_model(copy)
    assert "copy.keras" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["nucleiseg.json", "config.json", "model.weights.h5", "metadata.json"])
def test_a_member_that_claims_to_be_huge_is_refused_before_it_is_unpacked(copy, name):
    # The size stands in the archive's directory; eight bytes of ours say 16 GiB in place of the true one.
    with zipfile.ZipFile(copy) as archive:
        members = {info.filename: archive.read(info.filename) for info in archive.infolist()}
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
            if member == name:
                archive.filelist[-1].file_size = 2**34
    with pytest.raises(ModelFileError, match=f"claims 17,179,869,184 bytes for '{name}', more than the"):
        read_model(copy)


def test_a_registered_class_is_loaded(tmp_path):
    @keras.saving.register_keras_serializable("test_modelfile")
    class Twice(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    image = keras.Input((None, None, 3))
    path = write_model(tmp_path / "twice.keras", keras.Model(image, Twice()(image)), SETTINGS)
    assert maps(read_model(path)[0]).shape == (1, 64, 32, 3)
    del keras.saving.get_custom_objects()["test_modelfile>Twice"]
    with pytest.raises(ModelFileError, match=r"Twice, which is not a plain layer of Keras; import the package that"):
        read_model(path)


def test_a_kernel_that_two_layers_have_is_loaded_and_still_counted(tmp_path):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.SpectralNormalization(keras.layers.Conv2D(40, 3))(image))
    path = write_model(tmp_path / "spectral.keras", model, SETTINGS)
    np.testing.assert_array_equal(maps(read_model(path)[0]), maps(model))
    rewrite(path, with_weights(lambda weights: weights.create_dataset("more", (41,), "f4")))
    with pytest.raises(ModelFileError, match="has more weights than its network, which has 2,240"):
        read_model(path)


def test_a_copy_normalises_as_the_network_does():
    norm = keras.layers.Normalization()
    norm.adapt(np.random.default_rng(0).random((8, 8, 8, 3)) / 9 + 5)
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.Sequential([norm])(image))
    assert np.abs(maps(model)).max() > 100
    np.testing.assert_array_equal(maps(copy_network(model)), maps(model))


def test_weights_that_no_file_would_give_back_are_refused():
    image = keras.Input((None, None, 3))
    for policy in ("float16", "mixed_bfloat16", "mixed_float16"):
        check_saveable(keras.Model(image, keras.layers.Conv2D(1, 1, dtype=policy)(image)))
    inner = keras.Sequential([keras.layers.Conv2D(1, 1, dtype="bfloat16")])
    message = r"numbers that HDF5 knows, got bfloat16 in '.*kernel'; build it with .*'mixed_bfloat16'"
    with pytest.raises(InvalidInputError, match=message):
        check_saveable(keras.Model(image, inner(image)))


def test_looking_at_a_network_takes_no_memory_and_leaves_nothing_behind(saved):
    read_model(saved)
    with keras.StatelessScope():  # would give values to what waits for them
        pass
    assert not threading.active_count() > 50


def test_a_model_in_the_box_that_was_changed_is_refused(tmp_path, monkeypatch):
    for suffix in (".keras", ".json"):
        shutil.copy(pretrained.pretrained_path("nuclei").with_suffix(suffix), tmp_path)
    known = pretrained.model_card("nuclei")["file"]["sha256"][:16]
    changed = bytearray((tmp_path / "nuclei.keras").read_bytes())
    changed[5_000_000] ^= 1
    (tmp_path / "nuclei.keras").write_bytes(changed)
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    with pytest.raises(ModelFileError, match=rf"must have the SHA-256 {known}…, got .*: it is damaged or was"):
        pretrained.pretrained_path("nuclei")


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"file": 1}', '{"file": {"sha256": 1}}', "[" * 100_000])
def test_a_damaged_card_is_named(tmp_path, monkeypatch, text):
    for path in pretrained._FOLDER.glob("nuclei.*"):
        (tmp_path / path.name).write_bytes(b"")
    (tmp_path / "nuclei.json").write_text(text)
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    with pytest.raises(ModelFileError, match=r"the card .*nuclei.json cannot be read"):
        pretrained.pretrained_path("nuclei")


def test_a_card_changed_at_many_places_is_refused_or_read(tmp_path, monkeypatch):
    content = (pretrained._FOLDER / "nuclei.json").read_bytes()
    (tmp_path / "nuclei.keras").touch()
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    random = Random(0)
    refused = 0
    for _ in range(520):
        changed = bytearray(content)
        place = random.randrange(len(changed))
        changed[place] ^= 1 << random.randrange(8)
        (tmp_path / "nuclei.json").write_bytes(changed if random.random() < 0.8 else changed[:place])
        try:
            assert isinstance(pretrained.model_card("nuclei")["file"]["sha256"], str)
        except ModelFileError:
            refused += 1
    assert 150 < refused < 520


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damage_is_named_or_harmless(data, saved, model, tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "damaged.keras"
    content = bytearray(saved.read_bytes())
    # Most bytes are weights; half of the changes are made in what surrounds them.
    position = data.draw(st.integers(0, len(content) - 1) | st.integers(1, 2000).map(lambda back: len(content) - back))
    if data.draw(st.booleans()):
        content = content[:position]
    else:
        content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    problem = ""
    try:
        loaded, _ = read_model(path)
    except ModelFileError as error:
        problem = str(error)
    assert "damaged.keras" in problem or np.array_equal(maps(loaded), maps(model))
