"""Lazy labels of a Dask array, with a plain function in place of the network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nucleiseg import Tiling
from nucleiseg.images import rescale, tiles
from nucleiseg.inference import LeastConfidence
from nucleiseg.inference.dask_labels import lazy_labels
from nucleiseg.instances import filter_labels, rate, split_components
from nucleiseg.instances.decoders import Decoded

array = pytest.importorskip("dask.array")


@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 99), st.integers(20, 60), st.integers(1, 20), st.integers(0, 9), st.sampled_from([0.0, 0.6, 0.65])
)
def test_lazy_labels_are_those_of_the_whole_image(seed, tile, overlap, context, least):
    likely = rescale(ndimage.gaussian_filter(np.random.default_rng(seed).random((70, 90)), 1.5))
    asked = []

    def label_window(pixels, inside):
        asked.append(pixels.shape)
        return Decoded(pixels[inside], split_components(pixels[inside], 0.5))

    overlap = min(overlap, tile // 2)  # nearly a tile would make thousands of windows
    windows = tiles(likely.shape, Tiling(tile, overlap))
    image = array.from_array(likely, chunks=32)
    found = lazy_labels(
        image, windows, context, label_window, 5, remove_edge=True, least_confidence=LeastConfidence(least)
    )
    assert (found.shape, found.dtype) == (likely.shape, np.int32)
    assert not asked  # nothing before it is needed
    expected = filter_labels(split_components(likely, 0.5), 5, remove_edge=True)
    kept = rate(expected, likely) >= least
    expected = np.append(0, np.where(kept, kept.cumsum(), 0))[expected]
    np.testing.assert_array_equal(found.compute(scheduler="threads"), expected)
    assert len(asked) == len(windows)
    assert max(max(shape) for shape in asked) <= tile + 2 * context
