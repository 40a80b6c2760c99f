"""A light installation: everything but training works where neither Keras nor TensorFlow can be imported."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import replace
from email.message import Message
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from nucleiseg import _optional
from nucleiseg.errors import InvalidInputError, MissingPackageError
from nucleiseg.pretrained import list_pretrained, pretrained_path

ROOT = Path(__file__).parents[1]
LIGHT = ROOT / "packaging" / "onnx"
FOR_TRAINING = {"h5py", "keras", "tensorflow"}

# Runs before everything else in a process: as if the packages were not installed.
BLOCK = """
import sys
from importlib.machinery import PathFinder
find_spec, blocked = PathFinder.find_spec, {"keras", "tensorflow", "h5py", "onnx", "tf2onnx", "jax"}
def find_others(name, path=None, target=None):
    return None if name.partition(".")[0] in blocked else find_spec(name, path, target)
PathFinder.find_spec = find_others
"""


@pytest.fixture(scope="module")
def shipped():
    return pretrained_path("nuclei").with_suffix(".onnx")


@pytest.fixture(scope="module")
def light(run_python):
    """Run code where Keras and TensorFlow cannot be imported; gives what it printed."""

    def run(code, *arguments):
        process = run_python(BLOCK + code, *arguments)
        assert process.returncode == 0, process.stderr
        return process.stdout

    return run


def test_it_predicts_with_every_option_as_keras_does(light, shipped, tmp_path):
    from nucleiseg import PredictOptions, Segmenter, Tiling

    image = skimage.data.immunohistochemistry()[:100, :150]
    np.save(tmp_path / "image.npy", image)
    light(
        """
import numpy as np
from nucleiseg import PredictOptions, Segmenter, Tiling, datasets
image = np.load(sys.argv[2])
segmenter = Segmenter.load(sys.argv[1])
options = PredictOptions(tta=True, tiling=Tiling(96, 32), min_area=20, fill_holes=True, remove_edge=True)
found = segmenter.predict(image, options)
np.savez(sys.argv[3], probability=found.probability, labels=found.labels)
assert len(found.table()) == found.count
data = datasets.from_arrays([image], [found.labels])
assert segmenter.evaluate(data, options).to_dict()["all"]["dice"] > 0.99
""",
        shipped,
        tmp_path / "image.npy",
        tmp_path / "found.npz",
    )
    options = PredictOptions(tta=True, tiling=Tiling(96, 32), min_area=20, fill_holes=True, remove_edge=True)
    exact = replace(options, precision="float32")  # as ONNX files are computed in
    ours, theirs = Segmenter.from_pretrained("nuclei").predict(image, exact), np.load(tmp_path / "found.npz")
    assert np.abs(ours.probability - theirs["probability"]).max() <= 1e-4
    np.testing.assert_array_equal(ours.labels > 0, theirs["labels"] > 0)


def test_the_model_in_the_box_is_the_onnx_file(light):
    code = "from nucleiseg import Segmenter; print(Segmenter.from_pretrained('nuclei'))"
    assert "OnnxEngine" in light(code)
    assert pretrained_path("nuclei").suffix == ".keras"


def test_the_command_line_predicts(light, tmp_path):
    Image.fromarray(skimage.data.immunohistochemistry()[:100, :120]).save(tmp_path / "tissue.png")
    code = "from nucleiseg.cli.main import main; raise SystemExit(main(sys.argv[1:]))"
    printed = light(code, "predict", tmp_path / "tissue.png", "-o", tmp_path / "results", "--pictures")
    assert printed.startswith("1 of 1 images segmented")
    assert (tmp_path / "results" / "tissue_overlay.png").is_file()


@pytest.mark.parametrize(
    ("use", "what"),
    [
        ("Segmenter()", "nucleiseg.engines.KerasEngine"),
        (f"Segmenter.load({str(pretrained_path('nuclei'))!r})", "the model .*nuclei.keras"),
        ("nucleiseg.networks.unet", "nucleiseg.networks.unet"),
        ("nucleiseg.training.losses", "nucleiseg.training.losses"),
        ("nucleiseg.training.as_tf_dataset(data)", "a tf.data pipeline"),
        ("main(['train', 'discs', '-o', 'a.keras', '--weights', 'none'])", "nucleiseg: this command"),
        ("main(['fine-tune', 'discs', '-o', 'a.keras'])", "nucleiseg: this command"),
    ],
)
def test_what_needs_keras_says_how_to_get_it(light, disc_dataset, use, what):
    printed = light(
        f"""
import shutil
shutil.copytree({str(disc_dataset)!r}, "discs")
import nucleiseg
from nucleiseg import Segmenter, datasets
from nucleiseg.cli.main import main
data = datasets.read("discs")
sys.stderr = sys.stdout
try:
    {use}
except nucleiseg.errors.MissingPackageError as error:
    print(error)
"""
    )
    remedy = "run 'pip install nucleiseg', or predict with a model in an .onnx file, which needs neither"
    assert re.search(f"{what} needs Keras and TensorFlow, which a light installation lacks .*; {remedy}", printed)
    assert len(printed.splitlines()) == 1


def test_frameworks_that_are_missing_say_what_they_are_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingPackageError, match=r"training needs Keras and TensorFlow.*import of tensorflow halted"):
        _optional.import_framework("tensorflow", "training")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ModuleNotFoundError("No module", name="torch"), MissingPackageError, "a.b needs torch, .*'pip install torch'"),
        (ValueError("Unable to import backend : foo"), InvalidInputError, "got 'foo'; run 'unset KERAS_BACKEND'"),
        (ValueError("something else"), ValueError, "^something else$"),
    ],
)
def test_a_backend_that_is_not_there_is_told_as_such(monkeypatch, error, kind, message):
    def fail(name):
        raise error

    monkeypatch.setenv("KERAS_BACKEND", "foo")
    monkeypatch.setattr("lazy_loader.attach_stub", lambda *_: (fail, list, []))
    load, _, _ = _optional.lazy_package("a", "a.py")
    with pytest.raises(kind, match=message):
        load("b")
    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(kind, match=message.replace("a.b", "training")):
        _optional.import_framework("keras", "training")


def test_other_missing_modules_are_no_matter_of_ours(monkeypatch):
    monkeypatch.setattr("lazy_loader.attach_stub", lambda *_: (lambda name: __import__("no_such_module"), list, []))
    load, _, _ = _optional.lazy_package("a", "a.py")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        load("b")


# ---- How it is built. ----


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements):
    return {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}


def test_both_distributions_need_the_same_but_for_the_engines():
    full, light = project(ROOT), project(LIGHT)
    lacking = {*full["dependencies"]} - {*light["dependencies"]}
    assert names(lacking) == FOR_TRAINING
    added = {*light["dependencies"]} - {*full["dependencies"]}
    assert names(added) == {"onnxruntime"}
    assert added <= {*full["optional-dependencies"]["onnx"]}
    for extra, requirements in light["optional-dependencies"].items():
        same = [requirement.replace("nucleiseg-onnx[", "nucleiseg[") for requirement in requirements]
        assert same == full["optional-dependencies"][extra]
    for key in ("scripts", "requires-python", "license", "authors", "dynamic"):
        assert light[key] == full[key]
    assert (LIGHT / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_every_extra_that_an_error_names_can_be_installed():
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "nucleiseg").rglob("*.py"))
    named = {*re.findall(r'(?:import|check)_extra\("?[\w.]+"?, "(\w+)"', code), *re.findall(r'extra="(\w+)"', code)}
    assert named >= {"dask", "imagej", "onnx", "parquet", "zarr"}
    assert named <= {*project(ROOT)["optional-dependencies"]}
    elsewhere = {"napari", "onnx"}  # it has no plugin for napari, brings onnxruntime, and has no Keras model to export
    assert named - elsewhere <= {*project(LIGHT)["optional-dependencies"]}


def test_every_shipped_model_is_there_for_both():
    assert all(pretrained_path(name).with_suffix(".onnx").is_file() for name in list_pretrained())


@pytest.mark.parametrize(("installed", "name"), [({"nucleiseg"}, "nucleiseg"), ({"nucleiseg-onnx"}, "nucleiseg-onnx")])
def test_remedies_name_the_distribution_that_is_installed(monkeypatch, installed, name):
    from importlib import metadata

    def distribution(wanted):
        if wanted not in installed:
            raise metadata.PackageNotFoundError(wanted)

    monkeypatch.setattr(metadata, "distribution", distribution)
    assert _optional.distribution() == name
    about = Message()
    for key, value in (("Provides-Extra", "imagej"), ("Requires-Dist", 'no_such_module>=3.0.8; extra == "imagej"')):
        about[key] = value
    monkeypatch.setattr(metadata, "metadata", lambda wanted: about)
    remedies = rf"""'pip install "{name}\[imagej\]"' or 'pip install "no_such_module>=3.0.8"'$"""
    with pytest.raises(MissingPackageError, match=remedies):
        _optional.check_extra("no_such_module", "imagej", "that")
    with pytest.raises(MissingPackageError, match="""run 'pip install "no_such_module>=3.0.8"'$"""):
        _optional.check_extra("no_such_module", "napari", "that")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    first = "run 'pip uninstall nucleiseg-onnx', then 'pip install" if name != "nucleiseg" else "run 'pip install"
    with pytest.raises(MissingPackageError, match=first):
        _optional.import_framework("tensorflow", "training")
