from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from nucleiseg import _smoothing
from nucleiseg._smoothing import smooth


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.floats(0.1, 5), st.sampled_from([3.0, 4.0]))
def test_it_is_scipys_to_the_last_bit_and_leaves_the_image(height, width, sigma, truncate):
    image = np.random.default_rng(height).random((height, width), np.float32)
    before = image.copy()
    smoothed = smooth(image, sigma, truncate)
    assert smoothed.dtype == np.float32
    np.testing.assert_array_equal(smoothed, gaussian_filter(image, sigma, truncate=truncate))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(("rows", "pixels"), [(1, 1), (2, 90), (7, 1), (64, 1)])
def test_bands_leave_no_trace(monkeypatch, rows, pixels):
    monkeypatch.setattr(_smoothing, "_ROWS", rows)
    monkeypatch.setattr(_smoothing, "_AT_ONCE", pixels)
    image = np.random.default_rng(rows).random((65, 30), np.float32)
    np.testing.assert_array_equal(smooth(image, 1.5, 3), gaussian_filter(image, 1.5, truncate=3))
