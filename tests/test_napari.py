"""What the plugin for napari does without napari: planes, pixel sizes, work that stops, labels and features."""

from __future__ import annotations

import threading
from dataclasses import fields
from importlib import import_module, metadata
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stubs import Echo

from nucleiseg import PredictOptions, Tiling
from nucleiseg.errors import InvalidInputError, ModelFileError
from nucleiseg.inference import Prediction
from nucleiseg.inference.segmenting import Decoding, segment
from nucleiseg.instances import get_decoder, measure
from nucleiseg.napari.finding import PlaneFound, checksums, edited, feature_rows, find_nuclei, measure_planes, merge
from nucleiseg.napari.models import FROM_FILE, ModelShelf, model_file
from nucleiseg.napari.stacks import Stack, pixel_size_of, stack_of
from nucleiseg.napari.work import Stopped, Work

OPTIONS = PredictOptions(min_area=0)


class Brightness:
    """A segmenter without a network: what is brighter than half is nucleus."""

    def predict(self, image, options):
        decoding = Decoding(get_decoder("components"), {"probability": 0.5}, options)
        found = segment(image, Echo(), "minmax", decoding)
        return Prediction(image, found.probability, found.labels)


def stack(*shape, **facts):
    """Planes with one, two, three, … bright spots."""
    data = np.zeros(shape, np.uint8)
    for number, place in enumerate(np.ndindex(shape[:-2])):
        for spot in range(number + 1):
            data[(*place, 2 * spot, 1)] = 200
    return Stack("cells", data, **facts)


def find(image, places=None, work=None, options=OPTIONS, load=Brightness):
    return find_nuclei(image, list(image.places()) if places is None else places, load, options, work or Work())


# ---- What a layer holds. ----


@pytest.mark.parametrize(
    ("shape", "rgb", "grid", "plane"),
    [
        ((5, 6), False, (), (5, 6)),
        ((5, 6, 3), True, (), (5, 6, 3)),
        ((5, 6, 4), True, (), (5, 6, 4)),
        ((2, 5, 6), False, (2,), (5, 6)),
        ((5, 6, 3), False, (5,), (6, 3)),  # three columns are no colours unless the layer says so
        ((4, 2, 5, 6, 3), True, (4, 2), (5, 6, 3)),
    ],
)
def test_planes_of_a_layer(shape, rgb, grid, plane):
    data = np.arange(np.prod(shape)).reshape(shape)
    found = stack_of(SimpleNamespace(name="a", data=data, rgb=rgb, multiscale=False, scale=(1, 1)))
    places = list(found.places())
    assert found.grid == grid
    assert found.plane(places[-1]).shape == plane
    assert found.shape == (*grid, *found.size)
    np.testing.assert_array_equal(np.stack([found.plane(place) for place in places]).reshape(shape), data)
    assert len({found.called(place) for place in places}) == len(places)


def test_a_pyramid_is_looked_at_in_full_size():
    levels = [np.zeros((8, 8)), np.zeros((4, 4))]
    found = stack_of(SimpleNamespace(name="a", data=levels, rgb=False, multiscale=True, scale=(1, 1)))
    assert found.size == (8, 8)


@pytest.mark.parametrize(("shape", "rgb"), [((5,), False), ((5, 3), True), ((0, 5), False)])
def test_what_has_no_rows_and_columns_is_refused(shape, rgb):
    with pytest.raises(InvalidInputError, match=r"cells: must have rows and columns.*choose another layer"):
        Stack("cells", np.zeros(shape), rgb)


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_the_nearest_plane_is_one(point):
    assert Stack("cells", np.zeros((3, 2, 4, 4))).nearest(point) in list(np.ndindex(3, 2))


@pytest.mark.parametrize(
    ("scale", "units", "expected"),
    [
        ((1, 1), None, None),
        ((1, 1), ("pixel", "pixel"), None),
        ((0.5, 0.5), None, 0.5),
        ((0.5, 0.5), ("pixel", "pixel"), 0.5),
        ((3, 0.5, 0.5), ("second", "micrometer", "micrometer"), 0.5),
        ((1, 1), ("um", "um"), 1.0),
        ((325, 325), ("nanometer", "nanometer"), 0.325),
        ((0.001, 0.001), ("millimeter", "millimeter"), 1.0),
        ((-0.5, 0.5), None, 0.5),  # mirrored
        ((0.5, 0.6), None, None),
        ((0.5, 0.5), ("micrometer", "pixel"), None),
        ((0, 0), None, None),
    ],
)
def test_pixel_sizes(scale, units, expected):
    assert pixel_size_of(scale, units) == (None if expected is None else pytest.approx(expected))


# ---- Finding. ----


def test_every_plane_gets_its_nuclei():
    image = stack(2, 3, 40, 8)
    found = find(image)
    assert [int(plane.labels.max()) for plane in found.planes] == [1, 2, 3, 4, 5, 6]
    assert (found.stopped, found.problem) == (False, None)
    labels, features = merge(image.shape, found.planes)
    assert labels.dtype == np.int32
    assert sorted(np.unique(labels)) == list(range(22))
    assert features["index"].tolist() == list(range(1, 22))
    where = features.set_index("index")
    for label in range(1, 22):
        plane = tuple(where.loc[label, ["plane-0", "plane-1"]].astype(int))
        assert (labels[plane] == label).sum() == where.loc[label, "area"]


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_other_planes_stay_as_they_are_and_numbers_are_unique(data):
    image = stack(4, 12, 5)
    labels, features = merge(image.shape, find(image).planes)
    places = data.draw(st.lists(st.sampled_from(list(image.places())), min_size=1, unique=True))
    new, rows = merge(image.shape, find(image, places).planes, labels, features)
    for place in image.places():
        np.testing.assert_array_equal(new[place] > 0, labels[place] > 0)
        if place not in places:
            np.testing.assert_array_equal(new[place], labels[place])
    used = np.unique(new[new > 0])
    assert sorted(rows["index"]) == used.tolist()
    assert len(used) == 10
    assert [len(np.unique(new[place])) for place in image.places()] == [2, 3, 4, 5]


@pytest.mark.parametrize(("drawn", "numbers"), [(2**31 - 1, [1, 2, 3]), (2**31 - 3, [1, 2**31 - 2, 2**31 - 1])])
def test_numbers_fit_into_32_bits_whatever_was_drawn(drawn, numbers):
    image = stack(3, 12, 5)
    labels = np.zeros(image.shape, np.int32)
    labels[2, 11, 4] = drawn
    found = find(image, [(1,), (0,)]).planes  # of two nuclei and one
    labels, features = merge(image.shape, found, labels)
    assert sorted(features["index"]) == numbers
    assert np.unique(labels).tolist() == sorted([0, *numbers, drawn])
    np.testing.assert_array_equal(labels[:2] > 0, image.data[:2] > 0)


def test_a_table_of_others_is_not_mixed_with_ours():
    image = stack(2, 12, 5)
    _, features = merge(image.shape, find(image).planes, None, pd.DataFrame({"index": [7], "colour": ["red"]}))
    assert "colour" not in features
    assert len(features) == 3


def test_without_nuclei_there_are_columns_and_no_rows():
    found = PlaneFound((), np.zeros((4, 4), np.int32), measure(np.zeros((4, 4), int), np.zeros((4, 4))))
    labels, features = merge((4, 4), [found])
    assert not labels.any()
    assert len(features) == 0
    assert {"index", "area", "intensity_mean-0"} <= {*features.columns}


def test_the_pixel_size_comes_with_the_options():
    image = stack(30, 30, pixel_size=0.5)
    found = measure_planes(image, np.eye(30, dtype=int), Work())
    assert found["area_um2"].tolist() == [7.5]


def test_measuring_takes_planes_with_labels_only():
    image = stack(3, 12, 5)
    labels = np.zeros(image.shape, int)
    labels[2, 0, 1], labels[0, 0, 1:3] = 9, 4
    features = measure_planes(image, labels, Work())
    assert features[["index", "plane-0", "area", "intensity_mean-0"]].to_numpy().tolist() == [
        [4, 0, 2, 100],
        [9, 2, 1, 200],
    ]
    assert measure_planes(image, labels * 0, Work()).columns.tolist() == ["index"]


def test_features_say_which_label_and_where():
    rows = feature_rows(measure([[0, 5]]), (3, 1), 10)
    assert rows.iloc[:, :3].to_dict("records") == [{"index": 15, "plane-0": 3, "plane-1": 1}]
    assert "label" not in rows


# ---- How far it is, and stopping. ----


class Diary(Work):
    """Work that notes what was said, and stops when told to."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.said, self.stop_at = [], stop_at

    def say(self, text, share=None):
        super().say(text, share)
        self.said.append((text, share))
        if text == self.stop_at:
            self.stop()


def test_progress_counts_planes_and_parts():
    work, image = Diary(), stack(2, 64, 64)
    find(image, work=work, options=PredictOptions(min_area=0, tiling=Tiling(64, 32), tta=True))
    texts = [text for text, _ in work.said]
    assert texts[0] == "loading the model"
    assert "plane 1 of 2, part 8 of 8" in texts
    assert "plane 2 of 2, part 1 of 8" in texts
    shares = [share for _, share in work.said if share is not None]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


def test_a_single_pass_shows_no_share():
    work = Diary()
    find(stack(32, 32), work=work)
    assert {share for _, share in work.said} == {None}
    assert ("looking for nuclei", None) in work.said


def test_what_is_finished_when_it_stops_is_kept():
    image = stack(3, 64, 64)
    options = PredictOptions(min_area=0, tta=True)
    found = find(image, work=Diary(stop_at="plane 2 of 3, part 3 of 8"), options=options)
    assert found.stopped
    assert [plane.place for plane in found.planes] == [(0,)]


def test_stopping_before_it_begins_loads_nothing():
    work = Work()
    work.stop()
    found = find(stack(8, 8), work=work, load=lambda: pytest.fail("loaded"))
    assert found.stopped
    assert not found.planes


def test_another_thread_can_stop_it():
    work = Work()
    thread = threading.Thread(target=work.stop)
    thread.start()
    thread.join()
    with pytest.raises(Stopped):
        work.say("more")


def test_what_is_finished_when_it_fails_is_kept():
    class Fails(Brightness):
        def predict(self, image, options):
            if image[4, 1]:
                raise MemoryError("full")
            return super().predict(image, options)

    found = find(stack(3, 12, 5), load=Fails)
    assert len(found.planes) == 2
    assert isinstance(found.problem, MemoryError)
    assert not found.stopped


def test_a_model_that_cannot_be_loaded_is_a_problem():
    found = find(stack(8, 8), load=lambda: model_file("no_such_model"))
    assert isinstance(found.problem, InvalidInputError)


# ---- Corrections. ----


def test_drawing_on_a_plane_is_noticed():
    labels = np.zeros((3, 4, 4), np.int32)
    labels[0, 1, 1] = 1
    known = checksums(labels, [(0,), (1,)])
    assert not edited(labels, known, [(0,), (1,), (2,)])
    labels[2, 0, 0] = 5  # a plane that was never looked at
    assert edited(labels, known, [(2,)])
    assert not edited(labels, known, [(0,), (1,)])
    labels[1, 0, 0] = 5
    assert edited(labels, known, [(0,), (1,)])
    assert not edited(labels.astype(np.int64), known, [(0,)])


# ---- Models. ----


def test_models_in_the_box_and_files_can_be_chosen():
    assert ModelShelf.choices()[0] == "nuclei"
    path = model_file("nuclei")
    assert model_file(FROM_FILE, path) == path


@pytest.mark.parametrize("path", [None, "", "."])
def test_a_file_must_be_chosen(path):
    with pytest.raises(InvalidInputError, match="no model file is chosen"):
        model_file(FROM_FILE, path)


def test_files_are_checked_before_anything_is_loaded(tmp_path):
    (tmp_path / "a.keras").write_bytes(b"no model")
    with pytest.raises(ModelFileError):
        model_file(FROM_FILE, tmp_path / "a.keras")


def test_a_model_is_read_once_until_its_file_changes(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr("nucleiseg.segmenter.Segmenter.load", lambda path: read.append(path) or len(read))
    shelf, path = ModelShelf(), tmp_path / "a.keras"
    path.write_bytes(b"1")
    assert [shelf.load(path), shelf.load(path)] == [1, 1]
    path.write_bytes(b"12")
    assert shelf.load(path) == 2


# ---- The manifest, and where napari is missing. ----

MANIFEST = import_module("nucleiseg.napari").__path__[0] + "/napari.yaml"


def test_the_manifest_is_announced_under_the_name_of_the_distribution():
    (entry,) = (point for point in metadata.entry_points(group="napari.manifest") if point.name == "nucleiseg")
    assert entry.value == "nucleiseg.napari:napari.yaml"
    with open(MANIFEST, encoding="utf-8") as file:  # noqa: PTH123
        assert file.readline() == "name: nucleiseg\n"


def test_what_the_manifest_names_is_there():
    with open(MANIFEST, encoding="utf-8") as file:  # noqa: PTH123
        names = [line.split("python_name:")[1].strip() for line in file if "python_name:" in line]
    assert names
    for name in names:
        module, _, attribute = name.partition(":")
        assert callable(getattr(import_module(module), attribute))


def test_without_napari_the_dock_says_how_to_get_it(run_python):
    done = run_python(
        "import sys\n"
        "for name in ('napari', 'magicgui', 'qtpy', 'tensorflow', 'keras'): sys.modules[name] = None\n"
        "import nucleiseg.napari\n"
        "try: nucleiseg.napari.NucleiDock(None)\n"
        "except nucleiseg.errors.MissingPackageError as error: print(error)\n"
    )
    assert "run 'pip install \"nucleiseg[napari]\"'" in done.stdout, done.stderr


def test_importing_the_plugin_imports_no_napari(run_python):
    code = (
        "import sys, nucleiseg.napari; print(sorted({'napari', 'qtpy', 'magicgui', 'tensorflow'} & set(sys.modules)))"
    )
    assert run_python(code).stdout == "[]\n"


def test_the_form_has_a_field_for_what_biologists_choose():
    """Of the options, those that are left out have a reason.

    Tiles follow from the memory, the scale from the diameter in pixels, and fewer bits pay on some processors only.
    """
    from nucleiseg.napari import form

    source = import_module("inspect").getsource(form.Form.options)
    left_out = {field.name for field in fields(PredictOptions) if f"{field.name}=" not in source}
    assert left_out == {"tiling", "scale", "diameter_um", "precision"}
