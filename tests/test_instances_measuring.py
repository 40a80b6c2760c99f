from __future__ import annotations

import time

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import regionprops_table

from nucleiseg.errors import InvalidInputError
from nucleiseg.images import ReadOptions, read_micrograph
from nucleiseg.inference import Prediction
from nucleiseg.instances import measure, summarize
from nucleiseg.instances.measuring import distinct_names

FEW = settings(max_examples=30, deadline=None)
# Drawn from a seed: Hypothesis fills its own arrays with mostly one value.
LABELS = st.builds(
    lambda seed, shape, dtype: np.random.default_rng(seed).choice([0, 0, 1, 2, 5, 200], shape).astype(dtype),
    st.integers(0, 2**32),
    st.tuples(st.integers(1, 15), st.integers(1, 15)),
    st.sampled_from(["u1", "u2", "i8"]),
)
# As Hypothesis fills arrays, but in few pieces that are nearly convex, as nuclei are.
BLOBS = st.builds(
    lambda seed, shape: ndimage.label(ndimage.uniform_filter(np.random.default_rng(seed).random(shape), 5) > 0.5)[0],
    st.integers(0, 2**32),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
PROPERTIES = [
    "label",
    "area",
    "centroid",
    "bbox",
    "perimeter",
    "eccentricity",
    "axis_major_length",
    "axis_minor_length",
    "orientation",
    "solidity",
    "equivalent_diameter_area",
]
COLUMNS = [
    "label",
    "area",
    "centroid-0",
    "centroid-1",
    *(f"bbox-{i}" for i in range(4)),
    "touches_edge",
    *PROPERTIES[4:],
]
KINDS = ("mean", "min", "max", "total")


@FEW
@given(st.one_of(LABELS, BLOBS), st.integers(1, 6), st.sampled_from(["?", "u1", "u2", "i2", "f4", "f8"]))
def test_the_table_is_that_of_scikit_image(labels, channels, dtype):
    image = np.random.default_rng(0).integers(0, 200, (*labels.shape, channels)).astype(dtype)
    table = measure(labels, image)
    properties = [*PROPERTIES, *(f"intensity_{kind}" for kind in KINDS[:3])]
    with np.errstate(invalid="ignore"):
        expected = regionprops_table(labels.astype(np.int64), image.astype(float), properties=properties)
    for name, values in expected.items():
        if name == "orientation":  # a line points both ways, and a round nucleus anywhere
            turned = np.abs(table[name] - values) % np.pi
            round_ones = table["axis_major_length"] - table["axis_minor_length"] < 1e-6
            assert ((np.minimum(turned, np.pi - turned) < 1e-6) | round_ones).all()
        else:
            np.testing.assert_allclose(table[name], values, rtol=1e-7, atol=1e-6, err_msg=name)
    for i in range(channels):
        np.testing.assert_allclose(table[f"intensity_total-{i}"], table[f"intensity_mean-{i}"] * table["area"])


@FEW
@given(st.one_of(LABELS, BLOBS), st.integers(1, 3), st.integers(0, 3))
def test_shapes_do_not_change_where_the_nucleus_lies_or_how_it_is_turned(labels, before, turns):
    shapes = ["area", "perimeter", "eccentricity", "axis_major_length", "axis_minor_length", "solidity"]
    moved = np.pad(np.rot90(labels, turns), before)
    np.testing.assert_allclose(measure(moved)[shapes], measure(labels)[shapes], atol=1e-6)
    assert not measure(moved)["touches_edge"].any()


@FEW
@given(LABELS)
def test_nuclei_touch_the_edge_where_a_border_pixel_is_theirs(labels):
    table = measure(labels)
    border = {*labels[0], *labels[-1], *labels[:, 0], *labels[:, -1]} - {0}
    assert set(table.loc[table["touches_edge"], "label"]) == border


@FEW
@given(LABELS, st.floats(1e-3, 1e3))
def test_micrometres_are_pixels_times_their_size(labels, size):
    table, plain = measure(labels, labels, pixel_size=size), measure(labels, labels)
    np.testing.assert_allclose(table["area_um2"], plain["area"] * size**2)
    for name in ("centroid{}-0", "centroid{}-1", "perimeter{}", "axis_major_length{}", "equivalent_diameter_area{}"):
        np.testing.assert_allclose(table[name.format("_um")], plain[name.format("")] * size)
    assert set(table.columns) - set(plain.columns) == {name for name in table.columns if "_um" in name}


@FEW
@given(LABELS, st.sampled_from([None, 0.5]))
def test_columns_and_dtypes_do_not_depend_on_the_nuclei(labels, size):
    image = np.zeros((*labels.shape, 4), np.uint8)
    table, empty = (measure(x, image, pixel_size=size) for x in (labels, np.zeros_like(labels)))
    more = [f"intensity_{kind}-{i}" for i in range(4) for kind in KINDS]
    assert list(table.columns)[: len(COLUMNS) + len(more)] == [*COLUMNS, *more]
    assert (table.dtypes == empty.dtypes).all()
    assert len(empty) == 0
    assert list(measure(labels).columns) == COLUMNS


def test_dtypes():
    dtypes = measure(np.ones((2, 2), np.uint8), np.zeros((2, 2), np.uint8), pixel_size=1).dtypes.astype(str)
    whole = ["label", "area", *(f"bbox-{i}" for i in range(4))]
    assert set(dtypes[whole]) == {"int64"}
    assert dtypes["touches_edge"] == "bool"
    assert set(dtypes.drop([*whole, "touches_edge"])) == {"float64"}


def test_a_single_pixel_is_round_and_solid():
    (row,) = measure(np.array([[0, 0], [0, 4]]), np.array([[0, 0], [0, 9]])).to_dict("records")
    for name, value in {"area": 1, "perimeter": 0, "eccentricity": 0, "axis_major_length": 0, "solidity": 1}.items():
        assert row[name] == value
    assert [row[f"intensity_{kind}-0"] for kind in KINDS] == [9, 9, 9, 9]


def test_totals_of_many_bright_pixels_do_not_overflow():
    table = measure(np.ones((300, 300), np.uint8), np.full((300, 300), 65_535, np.uint16))
    assert table["intensity_total-0"].tolist() == [90_000 * 65_535]


def test_channels_may_have_names():
    image = np.zeros((2, 2, 2), np.uint16)
    table = measure(np.ones((2, 2), int), image, channels=("DAPI", "CD3"))
    assert [name for name in table.columns if name.startswith("intensity_mean")] == [
        "intensity_mean-DAPI",
        "intensity_mean-CD3",
    ]
    for names in (["DAPI"], ["DAPI", "DAPI"], ["a", "b", "c"], ["a", "a", "b"]):
        with pytest.raises(InvalidInputError, match="channels must have one name of its own for each of 2 channels"):
            measure(np.ones((2, 2), int), image, channels=names)


@pytest.mark.slow
def test_a_thousand_nuclei_take_less_than_half_a_second():
    rows, cols = np.mgrid[:1024, :1024]
    inside = (rows % 32 - 16) ** 2 + (cols % 32 - 16) ** 2 < 150
    labels = np.where(inside, 1 + rows // 32 * 32 + cols // 32, 0)
    image = np.random.default_rng(0).integers(0, 60_000, (1024, 1024, 3)).astype(np.uint16)
    measure(labels, image)
    start = time.perf_counter()
    assert len(measure(labels, image)) == 1024
    assert time.perf_counter() - start < 0.5


def test_labels_may_be_few_and_large():
    table = measure(np.array([[0, 2**40], [7, 2**40]]))
    assert table[["label", "area"]].to_numpy().tolist() == [[7, 1], [2**40, 2]]


def test_alpha_is_a_channel_too():
    image = np.zeros((2, 2, 2), np.uint8)
    image[..., 1] = 255
    assert measure(np.ones((2, 2), int), image)["intensity_mean-1"].tolist() == [255.0]


@given(st.lists(st.sampled_from(["", "a", "a-2", "a-3", "a-2-2", "b"]), max_size=7))
def test_names_become_different_and_those_that_are_there_once_stay(names):
    found = distinct_names(names)
    assert len(set(found)) == len(names)
    for name, new in zip(names, found, strict=True):
        assert new == name if names.count(name) == 1 else new.startswith(name)
    assert [found[names.index(name)] for name in names] == names  # so does the first of several
    assert distinct_names(found) == found


def test_channels_that_a_file_gives_one_name_are_measured(tmp_path):
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 3, 4)
    names = {"axes": "CYX", "Channel": {"Name": ["Cy5", "Cy5", "Cy5-2"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, photometric="minisblack", metadata=names)
    source = read_micrograph(tmp_path / "a.ome.tif", ReadOptions(channel=0))
    labels = np.ones((3, 4), np.int32)
    table = Prediction(source.shown, np.ones((3, 4), np.float32), labels, source).table()
    found = {name: mean for name, mean in table.iloc[0].items() if name.startswith("intensity_mean")}
    means = pixels.mean(axis=(1, 2)).tolist()
    assert found == dict(zip([f"intensity_mean-{name}" for name in ("Cy5", "Cy5-3", "Cy5-2")], means, strict=True))
    with pytest.raises(InvalidInputError, match="channels must have one name of its own"):  # which a user can mend
        measure(labels, source.pixels, channels=source.channels)


def test_labels_that_no_column_holds_are_refused():
    high = 2**63 - 1
    assert measure(np.array([[high, 0, 5]], np.uint64))["label"].tolist() == [5, high]
    with pytest.raises(InvalidInputError, match=r"labels must be below 2\*\*63 to be measured, got 92233\d+8"):
        measure(np.array([[high + 1, 0, 5]], np.uint64))


def test_arguments_are_checked():
    with pytest.raises(InvalidInputError, match="labels and image must have the same height and width"):
        measure(np.ones((2, 2), int), np.zeros((2, 3)))
    with pytest.raises(InvalidInputError, match="labels must be integers"):
        measure(np.ones((2, 2)))
    with pytest.raises(InvalidInputError, match="image must"):
        measure(np.ones((2, 2), int), np.zeros((2, 2, 2, 2)))
    for size in (0, -2, np.nan, "0.5", True):
        with pytest.raises(InvalidInputError, match="pixel_size must be a number above 0"):
            measure(np.ones((2, 2), int), pixel_size=size)
        with pytest.raises(InvalidInputError, match="pixel_size must be a number above 0"):
            summarize(measure(np.ones((2, 2), int)), (2, 2), size)
