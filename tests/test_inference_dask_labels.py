"""Lazy labels of a Dask array, with a plain function in place of the network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nucleiseg import Tiling
from nucleiseg.images import tiles
from nucleiseg.inference.dask_labels import lazy_labels
from nucleiseg.instances import filter_labels, split_components

array = pytest.importorskip("dask.array")


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 99), st.integers(20, 60), st.integers(1, 20), st.integers(0, 9))
def test_lazy_labels_are_those_of_the_whole_image(seed, tile, overlap, context):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).random((70, 90)), 1.5)
    mask = smooth > np.median(smooth)
    asked = []

    def label_window(pixels, inside):
        asked.append(pixels.shape)
        return split_components(pixels[inside])

    overlap = min(overlap, tile - 1)
    windows = tiles(mask.shape, Tiling(tile, overlap))
    found = lazy_labels(array.from_array(mask, chunks=32), windows, context, label_window, 5, remove_edge=True)
    assert (found.shape, found.dtype) == (mask.shape, np.int32)
    assert not asked  # nothing before it is needed
    expected = filter_labels(split_components(mask), 5, remove_edge=True)
    np.testing.assert_array_equal(found.compute(scheduler="threads"), expected)
    assert len(asked) == len(windows)
    assert max(max(shape) for shape in asked) <= tile + 2 * context
