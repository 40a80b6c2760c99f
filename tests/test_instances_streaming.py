"""Measured part by part, nuclei are what they are measured as a whole."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nucleiseg.instances import measure, split_components
from nucleiseg.instances.geojson import from_geojson, to_geojson
from nucleiseg.instances.streaming import measured_blocks, stream_geojson, stream_parquet


def blobs(seed, shape=(70, 90)):
    noise = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(noise.random(shape), 1.5)
    return split_components(smooth > np.quantile(smooth, 0.6)), noise.integers(0, 255, (*shape, 2)).astype(np.uint8)


def blocks_of(labels, image, side):
    return measured_blocks(labels, lambda rows, columns: image[rows, columns], 0.5, ["a", "b"], side)


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


def test_without_nuclei_there_are_no_blocks():
    assert not list(blocks_of(np.zeros((9, 9), np.int32), np.zeros((9, 9, 2)), 4))
