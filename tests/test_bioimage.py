"""Packages for the BioImage Model Zoo: what the description says is what the network does.

`bioimageio.core` checks the same and more, by hand: ``bioimageio test nuclei.bioimage.zip`` (docs/engines.md).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from nucleiseg import Segmenter
from nucleiseg.errors import InvalidInputError, ModelFileError
from nucleiseg.pretrained import pretrained_path


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter.load(pretrained_path("nuclei").with_suffix(".onnx"))


@pytest.fixture(scope="module")
def package(segmenter, tmp_path_factory):
    return segmenter.export(tmp_path_factory.mktemp("zoo") / "nuclei.bioimage.zip")


@pytest.fixture(scope="module")
def members(package):
    with zipfile.ZipFile(package) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def description(members):
    return json.loads(members["rdf.yaml"])


def scaled(image, steps):
    """The preprocessing as the zoo's specification has it."""
    for step in steps:
        arguments = step["kwargs"]
        if step["id"] == "scale_range":
            assert arguments["axes"] == ["channel", "y", "x"]
            low, high = np.percentile(image, (arguments["min_percentile"], arguments["max_percentile"]))
            image = (image - low) / (high - low + 1e-6)
        else:
            assert step["id"] == "clip"
            image = np.clip(image, arguments["min"], arguments["max"])
    return image.astype(np.float32)


def test_files_are_there_and_whole(members, description):
    described = [
        description["weights"]["onnx"],
        description["inputs"][0]["test_tensor"],
        description["outputs"][0]["test_tensor"],
    ]
    assert {file["source"] for file in described} | {"rdf.yaml", "README.md"} == {*members}
    for file in described:
        assert hashlib.sha256(members[file["source"]]).hexdigest() == file["sha256"]


def test_axes_and_opset_are_those_of_the_network(members, description):
    network = onnx.load_from_string(members["weights.onnx"])
    assert description["weights"]["onnx"]["opset_version"] == network.opset_import[0].version
    for tensor, described in ((network.graph.input[0], "inputs"), (network.graph.output[0], "outputs")):
        axes = description[described][0]["axes"]
        assert [axis.get("id", axis["type"]) for axis in axes] == ["batch", "y", "x", "channel"]
        assert tensor.name == description[described][0]["id"]
        assert len(axes[-1]["channel_names"]) == tensor.type.tensor_type.shape.dim[3].dim_value
    assert [axis["size"] for axis in description["inputs"][0]["axes"][1:3]] == [{"min": 32, "step": 32}] * 2


def test_the_described_preprocessing_gives_the_test_output(members, description, segmenter):
    image, maps = (np.load(io.BytesIO(members[f"test_{name}.npy"])) for name in ("input", "output"))
    found = segmenter._engine(scaled(image, description["inputs"][0]["preprocessing"]))
    np.testing.assert_allclose(found, maps, atol=1e-3)
    assert (maps > 0.5).any()
    assert (maps < 0.5).any()


def test_licence_and_settings_are_in_it(package, description, segmenter):
    assert description["license"] == "Apache-2.0"
    assert description["config"]["nucleiseg"]["thresholds"] == segmenter.thresholds
    assert Segmenter.load(package)._settings == segmenter._settings


def test_without_a_licence_there_is_no_package(tiny_segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr("nucleiseg.engines.onnx_export.write_onnx", lambda *_: None)  # takes seconds
    path = tmp_path / "tiny.bioimage.zip"
    with pytest.raises(InvalidInputError, match=r"under which licence .* got none; pass one, such as export\(path"):
        tiny_segmenter.export(path)
    assert list(tmp_path.iterdir()) == []


def test_a_licence_can_be_given(segmenter, tmp_path):
    path = segmenter.export(tmp_path / "a.onnx", licence="CC-BY-4.0")
    assert Segmenter.load(path)._settings.licence == "CC-BY-4.0"
    assert segmenter._settings.licence == "Apache-2.0"


def test_scalings_that_the_zoo_does_not_know_are_refused(segmenter, tmp_path):
    other = Segmenter.load(segmenter.export(tmp_path / "a.onnx"))
    other._settings = replace(other._settings, scaling="dtype")
    with pytest.raises(InvalidInputError, match=r"knows the scalings percentile, minmax, got 'dtype'; export an .onnx"):
        other.export(tmp_path / "a.bioimage.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize("content", [None, b"", b"no zip", "empty archive"])
def test_other_files_are_refused(tmp_path, content):
    path = Path(tmp_path / "a.bioimage.zip")
    if content == "empty archive":
        zipfile.ZipFile(path, "w").close()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"a.bioimage.zip is missing, damaged or no package of nucleiseg"):
        Segmenter.load(path)


def test_an_error_names_the_package_and_not_what_it_was_unpacked_to(tmp_path):
    path = tmp_path / "a.bioimage.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.onnx", b"no network")
    with pytest.raises(ModelFileError, match=r"a.bioimage.zip is damaged or no ONNX file") as raised:
        Segmenter.load(path)
    assert str(raised.value).startswith(str(path))


def test_what_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("nucleiseg.engines.onnx_metadata.MOST_BYTES", 3)
    path = tmp_path / "a.bioimage.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.onnx", b"0123")
    with pytest.raises(ModelFileError, match=r"a.bioimage.zip is missing.*it has 4 bytes, more than the 3 allowed"):
        Segmenter.load(path)
