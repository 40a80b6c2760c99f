"""Fixtures for all tests."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# A shell has programs that it starts in the background ignore Ctrl-C, and so would those that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("nucleiseg", deadline=None)
settings.load_profile("nucleiseg")

_DSB2018 = Path(__file__).parents[2] / "shared" / "data" / "dsb2018"
# Weights of ImageNet, which are not part of the repository. Keras reads the variable once, when it is imported.
_KERAS_HOME = Path(__file__).parents[2] / "shared" / "keras_home"
if _KERAS_HOME.is_dir():
    os.environ["KERAS_HOME"] = str(_KERAS_HOME)
PLUGIN = Path(__file__).parents[1] / "examples" / "plugin"
REGISTRIES = (
    "nucleiseg.engines.formats:_formats",
    "nucleiseg.heads.head:_heads",
    "nucleiseg.images.binarizers:_BINARIZERS",
    "nucleiseg.images.scaling:_SCALINGS",
    "nucleiseg.instances.decoders:_decoders",
    "nucleiseg.instances.exporters:_exporters",
    "nucleiseg.networks.encoders:_encoders",
    "nucleiseg.networks.upsampling:_upsamplings",
    "nucleiseg.training.loss_table:_losses",
    "nucleiseg.training.targets:_targets",
)


# Of files in several processes, those that take longest come first, so that no process waits for another in the end.
LONGEST = (
    "test_segmenter.py",
    "test_networks_encoders.py",
    "test_reproducible.py",
    "test_docs.py",
    "test_examples.py",
    "test_real_data.py",
    "test_cli_train.py",
    "test_training_fitting.py",
    "test_backends.py",
    "test_fine_tuning.py",
    "test_inference_memory.py",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """A fresh cache folder for each test, away from the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NUCLEISEG_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_flush(monkeypatch):
    """Files are not flushed to the disk: no test outlasts a power cut, and a busy disk makes each wait."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def own_registries(monkeypatch):
    """What a test registers, and the plugins that it imports, are forgotten after it."""
    for place in REGISTRIES:
        module, name = place.split(":")
        registry = getattr(importlib.import_module(module), name)
        registry.names()  # the plugins that there are
        for table in ("_items", "_plugins"):
            monkeypatch.setattr(registry, table, dict(getattr(registry, table)))


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The package `examples/plugin`, installed as far as nucleiseg can tell: an encoder, a head and a loss."""
    from nucleiseg.heads.head import _heads
    from nucleiseg.instances.decoders import _decoders
    from nucleiseg.networks.encoders import _encoders
    from nucleiseg.training.loss_table import _losses
    from nucleiseg.training.targets import _targets

    folder = tmp_path_factory.mktemp("site")
    information = folder / "nucleiseg_example-1.0.dist-info"  # what an installer makes of the entry points
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: nucleiseg-example\nVersion: 1.0\n")
    groups = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    lines = [f"[{group}]\n" + "\n".join(map(" = ".join, points.items())) for group, points in groups.items()]
    (information / "entry_points.txt").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLUGIN)
        patch.syspath_prepend(folder)
        for registry in (_encoders, _heads, _targets, _decoders, _losses):  # what is found here is forgotten after it
            patch.setattr(registry, "_plugins", None)
            patch.setattr(registry, "_items", dict(registry._items))
        yield
    for name in [name for name in sys.modules if name.startswith("nucleiseg_example")]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def dsb2018():
    """The folder of the Data Science Bowl's data; without it the test is skipped."""
    if not (_DSB2018 / "stage1_train.zip").is_file():
        pytest.skip("needs ../shared/data/dsb2018/stage1_train.zip, which is not part of the repository")
    return _DSB2018


@pytest.fixture(scope="session")
def disc_dataset(tmp_path_factory):
    """A folder with images/ and labels/: six grey images (64, 64) of three bright discs each."""
    folder = tmp_path_factory.mktemp("discs")
    rows, columns = np.mgrid[:64, :64]
    noise = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for number in range(6):
        labels = np.zeros((64, 64), np.uint16)
        for label, (row, column) in enumerate([(14, 14 + number), (16, 46), (46, 30)], start=1):
            labels[(rows - row) ** 2 + (columns - column) ** 2 < 64] = label
        image = np.where(labels > 0, 180, 20) + noise.integers(0, 20, labels.shape)
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"disc{number}.png")
        Image.fromarray(labels).save(folder / "labels" / f"disc{number}.png")
    return folder


@pytest.fixture(scope="session")
def run_python(tmp_path_factory):
    """Run code in a fresh interpreter, in an empty folder; gives the finished process with its output as text."""

    def run(code, *arguments, timeout=300, **environment):
        folder = tmp_path_factory.mktemp("process")
        variables = {**os.environ, "NUCLEISEG_CACHE": str(folder / "cache"), **environment}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=timeout)

    return run


@pytest.fixture(scope="session")
def run_in_terminal(tmp_path_factory):
    """Run code in a fresh interpreter with a terminal of 100 columns, in an empty folder.

    Gives the exit status, all that was sent to the terminal, and the lines that are on its screen in the end. What the
    code writes as ``<Ctrl-C>`` makes the key be pressed.
    """
    pty = pytest.importorskip("pty", reason="needs pseudo-terminals")
    import fcntl
    import struct
    import termios

    def run(code, *arguments, **environment):
        folder = tmp_path_factory.mktemp("terminal")
        variables = {**os.environ, "NUCLEISEG_CACHE": str(folder / "cache"), "TERM": "xterm", **environment}
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=folder,
            env=variables,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        sent, pressed = b"", False
        with contextlib.suppress(OSError):  # Linux says so when the other side is closed
            while chunk := os.read(ours, 4096):
                sent += chunk
                if b"<Ctrl-C>" in sent and not pressed:
                    pressed = True
                    os.write(ours, b"\x03")
        os.close(ours)
        text = sent.decode()
        return process.wait(timeout=60), text, screen(text)

    return run


def screen(text):
    """The lines that a terminal shows after a text, as far as nucleiseg and tqdm move its cursor."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[A-K]|\r|\n|[^\x1b\r\n]+|\x1b", text):
        if part == "\r":
            column = 0
        elif part == "\n":  # a terminal gets \r\n
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[A":
            row -= 1
        elif part == "\x1b[K":
            lines[row] = lines[row][:column]
        else:
            assert "\x1b" not in part, f"unknown sequence {part!r}"
            lines[row] = lines[row].ljust(column)[:column] + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines if line.strip()]


@pytest.fixture(scope="module")
def tiny_encoder():
    """The name of an encoder of two small convolutions, which trains in seconds: each more takes longer to compile."""
    import keras

    from nucleiseg.networks import register_encoder
    from nucleiseg.networks.encoders import _encoders

    @register_encoder("tiny")
    def tiny(weights=None):
        image = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        for _ in range(3):
            x = keras.layers.AveragePooling2D(2)(x)
        x = keras.layers.ReLU()(keras.layers.Conv2D(8, 3, strides=2, padding="same")(x))
        model = keras.Model(image, x)
        if weights is not None:
            model.load_weights(weights)
        return model

    yield "tiny"
    _encoders.unregister("tiny")


@pytest.fixture(scope="module")
def eager_steps():
    """Training runs its steps one operation after the other: a few on small images take less time than to compile them.

    Compiled, they are in `test_reproducible`, and where `compiled_steps` or `compiled_whole` is asked for.
    """
    import keras

    plain = keras.Model.compile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "compile", lambda *given, **settings: plain(*given, **settings, run_eagerly=True))
        yield plain


@pytest.fixture(scope="module")
def compiled_whole(eager_steps):
    """Within it, steps are compiled as outside of tests, in a file that uses `eager_steps`: for many steps."""
    import keras

    @contextlib.contextmanager
    def compiled():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keras.Model, "compile", eager_steps)
            yield

    return compiled


@pytest.fixture
def compiled_steps(compiled_whole):
    """The same for a whole test."""
    with compiled_whole():
        yield


@pytest.fixture(scope="module")
def tiny_segmenter(tiny_encoder):
    """A segmenter on the tiny encoder, with random weights."""
    from nucleiseg import Segmenter

    return Segmenter(tiny_encoder, weights=None, widths=(8, 8, 8, 8, 8), seed=1)


@pytest.fixture(scope="session")
def keras_home():
    """The folder with MobileNetV2's ImageNet weights; without it the test is skipped."""
    if not _KERAS_HOME.is_dir():
        pytest.skip("needs MobileNetV2's ImageNet weights in ../shared/keras_home, not part of the repository")
    return _KERAS_HOME
