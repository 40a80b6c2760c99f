import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import find_touching

label_images = hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(0, 4))


def touches_by_growing(labels, label):
    """Slower and plainer: grow one nucleus by a pixel and look what it meets."""
    grown = ndimage.binary_dilation(labels == label, np.ones((3, 3)))
    return bool(set(np.unique(labels[grown]).tolist()) - {0, label})


@given(label_images)
def test_it_agrees_with_growing_every_nucleus_by_a_pixel(labels):
    names = set(np.unique(labels).tolist()) - {0}
    assert set(find_touching(labels).tolist()) == {name for name in names if touches_by_growing(labels, name)}


@given(label_images)
def test_neither_turns_nor_other_numbers_change_which_nuclei_touch(labels):
    found = find_touching(labels)
    assert np.array_equal(find_touching(np.rot90(labels)), found)
    renamed = np.array([0, 70, 20, 90, 10], np.int64)
    assert np.array_equal(find_touching(renamed[labels]), np.sort(renamed[found]))


def test_without_nuclei_nothing_touches_and_the_dtype_stays():
    found = find_touching(np.zeros((3, 3), np.uint8))
    assert found.size == 0
    assert found.dtype == np.uint8


def test_labels_must_be_an_integer_image():
    with pytest.raises(InvalidInputError, match=r"labels must be integers, 0 for background.*float64"):
        find_touching(np.zeros((3, 3)))
