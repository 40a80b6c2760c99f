"""``nucleiseg export``, and ``--model`` with what it wrote."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

from nucleiseg import Segmenter
from nucleiseg.cli.main import main
from nucleiseg.engines import find_format
from nucleiseg.engines.onnx_metadata import read_settings
from nucleiseg.pretrained import pretrained_path


@pytest.fixture(scope="module")
def saved(tiny_segmenter, tmp_path_factory):
    return tiny_segmenter.save(tmp_path_factory.mktemp("saved") / "tiny.keras")


def test_a_file_becomes_an_onnx_file(saved, disc_dataset, tmp_path, capsys):
    output = tmp_path / "new" / "tiny.onnx"
    assert main(["export", str(saved), "-o", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    images = str(disc_dataset / "images")
    for model, folder in ((saved, "keras"), (output, "onnx")):
        assert main(["predict", images, "-o", str(tmp_path / folder), "--model", str(model)]) == 0
    one, two = (pd.read_csv(tmp_path / folder / "measurements.csv") for folder in ("keras", "onnx"))
    pd.testing.assert_frame_equal(one[["image", "label", "area"]], two[["image", "label", "area"]])


def test_a_shipped_model_keeps_its_licence(monkeypatch, tmp_path):
    written = {}
    monkeypatch.setattr(Segmenter, "export", lambda self, path, licence: written.update(vars(self._settings)))
    assert main(["export", "nuclei", "-o", str(tmp_path / "a.onnx")]) == 0
    assert written["licence"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nucleus", "-o", "a.onnx"], "unknown pretrained model 'nucleus'; did you mean 'nuclei'?"),
        (
            ["nuclei", "-o", "a.tflite"],
            "must end in .bioimage.zip or .keras or .onnx, got 'a.tflite'",
        ),
        (
            ["nuclei.h5", "-o", "a.onnx"],
            "must end in .bioimage.zip or .keras or .onnx, got 'nuclei.h5'",
        ),
    ],
)
def test_wrong_arguments_are_refused(capsys, arguments, message):
    assert main(["export", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_is_no_file(capsys, tmp_path):
    (tmp_path / "a.onnx").mkdir()
    assert main(["export", "nuclei", "-o", str(tmp_path / "a.onnx")]) == 2
    assert "a.onnx is a folder; choose another name" in capsys.readouterr().err


def test_a_missing_file_is_named(capsys, tmp_path):
    assert main(["export", str(tmp_path / "none.onnx"), "-o", str(tmp_path / "a.onnx")]) == 1
    assert "none.onnx does not exist" in capsys.readouterr().err


def test_an_onnx_model_loads_no_tensorflow(run_python, tmp_path):
    import skimage.data
    from PIL import Image

    Image.fromarray(skimage.data.immunohistochemistry()[:64, :64]).save(tmp_path / "tissue.png")
    model = shutil.copy(pretrained_path("nuclei").with_suffix(".onnx"), tmp_path / "model.onnx")
    code = """
import sys
from nucleiseg.cli.main import main
assert main(["predict", sys.argv[1], "-o", "results", "--model", sys.argv[2]]) == 0
print({"keras", "tensorflow", "onnx"} & {*sys.modules})
"""
    process = run_python(code, tmp_path / "tissue.png", model)
    assert process.stdout.endswith("set()\n"), process.stderr


def test_settings_of_an_export_are_read_without_its_runtime(run_python):
    code = (
        "import sys; from nucleiseg.engines import find_format as f; from pathlib import Path;"
        "f('a.onnx').read_settings(Path(sys.argv[1])); print({'onnxruntime', 'keras', 'h5py'} & {*sys.modules})"
    )
    path = pretrained_path("nuclei").with_suffix(".onnx")
    assert run_python(code, path).stdout == "set()\n"
    assert find_format(path).read_settings(path) == read_settings(path)
