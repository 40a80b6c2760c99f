"""Pure Keras: what is trained, saved, loaded and predicted on one backend is so on the others.

JAX is tested wherever it is installed; PyTorch, which is large, by hand: ``pip install torch``, then ``-m slow``.
"""

from __future__ import annotations

import importlib.util
import json
import runpy
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import skimage.data

from nucleiseg import PredictOptions, Segmenter, datasets
from nucleiseg.instances import match
from nucleiseg.pretrained import pretrained_path

CONTRACT = Path(__file__).with_name("backend_contract.py")


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.slow)])
def test_the_contract_holds_on(backend, run_python, disc_dataset, tiny_encoder, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs the package {backend}")
    assert keras.backend.backend() == "tensorflow"
    shutil.copytree(disc_dataset, tmp_path / "discs")
    shutil.copy(pretrained_path("nuclei"), tmp_path / "tensorflow.keras")
    tissue = skimage.data.immunohistochemistry()
    images = {"odd": tissue[200:333, 100:297]}
    np.savez(tmp_path / "images.npz", **images)

    process = run_python(
        "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')",
        CONTRACT,
        tmp_path,
        KERAS_BACKEND=backend,
        TF_CPP_MIN_LOG_LEVEL="3",
        JAX_COMPILATION_CACHE_DIR=str(tmp_path / "compiled"),  # the same programs are compiled once
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        # Code that is not optimised takes half the time, of which most goes into making it.
        XLA_FLAGS="--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout == backend

    segmenter, exact = Segmenter.from_pretrained("nuclei"), PredictOptions(precision="float32")
    for name, image in images.items():
        ours = segmenter.predict(image, exact)
        theirs = np.load(tmp_path / f"{backend}_{name}.npz")
        assert np.abs(ours.probability - theirs["probability"]).max() <= 1e-4
        assert match(ours.labels, theirs["labels"]).average_precision(0.9) >= 0.99

    contract = runpy.run_path(str(CONTRACT), run_name="contract")
    contract["check_losses"](datasets.read(disc_dataset)[0].labels, tmp_path, "tensorflow")
    ours, theirs = (json.loads((tmp_path / f"{name}_losses.json").read_text()) for name in ("tensorflow", backend))
    for head, values in ours.items():
        assert theirs[head] == pytest.approx(values, rel=1e-5)

    trained_there = Segmenter.load(tmp_path / f"{backend}.keras")
    here = trained_there.predict(datasets.read(tmp_path / "discs")[0].image, exact).probability
    assert np.abs(here - np.load(tmp_path / f"{backend}_disc.npy")).max() <= 1e-4
