"""Many files without a cluster: in order, with the same outcome as one by one."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import skimage.data
from PIL import Image

from nucleiseg import Segmenter, predict_many
from nucleiseg.errors import ImageFileError
from nucleiseg.images import read_micrograph


@pytest.fixture
def files(tmp_path):
    tissue = skimage.data.immunohistochemistry()
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        Image.fromarray(tissue[number * 60 :, : 96 + 20 * number][:90]).save(path)
    return paths


def test_files_come_in_order_as_if_one_by_one(files):
    one_by_one = Segmenter.from_pretrained("nuclei")
    found = list(predict_many("nuclei", files))
    assert [path for path, _ in found] == [str(path) for path in files]
    for path, result in found:
        expected = one_by_one.predict(path)
        np.testing.assert_array_equal(result.labels, expected.labels)
        np.testing.assert_array_equal(result.probability, expected.probability)
    assert sum(result.count for _, result in found) > 3
    again = one_by_one.predict(read_micrograph(files[0]))
    np.testing.assert_array_equal(again.labels, found[0][1].labels)


def test_a_bad_file_ends_the_row_at_its_place(files):
    files[2].write_bytes(b"no image")
    before = threading.active_count()
    results = predict_many("nuclei", files)
    assert [next(results)[0], next(results)[0]] == [str(files[0]), str(files[1])]
    with pytest.raises(ImageFileError, match=r"2\.png"):
        next(results)
    assert list(results) == []
    assert threading.active_count() == before
