from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.images import colour_labels, rescale
from nucleiseg.images.label_colours import PALETTE, _colours, _find_neighbours

LABELS = hnp.arrays(
    np.int64,
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    elements=st.one_of(st.just(0), st.integers(1, 30), st.just(2**50)),
)
FEW = settings(max_examples=60, deadline=None)


def neighbours(labels):
    """Pairs of places, one step apart in any of eight directions, that hold different nuclei."""
    rows, columns = np.indices(labels.shape)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        inside = (rows + down < labels.shape[0]) & (columns + right >= 0) & (columns + right < labels.shape[1])
        one = rows[inside], columns[inside]
        other = rows[inside] + down, columns[inside] + right
        differ = (labels[one] != labels[other]) & (labels[one] > 0) & (labels[other] > 0)
        yield tuple(place[differ] for place in one), tuple(place[differ] for place in other)


@FEW
@given(LABELS)
def test_neighbours_differ_and_a_nucleus_has_one_colour(labels):
    """Whatever the nuclei look like: with random pixels for nuclei, any two may be neighbours."""
    picture = colour_labels(labels)
    assert picture.dtype == np.uint8
    assert picture.shape == (*labels.shape, 3)
    for one, other in neighbours(labels):
        assert (picture[one] != picture[other]).any(axis=1).all()
    np.testing.assert_array_equal(picture.any(axis=2), labels > 0)
    for value in np.unique(labels):
        assert len(np.unique(picture[labels == value], axis=0)) == 1


@FEW
@given(LABELS)
def test_only_the_shapes_count_not_the_values(labels):
    order = np.searchsorted(np.unique(labels), labels)  # the same order, no gaps
    if labels.min() > 0:
        order += 1
    np.testing.assert_array_equal(colour_labels(labels), colour_labels(order))


def test_nuclei_that_meet_in_a_corner_are_neighbours():
    corner = np.kron([[1, 2], [3, 4]], np.ones((3, 3), np.int32)).astype(np.int32)
    assert _find_neighbours(corner).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]


def test_near_nuclei_differ_and_the_palette_suffices_for_a_map():
    rng = np.random.default_rng(0)
    rows, columns = np.indices((150, 150))
    seeds = rng.integers(0, 150, (80, 2))
    cells = np.argmin([(rows - r) ** 2 + (columns - c) ** 2 for r, c in seeds], axis=0) + 1  # a Voronoi diagram
    picture = colour_labels(cells)
    found = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert found <= set(PALETTE)
    assert len(found) == len(PALETTE)  # all are used
    apart = np.zeros((9, 30), int)
    apart[:, :8], apart[:, 20:] = 1, 2
    assert (colour_labels(apart)[0, 0] != colour_labels(apart)[0, -1]).any()


def test_there_are_as_many_colours_as_are_needed():
    colours = _colours(300)
    assert len(set(colours)) == len(colours) == 300
    assert min(max(colour) for colour in colours) > 80
    # Fifteen nuclei, each beside every other.
    pairs = [(one, other) for one in range(1, 16) for other in range(1, one)]
    tangle = np.zeros((3, 3 * len(pairs)), int)
    tangle[0, 0::3], tangle[0, 1::3] = np.transpose(pairs)
    picture = colour_labels(np.kron(tangle, np.ones((1, 1), int)))
    assert len({tuple(colour) for colour in picture[0][tangle[0] > 0].tolist()}) == 15


@pytest.mark.parametrize("channels", [None, 2, 3, 4])
def test_colours_are_laid_over_an_image_in_grey(channels):
    shape = (20, 20) if channels is None else (20, 20, channels)
    image = np.random.default_rng(0).integers(0, 4000, shape).astype(np.uint16)
    labels = np.zeros((20, 20), int)
    labels[5:9, 5:9] = 3
    picture = colour_labels(labels, image)
    plain = colour_labels(np.zeros_like(labels), image)
    np.testing.assert_array_equal(picture[labels == 0], plain[labels == 0])
    if channels != 2:
        colours = image[..., :3] if channels else image[..., np.newaxis]
        grey = np.broadcast_to(rescale(colours), (20, 20, 3)).mean(axis=-1, keepdims=True)
        np.testing.assert_allclose(plain, np.broadcast_to(20 + 180 * grey, plain.shape), atol=1)
    inside = picture[labels == 3].astype(int) - 0.55 * np.array(colour_labels(labels)[6, 6])
    np.testing.assert_allclose(inside, 0.45 * plain[labels == 3], atol=0.51)


def test_arguments_are_checked():
    with pytest.raises(InvalidInputError, match="labels must be integers"):
        colour_labels(np.zeros((4, 5)))
    with pytest.raises(InvalidInputError, match="labels and image must have the same height and width"):
        colour_labels(np.zeros((4, 5), int), np.zeros((5, 4)))
