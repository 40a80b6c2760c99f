"""GPU memory, with stubs in place of GPUs."""

from __future__ import annotations

import pytest

keras = pytest.importorskip("keras")
tensorflow = pytest.importorskip("tensorflow")

from nucleiseg.engines.formats import find_format  # noqa: E402
from nucleiseg.engines.gpus import grow_gpu_memory  # noqa: E402
from nucleiseg.pretrained import pretrained_path  # noqa: E402


@pytest.fixture
def asked(monkeypatch):
    """What TensorFlow is told about its two GPUs."""
    calls = []
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"])
    monkeypatch.setattr(
        tensorflow.config.experimental, "set_memory_growth", lambda gpu, grow: calls.append((gpu, grow))
    )
    return calls


def test_the_memory_of_every_gpu_grows(asked):
    grow_gpu_memory()
    assert asked == [("GPU:0", True), ("GPU:1", True)]


def test_loading_a_model_asks_first(asked, monkeypatch):
    import nucleiseg.engines.formats as formats

    def read(path):
        assert asked
        raise KeyError("read")

    monkeypatch.setattr(formats, "read_model", read)
    with pytest.raises(KeyError, match="read"):
        find_format("a.keras").load(pretrained_path("nuclei"))


@pytest.mark.parametrize("error", [RuntimeError("already initialized"), ValueError("virtual devices")])
def test_gpus_in_use_stay_as_they_are(asked, monkeypatch, error):
    def refuse(gpu, grow):
        asked.append(gpu)
        raise error

    monkeypatch.setattr(tensorflow.config.experimental, "set_memory_growth", refuse)
    grow_gpu_memory()
    assert asked == ["GPU:0", "GPU:1"]


def test_the_variable_of_tensorflow_is_obeyed(asked, monkeypatch):
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "false")
    grow_gpu_memory()
    assert not asked


def test_other_backends_are_left_alone(asked, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    grow_gpu_memory()
    assert not asked
