"""The examples run as they are, on a few real images and with the smallest settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from nucleiseg.plotting import History
from nucleiseg.segmenter import Segmenter

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script, *arguments, **environment):
    command = [sys.executable, EXAMPLES / script, *map(str, arguments)]
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=600)


def test_the_founding_document_from_a_to_z(dsb2018, keras_home, tmp_path):
    settings = ["--size", "64", "--epochs", "2", "--limit", "6"]
    data = [dsb2018 / "stage1_train.zip", "--splits", dsb2018 / "splits.csv"]
    process = run("nuclei_project.py", *data, "-o", tmp_path / "project", *settings, KERAS_HOME=str(keras_home))
    assert process.returncode == 0, process.stderr

    # 1. Arrays with values from 0 to 1, masks of exactly 0 and 1 with a channel axis.
    for name in ("train", "val", "test"):
        assert (
            f"{name}: images (6, 64, 64, 3) from 0 to 1, masks (6, 64, 64, 1) with the values [0, 1]" in process.stdout
        )
    # 2 and 3. It has trained, on real ImageNet weights.
    history = History.from_csv(tmp_path / "project" / "history.csv")
    assert len(history.rows) == 2
    assert {"loss", "val_loss", "pixel_accuracy", "val_pixel_accuracy"} <= set(history.rows[0])
    assert history.column("loss")[1] < history.column("loss")[0]
    # 4. Pictures.
    for name in ("base_model", "unet", "curves", "deployment"):
        with Image.open(tmp_path / "project" / f"{name}.png") as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 300
    # 5. The model in the box has gone on.
    assert "model in the box on test:" in process.stdout
    assert Segmenter.load(tmp_path / "project" / "gone_on.keras").thresholds


def test_help_needs_no_data():
    process = run("nuclei_project.py", "--help")
    assert process.returncode == 0
    assert "--splits" in process.stdout
