"""Measured part by part, nuclei are what they are measured as a whole."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nucleiseg.errors import MissingPackageError
from nucleiseg.instances import measure, split_components
from nucleiseg.instances.geojson import from_geojson, to_geojson
from nucleiseg.instances.streaming import measured_blocks, stream_geojson, stream_parquet


def blobs(seed, shape=(70, 90)):
    noise = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(noise.random(shape), 1.5)
    return split_components(smooth > np.quantile(smooth, 0.6)), noise.integers(0, 255, (*shape, 2)).astype(np.uint8)


def blocks_of(labels, image, side):
    return measured_blocks(labels, lambda rows, columns: image[rows, columns], 0.5, ["a", "b"], side)


def test_channels_of_one_name_are_told_apart():
    labels, image = blobs(0)
    blocks = measured_blocks(labels, lambda rows, columns: image[rows, columns], channels=["a", "a"])
    assert {"intensity_mean-a", "intensity_mean-a-2"} <= set(next(blocks).table)


def with_one_end(table):
    """An axis has two ends: of a nucleus along the columns, rounding decides between -90° and 90°."""
    turned = table["orientation"].where(table["orientation"] > 1e-9 - np.pi / 2, np.pi / 2)
    return table.assign(orientation=turned)


@settings(max_examples=10, deadline=None)
@example(74, 5)
@given(st.integers(0, 99), st.integers(5, 100))
def test_tables_are_those_of_the_whole_image(seed, side):
    labels, image = blobs(seed)
    found = pd.concat([block.table for block in blocks_of(labels, image, side)]).sort_values("label")
    expected = measure(labels, image, pixel_size=0.5, channels=["a", "b"])
    pd.testing.assert_frame_equal(with_one_end(found.reset_index(drop=True)), with_one_end(expected), rtol=1e-9)


@settings(max_examples=20, deadline=None)
@example(3, 5, (31, 90))
@example(3, 40, (200, 30))
@example(1, 100, (70, 90))
@given(st.integers(0, 99), st.integers(5, 100), st.sampled_from([(70, 90), (31, 90), (90, 31)]))
def test_a_block_holds_the_nuclei_that_begin_in_one_square_and_squares_come_in_order(seed, side, shape):
    """So memory is that of one square and of what reaches beyond it, and a file is the same each time."""
    labels, image = blobs(seed, shape)
    squares, seen = [], []
    for block in blocks_of(labels, image, side):
        begins = block.table[["bbox-0", "bbox-1"]].to_numpy() // side
        squares.append(tuple(begins[0]))
        assert (begins == begins[0]).all()
        seen += block.table["label"].tolist()
        rows, columns = (slice(start, start + n) for start, n in zip(block.corner, block.labels.shape, strict=True))
        here = labels[rows, columns]
        np.testing.assert_array_equal(block.labels, np.where(np.isin(here, block.table["label"]), here, 0))
        assert block.table["area"].sum() == (block.labels > 0).sum()
        assert block.table["label"].is_monotonic_increasing
    assert sorted(seen) == list(range(1, labels.max() + 1))
    assert squares == sorted(set(squares))


def test_one_nucleus_is_one_block():
    labels = np.zeros((20, 30), np.int32)
    labels[7:15, 9:21] = 1
    (block,) = blocks_of(labels, np.zeros((20, 30, 2)), 5)
    assert (block.corner, block.labels.shape, block.table["label"].tolist()) == ((7, 9), (8, 12), [1])


def test_files_hold_what_the_whole_image_gives(tmp_path):
    pytest.importorskip("pyarrow")
    labels, image = blobs(1)
    blocks = blocks_of(labels, image, 30)
    for _ in stream_parquet(tmp_path / "a.parquet", stream_geojson(tmp_path / "a.geojson", blocks)):
        pass
    expected = measure(labels, image, pixel_size=0.5, channels=["a", "b"])
    table = pd.read_parquet(tmp_path / "a.parquet").sort_values("label").reset_index(drop=True)
    pd.testing.assert_frame_equal(table, expected, rtol=1e-9)
    collection = json.loads((tmp_path / "a.geojson").read_text())
    np.testing.assert_array_equal(
        from_geojson(collection, labels.shape), from_geojson(to_geojson(labels), labels.shape)
    )
    assert len(collection["features"]) == labels.max()
    assert collection["software"] == to_geojson(labels)["software"] == "nucleiseg"


def test_without_pyarrow_the_error_says_what_it_is_needed_for(tmp_path, monkeypatch):
    labels, image = blobs(1)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        MissingPackageError, match=r"writing Parquet needs .*pyarrow.*pip install .*nucleiseg\[parquet\]"
    ):
        list(stream_parquet(tmp_path / "a.parquet", blocks_of(labels, image, 30)))
    assert not list(tmp_path.iterdir())


def test_without_nuclei_a_block_says_which_columns_there_would_be():
    (block,) = blocks_of(np.zeros((9, 9), np.int32), np.zeros((9, 9, 2)), 4)
    (other,) = blocks_of(np.ones((9, 9), np.int32), np.zeros((9, 9, 2)), 16)
    assert len(block.table) == 0
    assert list(block.table.columns) == list(other.table.columns)
