from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

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
