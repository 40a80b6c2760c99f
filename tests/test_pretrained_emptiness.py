"""The models in the box find nothing where there is nothing: no more than one false nucleus in a megapixel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from nucleiseg import Segmenter, list_pretrained

SIDE = 1024
PLANE = (SIDE, SIDE)


def uneven():
    """A ground that is lit from one side, with a camera's noise."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    return 300 + 200 * columns + 50 * rows**2 + np.random.default_rng(1).normal(0, 5, PLANE)


def glass():
    """An empty slide: nearly white, slightly uneven in colour."""
    shade = gaussian_filter(np.random.default_rng(2).standard_normal((*PLANE, 3)), (90, 90, 0))
    noise = np.random.default_rng(3).normal(0, 1.5, (*PLANE, 3))
    return np.clip(238 + 4 * shade / shade.std() + noise, 0, 255).astype(np.uint8)


IMAGES = {
    "black": lambda: np.zeros(PLANE, np.uint8),
    "grey": lambda: np.full(PLANE, 1000, np.uint16),
    "white": lambda: np.full((*PLANE, 3), 255, np.uint8),
    "noise of a camera": lambda: np.random.default_rng(0).poisson(100, PLANE).astype(np.uint16),
    "noise of every value": lambda: np.random.default_rng(0).integers(0, 256, PLANE, np.uint8),
    "coloured noise": lambda: np.random.default_rng(0).integers(0, 256, (*PLANE, 3), np.uint8),
    "uneven ground": uneven,
    "empty slide": glass,
}


@pytest.fixture(scope="module", params=list_pretrained())
def segmenter(request):
    return Segmenter.from_pretrained(request.param)


@pytest.mark.parametrize("name", IMAGES)
def test_where_there_is_nothing_it_finds_nothing(segmenter, name):
    assert segmenter.predict(IMAGES[name]()).count <= 1
