"""Prediction with channels, planes, pixel sizes and filters: the model in the box sees what it would see alone."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from nucleiseg import PredictOptions, ReadOptions, Segmenter
from nucleiseg.errors import InvalidInputError
from nucleiseg.inference import Prediction
from nucleiseg.instances import filter_labels, measure


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter.from_pretrained("nuclei")


@pytest.fixture(scope="module")
def dapi():
    """Bright discs, one of them at the edge, one with a hole."""
    rows, cols = np.mgrid[:96, :96]
    image = np.full((96, 96), 200.0)
    for row, col, radius in ((0, 40, 10), (30, 20, 10), (60, 60, 11)):
        image[(rows - row) ** 2 + (cols - col) ** 2 < radius**2] = 3000
    image[(rows - 60) ** 2 + (cols - 60) ** 2 < 16] = 200
    return ndimage.gaussian_filter(image, 1).astype(np.uint16)


def test_the_network_sees_the_channel_and_all_are_measured(segmenter, dapi, tmp_path):
    others = np.random.default_rng(0).integers(0, 60_000, (5, *dapi.shape)).astype(np.uint16)
    stack = np.concatenate([others, dapi[None]])
    path = tmp_path / "six.ome.tif"
    names = ["a", "b", "c", "d", "e", "DAPI"]
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": "CYX", "Channel": {"Name": names}, **size})

    alone = segmenter.predict(dapi)
    of_array = segmenter.predict(stack, PredictOptions(reading=ReadOptions(axes="CYX", channel=5)))
    of_file = segmenter.predict(path, PredictOptions(reading=ReadOptions(channel="DAPI")))
    assert alone.count > 0
    for result in (of_array, of_file):
        np.testing.assert_array_equal(result.labels, alone.labels)
        np.testing.assert_array_equal(result.image, dapi)
        assert result.source.pixels.shape == (96, 96, 6)
    assert "intensity_mean-5" in of_array.table()
    table = of_file.table()
    assert table["intensity_mean-DAPI"].tolist() == alone.table()["intensity_mean-0"].tolist()
    np.testing.assert_allclose(table["area_um2"], table["area"] / 4)
    assert (alone.pixel_size, of_file.pixel_size) == (None, 0.5)
    assert of_file.summary()["density_mm2"].item() == pytest.approx(alone.count / (0.048**2))


def test_options_filter_the_nuclei(dapi, monkeypatch):
    bright = (dapi > 1000).astype(np.float32)  # what a perfect network would see
    monkeypatch.setattr("nucleiseg.inference.maps.Network.__call__", lambda *_: bright[..., np.newaxis])
    segmenter = Segmenter(weights=None, head="semantic")
    plain = segmenter.predict(dapi).labels
    area = int(measure(filter_labels(plain, fill_holes=True))["area"].max())  # of the one that has a hole
    for options in ({"remove_edge": True}, {"fill_holes": True}, {"fill_holes": True, "min_area": area}):
        found = segmenter.predict(dapi, PredictOptions(**options)).labels
        np.testing.assert_array_equal(found, filter_labels(plain, **options))
        assert (found != plain).any()
    assert segmenter.predict(dapi, PredictOptions(min_area=area)).count == 0
    assert segmenter.predict(dapi, PredictOptions(min_area=area, fill_holes=True)).count == 1


def test_an_array_that_leaves_it_open_is_refused(segmenter):
    with pytest.raises(InvalidInputError, match="say what its axes are"):
        segmenter.predict(np.zeros((5, 40, 40), np.uint8))


def test_a_prediction_without_a_source_measures_its_image():
    labels = np.array([[1, 0]], np.int32)
    result = Prediction(np.array([[7, 9]]), labels.astype(np.float32), labels)
    assert (result.pixel_size, result.table()["intensity_mean-0"].tolist()) == (None, [7.0])
    assert result.summary()["count"].item() == 1
