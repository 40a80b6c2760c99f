"""Outlines along the edges of pixels: exact, valid by an independent judge, and pixels again."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import fill_polygons, polygons, trace_polygons

SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
LABELS = hnp.arrays(np.int64, SIDES, elements=st.sampled_from([0, 0, 3, 2**40]))
# A ring that is closed by a corner only, and a hole that touches the outside in one.
PINCHED = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1]])
FEW = settings(max_examples=100, deadline=None)


@FEW
@given(LABELS)
@example(PINCHED)
@example(PINCHED[::-1])
@example(np.eye(3, dtype=int))
@example(1 - np.eye(4, dtype=int))
def test_polygons_are_valid_and_cover_the_pixels(labels):
    geometry = pytest.importorskip("shapely.geometry")
    outlines = trace_polygons(labels)
    assert [outline.label for outline in outlines] == [value for value in np.unique(labels).tolist() if value]
    for outline in outlines:
        polygons = [geometry.Polygon(rings[0], rings[1:]) for rings in outline.polygons]
        whole = geometry.MultiPolygon(polygons)
        assert whole.is_valid
        assert whole.area == np.count_nonzero(labels == outline.label)
        for polygon in polygons:
            assert polygon.exterior.is_ccw
            assert not any(ring.is_ccw for ring in polygon.interiors)
        rows, columns = np.nonzero(labels == outline.label)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            assert whole.contains(geometry.Point(column + 0.5, row + 0.5))


@FEW
@given(LABELS)
def test_rings_have_only_corners(labels):
    for outline in trace_polygons(labels):
        for ring in (ring for rings in outline.polygons for ring in rings):
            steps = np.roll(ring, -1, axis=0) - ring
            along_x = steps[:, 0] != 0
            assert (along_x ^ (steps[:, 1] != 0)).all()
            assert (along_x != np.roll(along_x, 1)).all()


@FEW
@given(LABELS)
def test_polygons_filled_are_the_nuclei_again(labels):
    filled = np.zeros_like(labels)
    for outline in trace_polygons(labels):
        row, column, inside = fill_polygons(outline.polygons, labels.shape)
        filled[row : row + inside.shape[0], column : column + inside.shape[1]][inside] = outline.label
    np.testing.assert_array_equal(filled, labels)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(3, 8), st.just(2)), elements=st.floats(-3, 12, width=16)),
    st.tuples(st.integers(1, 10), st.integers(1, 10)),
)
def test_pixels_are_inside_when_their_centres_are(corners, shape):
    path = pytest.importorskip("matplotlib.path")
    row, column, inside = fill_polygons([[corners]], shape)
    filled = np.zeros(shape, bool)
    filled[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    rows, columns = np.indices(shape)
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    # Winding is what matplotlib counts; polygons that cross themselves may have parts that are inside twice.
    closed = path.Path(np.vstack([corners, corners[:1]]), closed=True)
    clear = closed.contains_points(centres, radius=1e-6) == closed.contains_points(centres, radius=-1e-6)
    expected = np.array([_crossings(corners, x, y) % 2 == 1 for x, y in centres]).reshape(shape)
    np.testing.assert_array_equal(filled.ravel()[clear], expected.ravel()[clear])


def _crossings(corners, x, y):
    """How many sides a ray to the left crosses."""
    count = 0
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if (y0 <= y) != (y1 <= y):
            count += x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x
    return count


def test_long_sides_take_memory_for_some_of_them_at_once(monkeypatch):
    zigzag = [(index % 7, 0 if index % 2 else 1000) for index in range(4000)]
    tracemalloc.start()
    try:
        filled = fill_polygons([[zigzag]], (1000, 8))[2]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 * 2**20
    for at_once in (1, 999, 2**40):
        monkeypatch.setattr(polygons, "_AT_ONCE", at_once)
        np.testing.assert_array_equal(fill_polygons([[zigzag[:100]]], (1000, 8))[2], _filled_at_once(zigzag[:100]))
    assert filled.any()
    assert not filled.all()


def _filled_at_once(corners):
    """By the rule of `_crossings`, for all centres of (1000, 6) pixels."""
    x, y = np.meshgrid(np.arange(6) + 0.5, np.arange(1000) + 0.5)
    count = np.zeros(x.shape, int)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            count += ((y0 <= y) != (y1 <= y)) & (x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x)
    return count % 2 == 1


def test_polygons_beyond_the_image_are_cut():
    row, column, inside = fill_polygons([[[(-5, -5), (50, -5), (50, 50), (-5, 50)]]], (3, 4))
    assert (row, column, inside.shape) == (0, 0, (3, 4))
    assert inside.all()
    assert not fill_polygons([[[(20, 20), (30, 20), (30, 30)]]], (3, 4))[2].any()
    assert not fill_polygons([], (3, 4))[2].size


@pytest.mark.parametrize("far", [np.nan, np.inf, -np.inf, 1e308, -(2.0**53)])
def test_coordinates_are_checked(far):
    with pytest.raises(InvalidInputError, match=r"coordinates of polygons must be numbers within"):
        fill_polygons([[[(0, 0), (far, 0), (1, 1)]]], (3, 4))
    row, column, inside = fill_polygons([[[(-(2.0**52), 0), (2.0**52, 0), (0, 2)]]], (3, 4))
    assert (row, column, inside.tolist()) == (0, 0, [[True] * 4] * 2)


def test_labels_are_checked():
    with pytest.raises(InvalidInputError, match="labels must be integers"):
        trace_polygons(np.zeros((3, 3)))
