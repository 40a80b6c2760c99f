"""Every public function that takes an array, given arrays of any kind: a result as documented, or an error of ours.

The arguments are never changed, and a result does not depend on how an array lies in memory. CI runs a tenth.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from stubs import Echo

from nucleiseg import datasets, images, inference, instances, plotting, training
from nucleiseg.errors import NucleisegError
from nucleiseg.images.read_options import ReadOptions
from nucleiseg.inference import Prediction, PredictOptions
from nucleiseg.training import Augmentation

# What two or four random channels bring up, among which the last one is no transparency.
pytestmark = pytest.mark.filterwarnings("ignore:channel . of an array is taken as transparency")

EXAMPLES = 100
PLAIN = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">u2", ">i4", ">f8", "<f4"]
OTHER = ["c8", "O", "U2", "M8[s]"]
LAYOUTS = ("plain", "read-only", "reversed", "strided", "Fortran", "mapped", "unaligned")


def values(dtype):
    if dtype.kind == "f":
        return st.one_of(
            st.sampled_from([0.0, -0.0, 0.5, 1.0, 255.0, -1.0]),
            hnp.from_dtype(dtype, allow_nan=True, allow_infinity=True),
        )
    if dtype.kind in "ui":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        return st.one_of(st.integers(0, min(high, 5)), st.integers(low, high))
    if dtype.kind == "O":
        return st.sampled_from([None, 1, "a", 2.5])
    return hnp.from_dtype(dtype)


SHAPES = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)),
    st.sampled_from([(), (5,), (0, 4), (4, 0), (1, 1), (1, 300), (300, 1), (3, 9, 8), (2, 3, 4, 3)]),
)


@st.composite
def arrays(draw):
    dtype = np.dtype(draw(st.sampled_from([*PLAIN, *PLAIN, *PLAIN, *OTHER])))
    elements = values(dtype)
    shape = draw(SHAPES)
    if draw(st.booleans()) and shape and min(shape) > 0:  # blocks, as images have them, and not only single pixels
        block = draw(hnp.arrays(dtype, tuple(-(-n // 3) for n in shape), elements=elements))
        for axis, length in enumerate(shape):
            block = block.repeat(3, axis).take(range(length), axis)
        return block
    return draw(hnp.arrays(dtype, shape, elements=elements))


def laid_out(array, layout, folder):
    """The same values, lying otherwise in memory."""
    if layout == "read-only":
        copy = array.copy()
        copy.flags.writeable = False
        return copy
    if layout == "reversed" and array.ndim:
        return np.ascontiguousarray(array[::-1])[::-1]
    if layout == "strided" and array.ndim:
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    if layout == "Fortran" and array.ndim:
        return np.asfortranarray(array)
    if layout == "mapped" and array.size and array.dtype.kind != "O":
        mapped = np.memmap(folder / "array.dat", array.dtype, "w+", shape=array.shape)
        mapped[...] = array
        return mapped
    if layout == "unaligned" and array.size and array.dtype.kind != "O":
        raw = np.zeros(array.nbytes + 1, np.uint8)
        moved = np.frombuffer(raw.data, array.dtype, array.size, offset=1).reshape(array.shape)
        moved.flags.writeable = True
        moved[...] = array
        return moved
    return array.copy()


def ring(array):
    return np.zeros(array.shape[:2], np.int32) if array.ndim >= 2 else np.zeros((3, 3), np.int32)


def generator():
    return np.random.default_rng(0)


def crop(array):
    return training.random_crop(array, ring(array), (8, 8), (0.0, 1.0), generator())


def augmented(array):
    return training.augment(array, ring(array), Augmentation(), generator())


def written(write, name, read=Path.read_bytes):
    def call(array, folder):
        path = folder / name
        path.unlink(missing_ok=True)
        write(path, array)
        return read(path)

    return call


def predicted(array):
    return inference.predict_maps(array, Echo(), "percentile", PredictOptions())


def as_mask(array):
    return array if array.dtype == bool else array != 0


# Name to a call with one array; the second name, if there is one, says what all results are.
FUNCTIONS = {
    "images.apply_range": lambda a: images.apply_range(a, 0.0, 1.0),
    "images.as_micrograph": lambda a: images.as_micrograph(a).shown,
    "images.as_micrograph with axes": lambda a: images.as_micrograph(a, ReadOptions(axes="ZYX", project="max")).shown,
    "images.binarize": images.binarize,
    "images.colour_labels": images.colour_labels,
    "images.judge_image": lambda a: images.judge_image(a, ring(a)),
    "images.judge_image of labels": lambda a: images.judge_image(ring(a), a),
    "images.overlay": lambda a: images.overlay(a, ring(a)),
    "images.overlay of labels": lambda a: images.overlay(ring(a), a),
    "images.pad_to_multiple": lambda a: images.pad_to_multiple(a, 4)[0],
    **{f"images.rescale {name}": lambda a, n=name: images.rescale(a, n) for name in images.list_scalings()},
    "images.scaling_range": images.scaling_range,
    "images.sharpness": images.sharpness,
    "images.to_rgb": images.to_rgb,
    "images.unbinarize": images.unbinarize,
    "instances.calibrate": lambda a: instances.calibrate([(a, a, a)]),
    "instances.count_overlap": lambda a: instances.count_overlap(a, a).shared,
    "instances.count_pixels": lambda a: instances.count_pixels(a, a),
    "instances.encode_run_lengths": lambda a: instances.encode_run_lengths(as_mask(a)),
    "instances.filter_labels": lambda a: instances.filter_labels(a, 2, remove_edge=True, fill_holes=True),
    "instances.find_runs": lambda a: [tuple(map(np.ndarray.tolist, runs[1:])) for runs in instances.find_runs(a)],
    "instances.find_touching": instances.find_touching,
    "instances.match": lambda a: instances.match(a, a).average_precision(0.5),
    "instances.measure": instances.measure,
    "instances.measure an image": lambda a: instances.measure(ring(a), a),
    "instances.NamedLabels": lambda a: instances.to_coco([instances.NamedLabels("a", a)]),
    "instances.rate": lambda a: instances.rate(np.ones_like(ring(a)), a),
    "instances.rate of labels": lambda a: instances.rate(a, ring(a)),
    "instances.split_by_distance": lambda a: instances.split_by_distance(a, a),
    "instances.split_components": instances.split_components,
    "instances.to_geojson": instances.to_geojson,
    "instances.to_rois": lambda a: [roi.tobytes() for roi in instances.to_rois(a)],
    "instances.trace_polygons": lambda a: [outline.label for outline in instances.trace_polygons(a)],
    "instances.write_geojson": written(instances.write_geojson, "a.geojson"),
    "instances.write_imagej_labels": written(instances.write_imagej_labels, "a.tif"),
    "instances.write_labels": written(instances.write_labels, "a.tif"),
    "instances.write_mask": written(instances.write_mask, "a.png"),
    "instances.write_ome_labels": written(instances.write_ome_labels, "a.ome.tif", tifffile.imread),
    "instances.write_picture": written(instances.write_picture, "a.png"),
    "instances.write_rois": written(instances.write_rois, "a.zip"),
    "training.random_crop": crop,
    "training.augment": augmented,
    "datasets.from_arrays": lambda a: datasets.from_arrays([a], [ring(a)])[0].image,
    "datasets.from_arrays of labels": lambda a: datasets.from_arrays([ring(a)], [a])[0].labels,
    "inference.measure_diameters": inference.measure_diameters,
    "inference.predict_maps": predicted,
    "inference.resize_labels": lambda a: inference.resize_labels(a, (5, 7)),
    "inference.resize_maps": lambda a: inference.resize_maps(a, (5, 7)),
    "inference.usual_diameter": inference.usual_diameter,
    "plotting.draw_errors": lambda a: plotting.draw_errors(ring(a), a, a).pixels,
    "plotting.draw_errors of an image": lambda a: plotting.draw_errors(a, ring(a), ring(a)).pixels,
}
# Values made by us, of other arguments than arrays, with a test elsewhere, or tables of those above.
LEFT_OUT = {
    "datasets.Sample",
    "datasets.write_pair",
    "images.Micrograph",
    "images.read_image",
    "inference.Prediction",
    "instances.Decoded",
    "instances.InstanceErrors",
    "instances.Overlap",
    "instances.decode_rois",
    "instances.decode_run_lengths",
    "instances.fill_polygons",
    "instances.from_geojson",
    "plotting.ErrorPicture",
    "plotting.Row",
    "plotting.Thumbnail",
    "plotting.plot_errors",
    "training.arrays_to_tf_dataset",
    "training.TaughtImages",
}
# Contracts that their docstrings state: float32 in [0, 1] and integer labels, as pipelines have them.
FLOATS = {"training.augment"}
TRUSTING = {"training.random_crop", "training.augment", "instances.find_runs", "inference.predict_maps"}


def test_every_public_function_that_takes_an_array_is_here():
    found = set()
    for module in (images, instances, training, datasets, inference, plotting):
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing) and "Array" in str(inspect.signature(thing)):
                found.add(f"{module.__name__.removeprefix('nucleiseg.')}.{name}")
    assert found == {name.split(" ")[0] for name in FUNCTIONS} | LEFT_OUT


def outcome(function, array, folder):
    """A result in comparable form, or the error of ours."""
    try:
        with np.errstate(all="raise", under="ignore", invalid="ignore", over="ignore", divide="ignore"):
            result = function(array, folder) if "folder" in inspect.signature(function).parameters else function(array)
    except NucleisegError as error:
        text = str(error)
    else:
        return plain(result)
    assert text
    assert "\n" not in text
    return text


def plain(value):
    if isinstance(value, np.ndarray):
        if value.size > 10_000 and value.dtype.itemsize == 1:  # pictures
            return str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()
        return str(value.dtype.newbyteorder("=")), value.shape, value.tolist()
    if isinstance(value, pd.DataFrame):
        return value.to_csv(index=False)
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value if isinstance(value, (str, bytes, dict, float, int)) else repr(value)


def check(name, array, layout, folder):
    function = FUNCTIONS[name]
    usual = array.ndim in (2, 3) and array.size and array.dtype.kind in "buif"
    if name in TRUSTING:
        if (
            not usual
            or (array.dtype.kind == "f" and not np.isfinite(array).all())
            or (array.ndim == 3 and array.shape[2] > 4)
        ):
            return
        if name in FLOATS:
            array = np.broadcast_to((array != 0).reshape(*array.shape[:2], -1)[..., :1], (*array.shape[:2], 3)).astype(
                "f4"
            )
        if name == "instances.find_runs" and (array.ndim == 3 or array.dtype.kind == "f" or array.min() < 0):
            return
    given_array = laid_out(array, layout, folder)
    before, flags = given_array.tobytes(), str(given_array.flags)
    found = outcome(function, given_array, folder)
    assert given_array.tobytes() == before, "the argument was changed"
    assert str(given_array.flags) == flags
    expected = outcome(function, np.array(array, order="C"), folder)
    assert json.dumps(found, default=str) == json.dumps(expected, default=str)


def law(examples):
    def decorate(test):
        quiet = settings(
            max_examples=examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        return quiet(given(array=arrays(), layout=st.sampled_from(LAYOUTS))(test))

    return decorate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("arrays")


@pytest.mark.parametrize("name", FUNCTIONS)
@law(EXAMPLES // 10)
def test_any_array_gives_a_result_or_an_error_of_ours(name, folder, array, layout):
    check(name, array, layout, folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
@law(EXAMPLES)
def test_any_of_many_arrays_gives_a_result_or_an_error_of_ours(name, folder, array, layout):
    check(name, array, layout, folder)


@law(EXAMPLES // 10)
def test_predictions_of_any_array_are_written(array, layout):
    labels = ring(array)
    if array.ndim in (2, 3) and array.dtype.kind in "buif" and array.size and (array.ndim == 2 or array.shape[2] < 5):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return
        result = Prediction(array, labels.astype(np.float32), labels)
        assert result.overlay().dtype == np.uint8
        assert len(result.table()) == 0
