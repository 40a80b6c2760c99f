"""The dock in a napari viewer, with napari's own fixture.

By hand, as napari and Qt take minutes to install and need a display::

    pip install -e ".[test,napari-test]"
    xvfb-run python -m pytest tests/test_napari_dock.py
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs napari: pip install -e '.[test,napari-test]', and a display: xvfb-run")

from nucleiseg import datasets
from nucleiseg.errors import NucleisegError
from nucleiseg.images import as_micrograph
from nucleiseg.inference import Prediction
from nucleiseg.inference.segmenting import Decoding, segment
from nucleiseg.instances import get_decoder
from nucleiseg.napari import NucleiDock
from nucleiseg.napari.form import ALL_PLANES, THIS_PLANE
from nucleiseg.napari.models import FROM_FILE

pytestmark = pytest.mark.filterwarnings("default")  # other packages' warnings are theirs
MANIFEST = Path(datasets.__file__).parents[1] / "napari" / "napari.yaml"


class Slow:
    """A segmenter without a network: brighter than the threshold is nucleus. It can be made to wait, or to fail."""

    def __init__(self):
        self.seen, self.gate, self.error, self.pause = [], None, None, 0.0

    multiple = 32

    def __call__(self, images):
        time.sleep(self.pause)
        return images[..., :1]

    def predict(self, image, options):
        self.seen.append((image, options, threading.current_thread()))
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        decoding = Decoding(get_decoder("components"), {"probability": options.threshold or 0.5}, options)
        found = segment(image, self, "minmax", decoding)
        return Prediction(image, found.probability, found.labels, as_micrograph(image, options.reading))


@pytest.fixture
def model(monkeypatch):
    model = Slow()
    monkeypatch.setattr("nucleiseg.napari.models.ModelShelf.load", lambda shelf, path: model)
    return model


@pytest.fixture
def told(monkeypatch):
    """What napari's notifications say."""
    lines = []
    monkeypatch.setattr("napari.utils.notifications.show_error", lines.append)
    return lines


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def dock(viewer, model, told):
    dock = NucleiDock(viewer)
    viewer.window.add_dock_widget(dock, name="Nuclei")
    return dock


@pytest.fixture
def run(qtbot):
    """Press a button, and wait until what it does is done."""

    def run(dock, button):
        getattr(dock.form, button).native.click()
        qtbot.waitUntil(lambda: dock.work is None, timeout=20000)

    return run


def spots(*shape, rgb=False):
    data = np.zeros(shape, np.uint8)
    for number, place in enumerate(np.ndindex(shape[:-2])):
        for spot in range(number + 1):
            data[(*place, slice(8 * spot, 8 * spot + 5), slice(3, 9))] = 200
    return np.stack([data] * 3, -1) if rgb else data


def only(viewer, kind):
    (layer,) = [layer for layer in viewer.layers if type(layer).__name__ == kind]
    return layer


# ---- Finding. ----


@pytest.mark.parametrize("rgb", [False, True])
def test_an_image_layer_gives_a_labels_layer_at_its_place(viewer, dock, run, rgb):
    viewer.add_image(spots(40, 30, rgb=rgb), rgb=rgb, name="cells", scale=(0.5, 0.5), translate=(3, 4), rotate=20)
    run(dock, "find")
    labels, image = only(viewer, "Labels"), only(viewer, "Image")
    assert labels.name == "cells nuclei"
    assert labels.data.max() == 1
    np.testing.assert_allclose(labels.affine.affine_matrix, image.affine.affine_matrix)
    np.testing.assert_allclose(labels.data_to_world((7, 11)), image.data_to_world((7, 11)))
    features = labels.features
    assert features["index"].tolist() == [1]
    assert features["area"].tolist() == [30]
    assert features["area_um2"].tolist() == [7.5]
    assert {"confidence", "intensity_mean-0"} <= {*features.columns}
    assert "1 nuclei · pixels of 0.5 µm" in dock.form.status.value
    status = labels.get_status(labels.data_to_world((2, 5)), world=True)
    assert "area: 30" in "".join(map(str, status.values()))  # what napari shows under the pointer


def test_the_model_gets_what_the_form_says(viewer, dock, run, model):
    viewer.add_image(spots(40, 30))
    run(dock, "find")
    form = dock.form
    form.threshold.value, form.min_area.value, form.diameter.value = 0.7, 12, 15
    form.min_confidence.value, form.remove_edge.value, form.fill_holes.value, form.tta.value = 0.25, True, True, True
    form.memory.value = 1.5
    run(dock, "find")
    form.threshold.value = form.min_area.value = form.diameter.value = None
    run(dock, "find")
    (_, own, _), (_, chosen, _), (_, again, _) = model.seen
    assert (own.threshold, own.min_area, own.diameter) == (None, None, None)
    assert (chosen.threshold, chosen.min_area, chosen.diameter) == (0.7, 12, 15)
    assert (chosen.min_confidence, chosen.remove_edge, chosen.fill_holes, chosen.tta) == (0.25, True, True, True)
    assert chosen.max_memory == 1_500_000_000
    assert again.threshold is None


def test_searching_again_replaces_its_own_labels(viewer, dock, run):
    viewer.add_image(spots(40, 30), name="a")
    viewer.add_labels(np.zeros((40, 30), int), name="mine")
    run(dock, "find")
    dock.form.min_area.value = 10_000
    run(dock, "find")
    assert [layer.name for layer in viewer.layers] == ["a", "mine", "a nuclei"]
    assert viewer.layers["a nuclei"].data.max() == 0
    assert len(viewer.layers["a nuclei"].features) == 0


def test_each_image_has_its_own_labels(viewer, dock, run):
    first, second = viewer.add_image(spots(40, 30), name="a"), viewer.add_image(spots(50, 30), name="b")
    for image in (first, second, first):
        dock.form.image.value = image
        run(dock, "find")
    assert [layer.name for layer in viewer.layers] == ["a", "b", "a nuclei", "b nuclei"]


def test_corrections_are_not_overwritten(viewer, dock, run):
    viewer.add_image(spots(40, 30), name="a")
    run(dock, "find")
    viewer.layers["a nuclei"].paint((35, 20), 7)
    drawn = viewer.layers["a nuclei"].data.copy()
    run(dock, "find")
    run(dock, "find")
    assert [layer.name for layer in viewer.layers] == ["a", "a nuclei (corrected)", "a nuclei"]
    np.testing.assert_array_equal(viewer.layers["a nuclei (corrected)"].data, drawn)
    assert viewer.layers["a nuclei"].data.max() == 1


def test_of_a_stack_the_shown_plane_or_all_are_looked_at(viewer, dock, run, model):
    viewer.add_image(spots(3, 40, 30), name="a", scale=(5, 0.5, 0.5))
    assert dock.form.planes.native.isVisibleTo(dock.native)
    viewer.dims.set_current_step(0, 1)
    dock.form.planes.value = THIS_PLANE
    run(dock, "find")
    labels = only(viewer, "Labels")
    assert [int((np.unique(plane) > 0).sum()) for plane in labels.data] == [0, 2, 0]
    labels.data[1, 39, 29] = 50  # a correction: it stays when another plane is looked at
    labels.refresh()
    viewer.dims.set_current_step(0, 2)
    run(dock, "find")
    labels = only(viewer, "Labels")
    assert labels.data[1, 39, 29] == 50
    assert [int((np.unique(plane) > 0).sum()) for plane in labels.data] == [0, 3, 3]
    assert sorted(labels.features["plane-0"]) == [1, 1, 2, 2, 2]
    dock.form.planes.value = ALL_PLANES
    run(dock, "find")
    assert [layer.name for layer in viewer.layers] == ["a", "a nuclei (corrected)", "a nuclei"]
    labels = viewer.layers["a nuclei"]
    assert sorted(np.unique(labels.data)) == list(range(7))
    assert sorted(labels.features["index"]) == list(range(1, 7))


def test_the_image_may_go_while_it_is_looked_at(viewer, dock, run, model, qtbot):
    image = viewer.add_image(spots(40, 30), name="a", translate=(5, 5))
    model.gate = threading.Event()
    dock.find()
    viewer.layers.remove(image)
    model.gate.set()
    qtbot.waitUntil(lambda: dock.work is None)
    assert only(viewer, "Labels").translate.tolist() == [5, 5]


def test_a_pyramid_is_looked_at_in_full_size(viewer, dock, run):
    viewer.add_image([spots(64, 64), spots(64, 64)[::2, ::2]], multiscale=True)
    run(dock, "find")
    assert only(viewer, "Labels").data.shape == (64, 64)


# ---- Progress, cancel, errors. ----


def test_the_viewer_stays_alive_and_shows_how_far_it_is(viewer, dock, model, qtbot):
    viewer.add_image(spots(2, 40, 30))
    dock.form.planes.value = ALL_PLANES
    model.gate = threading.Event()
    dock.form.find.native.click()
    qtbot.waitUntil(lambda: "plane 1 of 2" in dock.form.status.value)
    assert not dock.form.find.enabled
    assert dock.form.cancel.enabled
    assert dock.native.isEnabled()
    dock.find()  # a second one is not begun
    model.gate.set()
    qtbot.waitUntil(lambda: dock.work is None)
    assert [thread is threading.main_thread() for _, _, thread in model.seen] == [False, False]
    assert dock.form.find.enabled
    assert not dock.form.cancel.enabled


def test_cancel_takes_effect_within_a_pass(viewer, dock, model, qtbot):
    viewer.add_image(spots(4, 64, 64))
    dock.form.planes.value, dock.form.tta.value, model.pause = ALL_PLANES, True, 0.05
    dock.form.find.native.click()
    qtbot.waitUntil(lambda: "plane 2 of 4" in dock.form.status.value, timeout=20000)
    began = time.monotonic()
    dock.form.cancel.native.click()
    qtbot.waitUntil(lambda: dock.work is None)
    assert time.monotonic() - began < 1
    assert dock.form.status.value.startswith("1 nuclei")
    assert dock.form.status.value.endswith("stopped")
    assert only(viewer, "Labels").data[0].max() == 1


def test_cancel_before_anything_is_found_adds_no_layer(viewer, dock, model, qtbot):
    viewer.add_image(spots(40, 30))
    model.gate = threading.Event()
    dock.find()
    qtbot.waitUntil(lambda: bool(model.seen))
    dock.form.cancel.native.click()
    assert dock.form.status.value == "stopping …"
    model.gate.set()
    qtbot.waitUntil(lambda: dock.work is None)
    assert dock.form.status.value == "stopped"
    assert len(viewer.layers) == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (NucleisegError("rule;\n remedy"), "rule; remedy"),
        (MemoryError("no room"), "MemoryError: no room"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
def test_an_error_is_one_line_and_loses_nothing(viewer, dock, run, model, told, error, line):
    viewer.add_image(spots(40, 30))
    run(dock, "find")
    before = only(viewer, "Labels").data.copy()
    model.error = error
    run(dock, "find")
    assert told == [line]
    np.testing.assert_array_equal(only(viewer, "Labels").data, before)
    model.error = None
    run(dock, "find")
    assert len(told) == 1


@pytest.mark.parametrize(
    ("button", "line"),
    [("find", "no image is chosen; "), ("measure", "there are no labels; "), ("save", "there are no labels; ")],
)
def test_without_layers_it_says_what_to_do(dock, run, told, button, line):
    run(dock, button)
    assert len(told) == 1
    assert told[0].startswith(line)


def test_a_model_file_must_be_one(viewer, dock, run, told, tmp_path):
    viewer.add_image(spots(40, 30))
    dock.form.model.value = FROM_FILE
    assert dock.form.model_file.native.isVisibleTo(dock.native)
    run(dock, "find")
    (tmp_path / "a.keras").write_bytes(b"no model")
    dock.form.model_file.value = tmp_path / "a.keras"
    run(dock, "find")
    assert told[0].startswith("no model file is chosen")
    assert "a.keras" in told[1]


def test_closing_the_viewer_stops_the_work(make_napari_viewer, model, told, qtbot):
    viewer = make_napari_viewer()
    dock = NucleiDock(viewer)
    viewer.window.add_dock_widget(dock, name="Nuclei")
    viewer.add_image(spots(3, 64, 64))
    dock.form.planes.value, dock.form.tta.value, model.pause = ALL_PLANES, True, 0.05
    dock.find()
    qtbot.waitUntil(lambda: len(model.seen) > 0)
    work = dock.work
    viewer.close()
    qtbot.waitUntil(lambda: work.stopping, timeout=5000)
    assert told == []


# ---- Correcting, measuring, saving, training. ----


def test_measuring_again_sees_the_corrections(viewer, dock, run):
    viewer.add_image(spots(40, 30), scale=(0.5, 0.5))
    run(dock, "find")
    labels = only(viewer, "Labels")
    labels.data[20:24, 10:12] = 9
    run(dock, "measure")
    assert labels.features[["index", "area", "area_um2"]].to_numpy().tolist() == [[1, 30, 7.5], [9, 8, 2]]
    assert dock.form.status.value == "2 nuclei measured in Image nuclei"


def test_labels_and_image_must_belong_together(viewer, dock, run, told):
    viewer.add_image(spots(40, 30), name="a")
    viewer.add_labels(np.zeros((30, 40), int), name="b")
    run(dock, "measure")
    assert told[0].startswith("the labels 'b' must have the shape of the image 'a', (40, 30), got (30, 40); ")


def test_corrected_labels_become_a_dataset(viewer, dock, run, tmp_path):
    image = viewer.add_image(spots(40, 30, rgb=True), rgb=True, name="well A01/mask", scale=(0.5, 0.5))
    viewer.add_image(spots(20, 20), name="other")
    dock.form.image.value = image
    run(dock, "find")
    dock.form.image.value = viewer.layers["other"]  # the labels know their image by themselves
    labels = only(viewer, "Labels")
    labels.data[30:33, 20:24] = 2
    dock.form.folder.value = tmp_path / "corrected"
    run(dock, "save")
    (sample,) = datasets.read(tmp_path / "corrected", cache=False)
    np.testing.assert_array_equal(sample.image, image.data)
    np.testing.assert_array_equal(sample.labels, labels.data)
    assert f"nucleiseg train {tmp_path / 'corrected'}" in dock.form.status.value
    labels.data[30:33, 20:24] = 0
    run(dock, "save")
    (sample,) = datasets.read(tmp_path / "corrected", cache=False)
    np.testing.assert_array_equal(sample.labels > 0, labels.data > 0)


def test_of_a_stack_the_planes_that_were_worked_on_are_saved(viewer, dock, run, tmp_path, told):
    viewer.add_image(spots(12, 40, 30) * 0 + 1, name="t")
    dock.form.planes.value, dock.form.folder.value = ALL_PLANES, tmp_path
    viewer.add_labels(np.zeros((12, 40, 30), int), name="mine")
    run(dock, "save")
    assert told[0].startswith("'mine' has no labels")
    viewer.layers["mine"].data[3, 2:4, 2:4] = 1
    viewer.layers["mine"].data[11, 2:4, 2:4] = 5
    run(dock, "save")
    assert [sample.id for sample in datasets.read(tmp_path, cache=False)] == ["t_03", "t_11"]
    dock.form.planes.value = THIS_PLANE
    viewer.dims.set_current_step(0, 7)
    run(dock, "save")  # without nuclei: that, too, is something to learn from
    assert [sample.id for sample in datasets.read(tmp_path, cache=False)] == ["t_03", "t_07", "t_11"]


def test_saving_needs_a_folder(viewer, dock, run, told):
    viewer.add_image(spots(40, 30))
    run(dock, "find")
    run(dock, "save")
    assert told[0].startswith("no folder is chosen")


# ---- As a plugin. ----


def test_the_manifest_is_valid():
    from npe2 import PluginManifest
    from npe2.cli import app
    from typer.testing import CliRunner

    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    done = CliRunner().invoke(app, ["validate", str(MANIFEST)])
    assert done.exit_code == 0, done.output
    assert "valid" in done.output


@pytest.mark.filterwarnings("default")
def test_napari_makes_the_dock_from_the_menu(make_napari_viewer_proxy, npe2pm_, model, told, qtbot):
    viewer = make_napari_viewer_proxy()
    with npe2pm_.tmp_plugin(str(MANIFEST)):
        _, dock = viewer.window.add_plugin_dock_widget("nucleiseg", "Find nuclei")
        assert isinstance(dock, NucleiDock)
        viewer.add_image(spots(40, 30), name="a")
        dock.form.find.native.click()
        qtbot.waitUntil(lambda: dock.work is None, timeout=20000)
        assert told == []
        assert viewer.layers["a nuclei"].data.max() == 1


@pytest.fixture
def npe2pm_(monkeypatch):
    """npe2's plugin manager for tests, which finds no other plugins."""
    from npe2._pytest_plugin import TestPluginManager

    manager = TestPluginManager()
    monkeypatch.setattr("npe2.PluginManager.instance", lambda: manager)
    return manager


# ---- With a real model. ----


@pytest.mark.slow
def test_predict_correct_train(viewer, told, run, tmp_path):
    """The whole way: the model in the box, a correction, a dataset, and a model that was trained on it.

    Training has a process of its own, as from a terminal: TensorFlow and Mesa's OpenGL can crash each other in one.
    """
    import skimage.data

    from nucleiseg import Segmenter
    from nucleiseg.pretrained import pretrained_path

    def command(*arguments):
        done = subprocess.run([sys.executable, "-m", "nucleiseg.cli.main", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    dock = NucleiDock(viewer)
    viewer.window.add_dock_widget(dock, name="Nuclei")
    tissue = skimage.data.immunohistochemistry()
    for number in range(3):
        viewer.add_image(tissue[128 * number : 128 * (number + 1), :128], name=f"tissue {number}")
    dock.form.folder.value = tmp_path / "corrected"
    for layer in [*viewer.layers]:
        dock.form.image.value = layer
        run(dock, "find")
        dock.form.labels.value.paint((3, 3), 500)
        run(dock, "save")
    assert told == []
    data = datasets.read(tmp_path / "corrected")
    assert len(data) == 3
    expected = Segmenter.load(pretrained_path("nuclei").with_suffix(".onnx")).predict(tissue[:128, :128])
    assert viewer.layers["tissue 0 nuclei"].features["index"].size == expected.count
    mine = str(tmp_path / "mine.keras")
    command("train", str(tmp_path / "corrected"), "-o", mine, "--epochs", "1", "--weights", "none", "--crop", "64")
    command("export", mine, "-o", str(tmp_path / "mine.onnx"))
    dock.form.model.value, dock.form.model_file.value = FROM_FILE, tmp_path / "mine.onnx"
    run(dock, "find")
    assert told == []
