from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import measure

FEW = settings(max_examples=30, deadline=None)
# Drawn from a seed: Hypothesis fills its own arrays with mostly one value.
LABELS = st.builds(
    lambda seed, shape, dtype: np.random.default_rng(seed).choice([0, 0, 1, 2, 5, 200], shape).astype(dtype),
    st.integers(0, 2**32),
    st.tuples(st.integers(1, 15), st.integers(1, 15)),
    st.sampled_from(["u1", "u2", "i8"]),
)
COLUMNS = [
    "label",
    "area",
    "centroid_row",
    "centroid_col",
    "bbox_min_row",
    "bbox_min_col",
    "bbox_max_row",
    "bbox_max_col",
]


@FEW
@given(LABELS, st.sampled_from([None, 1, 3]))
def test_the_table_is_that_of_scikit_image(labels, channels):
    from skimage.measure import regionprops

    shape = labels.shape if channels is None else (*labels.shape, channels)
    image = np.random.default_rng(0).integers(0, 60_000, shape).astype(np.uint16)
    table = measure(labels, image)
    regions = regionprops(labels.astype(np.int64), image)
    assert list(table["label"]) == [region.label for region in regions]
    for row, region in zip(table.to_dict("records"), regions, strict=True):
        assert row["area"] == region.area
        np.testing.assert_allclose((row["centroid_row"], row["centroid_col"]), region.centroid)
        assert tuple(row[name] for name in COLUMNS[4:]) == region.bbox
        means = [row[f"mean_intensity_{i}"] for i in range(channels or 1)]
        np.testing.assert_allclose(means, np.ravel(region.intensity_mean))


@FEW
@given(LABELS)
def test_columns_and_dtypes_do_not_depend_on_the_nuclei(labels):
    image = np.zeros((*labels.shape, 4), np.uint8)
    table, empty = measure(labels, image), measure(np.zeros_like(labels), image)
    assert list(table.columns) == [*COLUMNS, *(f"mean_intensity_{i}" for i in range(4))]
    assert (table.dtypes == empty.dtypes).all()
    assert len(empty) == 0
    assert list(measure(labels).columns) == COLUMNS


def test_dtypes():
    dtypes = measure(np.ones((2, 2), np.uint8), np.zeros((2, 2), np.uint8)).dtypes
    assert {str(dtype) for dtype in dtypes[["label", "area", *COLUMNS[4:]]]} == {"int64"}
    assert {str(dtype) for dtype in dtypes[["centroid_row", "centroid_col", "mean_intensity_0"]]} == {"float64"}


def test_labels_may_be_few_and_large():
    table = measure(np.array([[0, 2**40], [7, 2**40]]))
    assert table[["label", "area"]].to_numpy().tolist() == [[7, 1], [2**40, 2]]


def test_alpha_is_a_channel_too():
    image = np.zeros((2, 2, 2), np.uint8)
    image[..., 1] = 255
    assert measure(np.ones((2, 2), int), image)["mean_intensity_1"].tolist() == [255.0]


def test_arguments_are_checked():
    with pytest.raises(InvalidInputError, match="labels and image must have the same height and width"):
        measure(np.ones((2, 2), int), np.zeros((2, 3)))
    with pytest.raises(InvalidInputError, match="labels must be integers"):
        measure(np.ones((2, 2)))
    with pytest.raises(InvalidInputError, match="image must"):
        measure(np.ones((2, 2), int), np.zeros((2, 2, 2, 2)))
