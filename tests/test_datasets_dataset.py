from __future__ import annotations

import copy
import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg import datasets
from nucleiseg.datasets import Dataset, Sample
from nucleiseg.errors import DatasetError, InvalidInputError

EXAMPLES = settings(max_examples=40, deadline=None)


def make(ids):
    ids = list(ids)
    images = np.arange(len(ids), dtype=np.uint8)[:, None, None] * np.ones((4, 5), np.uint8)
    return datasets.from_arrays(images, np.zeros((len(ids), 4, 5), int), ids=ids)


def with_kinds(tmp_path, ids, kinds):
    rows = [f"{name},{kind}" for name, kind in zip(ids, kinds, strict=True)]
    (tmp_path / "kinds.csv").write_text("\n".join(["id,kind", *rows]), encoding="utf-8")
    return make(ids).with_metadata(tmp_path / "kinds.csv")


def test_is_a_sequence_of_samples_and_datasets():
    data = make("abcd")
    assert (len(data), data.ids, [s.id for s in data]) == (4, ("a", "b", "c", "d"), list("abcd"))
    assert isinstance(data[-1], Sample)
    assert data[-1].id == "d"
    assert isinstance(data[1:3], Dataset)
    assert data[1:3].ids == ("b", "c")
    assert data.metadata == ({}, {}, {}, {})
    with pytest.raises(IndexError):
        data[4]
    assert repr(data[:1]) == "Dataset(1 sample: a)"
    assert repr(data[:0]) == "Dataset(0 samples)"
    assert pickle.loads(pickle.dumps(data)).load(workers=2)[3].image.max() == 3


@pytest.mark.parametrize("again", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy, copy.copy])
def test_whatever_is_known_of_samples_is_pickled_and_copied(tmp_path, again):
    data = with_kinds(tmp_path, "abc", "xyx")
    (tmp_path / "splits.csv").write_text("id,split\na,train\nb,test\nc,train\n")
    for part in (data, data[1:], data.select("b"), *data.split_by(tmp_path / "splits.csv")):
        other = again(part)
        assert other.ids == part.ids
        assert other.metadata == part.metadata
    for sample in (data[1], make("a")[0]):
        other = again(sample)
        assert (other.id, other.metadata) == (sample.id, sample.metadata)
        np.testing.assert_array_equal(other.image, sample.image)
    assert again(data[1]).metadata == {"kind": "y"}
    with pytest.raises(TypeError, match="does not support item assignment"):
        again(data[1]).metadata["kind"] = "z"


def test_workers_are_counted():
    with pytest.raises(InvalidInputError, match="workers"):
        make("ab").load(workers=0)


def test_select_keeps_the_order_asked_for():
    assert make("abcd").select(["c", "a"]).ids == ("c", "a")
    assert make("abcd").select("b").ids == ("b",)
    assert make([3, 1, 2]).select([1, np.int64(3)]).ids == ("1", "3")
    with pytest.raises(InvalidInputError, match="x, y are not"):
        make("abcd").select(["a", "x", "y"])


@EXAMPLES
@given(st.integers(10, 60), st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_split_is_disjoint_complete_seeded_and_blind_to_order(count, seed, shuffler):
    ids = [f"n{index}" for index in range(count)]
    parts = make(ids).split(0.8, 0.1, 0.1, seed=seed)
    assert sorted(name for part in parts for name in part.ids) == sorted(ids)
    assert all(abs(len(part) - fraction * count) <= 1 for part, fraction in zip(parts, (0.8, 0.1, 0.1), strict=True))
    shuffled = random.Random(shuffler.random()).sample(ids, count)
    again = make(shuffled).split(0.8, 0.1, 0.1, seed=seed)
    assert [set(part.ids) for part in parts] == [set(part.ids) for part in again]


def test_another_seed_splits_otherwise():
    data = make(f"n{index}" for index in range(40))
    assert {data.split(0.5, 0.5, seed=seed)[0].ids for seed in range(5)} != {data.split(0.5, 0.5, seed=0)[0].ids}


def test_fractions_may_leave_some_out():
    parts = make(f"n{index}" for index in range(10)).split(0.2, 0.3)
    assert [len(part) for part in parts] == [2, 3]
    assert not set(parts[0].ids) & set(parts[1].ids)


@EXAMPLES
@given(kinds=st.lists(st.sampled_from("xyz"), min_size=20, max_size=60), seed=st.integers(0, 99))
def test_strata_are_spread_evenly(kinds, seed, tmp_path_factory):
    ids = [f"n{index}" for index in range(len(kinds))]
    data = with_kinds(tmp_path_factory.mktemp("kinds"), ids, kinds)
    parts = data.split(0.6, 0.4, seed=seed, stratify="kind")
    assert sum(map(len, parts)) == len(kinds)
    assert abs(len(parts[0]) - 0.6 * len(kinds)) <= 1
    for kind in "xyz":
        got = sum(known["kind"] == kind for known in parts[0].metadata)
        assert abs(got - 0.6 * kinds.count(kind)) <= 2


def test_impossible_splits_are_refused(tmp_path):
    data = make("abcd")
    for fractions in ((0.8, 0.3), (0.5, 0), (-0.5,), ()):
        with pytest.raises(InvalidInputError, match="add up to at most 1"):
            data.split(*fractions)
    with pytest.raises(InvalidInputError, match="each part must get a sample"):
        data.split(0.9, 0.1)
    with pytest.raises(InvalidInputError, match="seed"):
        data.split(0.5, 0.5, seed=-1)
    with pytest.raises(InvalidInputError, match=r"'kind' is missing for a, b, c, d; add it with dataset.with_metadata"):
        data.split(0.5, 0.5, stratify="kind")


def test_split_by_a_table(tmp_path):
    table = tmp_path / "splits.csv"
    table.write_text(
        "image_id,split,modality,height,scale,plate\nd,test,x,4,0.5,01\nb,val,y,5,1,02\na,train,x,6,2,03\nc,train,,7,3,04\n"
    )
    train, val, test = make("abcd").split_by(table)
    assert (train.ids, val.ids, test.ids) == (("a", "c"), ("b",), ("d",))
    assert dict(test.metadata[0]) == {"split": "test", "modality": "x", "height": 4, "scale": 0.5, "plate": "01"}
    assert train[1].metadata["modality"] == ""
    with pytest.raises(TypeError):
        train.metadata[0]["height"] = 1
    table.write_text("\ufeffid,split\na,val\nb,train\n", encoding="utf-8")
    assert [part.ids for part in make("ab").split_by(table)] == [("b",), ("a",), ()]


@EXAMPLES
@given(splits=st.lists(st.sampled_from(["train", "val", "test"]), min_size=1, max_size=12))
def test_a_table_always_gives_train_val_and_test(splits, tmp_path_factory):
    table = tmp_path_factory.mktemp("splits") / "splits.csv"
    ids = [f"n{index}" for index in range(len(splits))]
    table.write_text("\n".join(["id,split", *(f"{name},{split}" for name, split in zip(ids, splits, strict=True))]))
    train, val, test = make(ids).split_by(table)
    for part, split in ((train, "train"), (val, "val"), (test, "test")):
        assert part.ids == tuple(name for name, its in zip(ids, splits, strict=True) if its == split)


def test_metadata_add_up(tmp_path):
    (tmp_path / "more.csv").write_text("id,stain\na,DAPI\nb,HE")
    data = with_kinds(tmp_path, "ab", "xy").with_metadata(tmp_path / "more.csv")
    assert [dict(known) for known in data.metadata] == [{"kind": "x", "stain": "DAPI"}, {"kind": "y", "stain": "HE"}]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-20", "+3", " 4", "0"], [1, -20, 3, 4, 0]),
        (["0.5", "-2", ".5", "3.", "1.5e3", "2.5E-3"], [0.5, -2.0, 0.5, 3.0, 1500.0, 0.0025]),
        (["0.001", "1e-05", "2e+20"], [0.001, 1e-05, 2e20]),  # as Python and NumPy write them
    ],
)
def test_columns_of_numbers_become_numbers(tmp_path, cells, values):
    known = [entry["kind"] for entry in with_kinds(tmp_path, "abcdef"[: len(cells)], cells).metadata]
    assert known == values
    assert {type(value) for value in known} == {type(values[0])}


@pytest.mark.parametrize(
    "cells",
    [
        ["1_1", "1_2", "11"],
        ["1_1.5", "11.5"],
        ["1E1", "2E1", "1E2"],
        ["1e5", "0.5"],
        ["1E-3", "10E-4"],
        ["01", "2"],
        ["-01", "2"],
        ["00.5", "2"],
        ["nan", "1.5"],
        ["inf", "1.5"],
        ["1234567890123456788", "1234567890123456789.0"],
        ["1" * 5000, "2"],
        ["\u0661", "1"],  # an Arabic one
        ["", "1"],
        [".", "1"],
    ],
)
def test_names_that_python_would_take_for_numbers_stay_as_they_are(tmp_path, cells):
    assert [known["kind"] for known in with_kinds(tmp_path, "abc"[: len(cells)], cells).metadata] == cells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have a header"),
        ("id,split\n", "at least one row"),
        ("name,split\na,train\nb,val", "needs a column 'image_id' or 'id', got name, split"),
        ("id,kind\na,train\nb,val", "needs a column 'split'"),
        ("id,split\na,train\nb,dev", "got 'dev' for 'b'"),
        ("id,split\na,train\na,val\nb,val", "'a' has several"),
        ("id,split\na,train", "1 have none: b; add rows"),
        ("id,split\na,train\nb,val\nz,val", "1 have none: z; remove these rows"),
        ("id,split\na,train\nb,val\xff", "cannot be read as CSV"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, text, message):
    (tmp_path / "splits.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError, match=message):
        make("ab").split_by(tmp_path / "splits.csv")


def test_missing_table(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read as CSV"):
        make("ab").split_by(tmp_path / "missing.csv")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_arrays_keep_values_and_type(dtype):
    image = np.arange(2 * 4 * 6 * 4).reshape(2, 4, 6, 4).astype(dtype)
    truth = np.arange(2 * 4 * 6).reshape(2, 4, 6)
    images, labels = datasets.from_arrays(image, truth).to_arrays()
    assert (images.dtype, labels.dtype) == (dtype, np.int32)
    np.testing.assert_array_equal(images, image[..., :3])
    np.testing.assert_array_equal(labels, truth)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.float32])
def test_arrays_are_resized_to_one_size(dtype):
    # Two halves: the left one dark, the right one bright and labelled.
    high = 1 if dtype is bool else 200
    image, other = np.zeros((8, 12), dtype), np.zeros((20, 30, 3), dtype)
    image[:, 6:], other[:, 15:] = high, high
    data = datasets.from_arrays([image, other], [(image > 0) * 7, (other[..., 0] > 0) * 9])
    with pytest.raises(InvalidInputError, match=r"\(8, 12\) and \(20, 30\) .*pass size=\(height, width\)"):
        data.to_arrays()
    images, labels = data.to_arrays(size=(6, 10))
    assert (images.shape, images.dtype, labels.shape) == ((2, 6, 10, 3), dtype, (2, 6, 10))
    assert (images[:, :, :4] == 0).all()
    assert (images[:, :, 6:] == high).all()
    assert set(np.unique(labels[0])) == {0, 7}
    assert (labels[:, :, :5] == 0).all()
    assert (labels[1, :, 5:] == 9).all()


def test_labels_take_the_nearest_pixel():
    labels = np.arange(81).reshape(9, 9)
    _, smaller = datasets.from_arrays([np.zeros((9, 9), np.uint8)], [labels]).to_arrays(size=(3, 3))
    np.testing.assert_array_equal(smaller[0], labels[1::3, 1::3])


def test_resized_whole_numbers_are_rounded():
    image = np.random.default_rng(0).integers(0, 60000, (20, 30), np.uint16)
    labels = np.zeros((20, 30), int)
    whole, exact = (datasets.from_arrays([a], [labels]).to_arrays(size=(7, 11))[0] for a in (image, image.astype("f4")))
    assert np.abs(whole - exact).max() <= 0.5


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("end", ["min", "max"])
@pytest.mark.parametrize("size", [(7, 11), (31, 45)])
def test_resized_saturated_pixels_stay_so(dtype, end, size):
    value = getattr(np.iinfo(dtype), end)
    data = datasets.from_arrays([np.full((20, 30), value, dtype)], [np.zeros((20, 30), int)])
    images, _ = data.to_arrays(size=size)
    assert images.dtype == dtype
    # Wider types are exact to the 53 bits of a float64.
    assert all(abs(int(pixel) - int(value)) <= abs(int(value)) >> 51 for pixel in images.flat)


@pytest.mark.parametrize("size", [(7, 11), (40, 13), (1, 1), (20, 77)])
def test_wide_whole_numbers_are_resized_as_others_are(size):
    image = np.random.default_rng(0).integers(0, 60000, (20, 30, 3), np.uint16)
    labels = np.zeros((20, 30), int)
    wide, usual = (datasets.from_arrays([a], [labels]).to_arrays(size)[0] for a in (image.astype(np.uint32), image))
    assert np.abs(wide.astype(int) - usual).max() <= 1
    far = datasets.from_arrays([image + np.uint32(2**31)], [labels]).to_arrays(size)[0]
    assert np.abs(far.astype(int) - 2**31 - wide).max() <= 1  # halves are rounded either way


@pytest.mark.parametrize("value", [16777217.0, 1e300, -0.1])
def test_doubles_are_resized_as_such(value):
    image = np.full((20, 30), value)
    images, _ = datasets.from_arrays([image], [np.zeros((20, 30), int)]).to_arrays(size=(7, 11))
    assert images.dtype == np.float64
    np.testing.assert_allclose(images, value, rtol=1e-15)


def test_resizing_is_antialiased():
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    images, _ = datasets.from_arrays([checks.astype(np.uint8)], [np.zeros((64, 64), int)]).to_arrays(size=(8, 8))
    assert np.abs(images[0, 1:-1, 1:-1].astype(int) - 127).max() <= 4


def test_arrays_that_cannot_be_stacked():
    images = [np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint16)]
    data = datasets.from_arrays(images, np.zeros((2, 4, 4), int))
    with pytest.raises(InvalidInputError, match="got uint8 and uint16"):
        data.to_arrays()
    with pytest.raises(InvalidInputError, match="dataset is empty"):
        data[:0].to_arrays()
    with pytest.raises(InvalidInputError, match="height"):
        data.to_arrays(size=(0, 4))
