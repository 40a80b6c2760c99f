"""The sample of a large image reaches from its first pixel to its last."""

from __future__ import annotations

import numpy as np
import pytest

from nucleiseg.images.sampling import LARGEST, sample_pixels, sampled_range


@pytest.mark.parametrize("place", [np.s_[:, :1], np.s_[:, -1:], np.s_[:1], np.s_[-1:]])
@pytest.mark.parametrize("shape", [(1000, 5000), (5000, 1000), (2500, 2600)])
def test_all_four_sides_of_a_large_image_are_looked_at(shape, place):
    image = np.zeros(shape, np.uint8)
    assert image.size > LARGEST
    assert not sample_pixels(image).any()
    image[place] = 200
    assert sample_pixels(image).max() == 200
    assert sampled_range(image, "minmax") == (0, 200)


def test_the_corners_of_a_sample_are_those_of_the_image():
    image = np.arange(3000 * 4000, dtype=np.int32).reshape(3000, 4000)
    sample = sample_pixels(image)
    assert sample.shape == (2048, 2048)
    corners = np.ix_([0, -1], [0, -1])
    np.testing.assert_array_equal(sample[corners], image[corners])
