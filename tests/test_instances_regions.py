"""Regions that people draw or export: what is around nuclei is none, and planes are not mixed."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from nucleiseg.errors import DatasetWarning, InvalidInputError
from nucleiseg.instances import decode_rois, from_geojson, to_geojson
from nucleiseg.instances.regions import paint_regions

SHAPE = (40, 60)


def box(left, top, width, height):
    """A polygon of one ring."""
    return [[(left, top), (left + width, top), (left + width, top + height), (left, top + height)]]


NUCLEI = [[box(5 + 10 * column, 5 + 10 * row, 4, 4)] for row in range(3) for column in range(5)]
AROUND = [box(2, 2, 50, 35)]


def names(count):
    return [str(number) for number in range(11, 11 + count)]


@pytest.mark.parametrize("place", [0, 7, 15])
def test_the_region_that_was_looked_at_is_no_nucleus(place):
    """QuPath exports the annotation with the detections in it, wherever it stands."""
    regions, called = NUCLEI.copy(), names(15)
    regions.insert(place, AROUND)
    called.insert(place, "")
    with pytest.warns(DatasetWarning, match="regions that hold several others are left out"):
        found = paint_regions(called, regions, SHAPE)
    np.testing.assert_array_equal(found, paint_regions(names(15), NUCLEI, SHAPE))
    assert np.unique(found).tolist() == [0, *range(11, 26)]


@pytest.mark.parametrize(
    "regions",
    [
        [AROUND],  # alone
        [[AROUND[0]], NUCLEI[0]],  # with one spot
        [AROUND, AROUND, AROUND],  # given three times
        [[box(0, 0, 9, 9)], [box(1, 1, 6, 6)], [box(2, 2, 6, 6)]],  # drawn over by two that are as large
        [[box(0, 0, 9, 9)]] + [[box(1 + 10 * column, 1, 3, 3)] for column in range(5)],  # large, around one
        [[box(10 * column, 0, 10, 10)] for column in range(5)] + [[box(1, 1, 2, 2)]],
        [[box(0, 0, 20, 20)], [box(3, 3, 2, 2)], [box(9, 9, 2, 2)]]  # with nucleoli, one of many
        + [[box(24 + 7 * column, 7 * row, 6, 6)] for row in range(4) for column in range(3)],
        [[[*box(0, 0, 40, 40)[0:1], *box(4, 4, 32, 32)]], [box(10, 10, 4, 4)], [box(20, 20, 4, 4)]],  # in its hole
    ],
)
def test_nuclei_that_overlap_stay(regions):
    """Without a warning, which would be an error here."""
    labels = np.zeros(SHAPE, int)
    for number, region in enumerate(regions, start=1):
        one = paint_regions(["1"], [region], SHAPE)
        labels[one > 0] = number
    np.testing.assert_array_equal(paint_regions(["?"] * len(regions), regions, SHAPE), labels)


@pytest.mark.parametrize("far", [1e200, np.inf, np.nan])
def test_corners_that_are_nowhere_are_told(far):
    with pytest.raises(InvalidInputError, match="coordinates of polygons must be numbers within"):
        paint_regions(["?"] * 4, [[[[(-far, -far), (far, 0), (far, far)]]], *NUCLEI[:3]], SHAPE)


def test_geojson_of_several_planes_is_refused():
    collection = to_geojson([[1, 0, 2]])
    first, second = (feature["geometry"] for feature in collection["features"])
    first["plane"] = second["plane"] = {"c": -1, "z": 3, "t": 0}
    assert from_geojson(collection, (1, 3)).tolist() == [[1, 0, 2]]
    del second["plane"]
    with pytest.raises(InvalidInputError, match=r"one plane and time, got 2 \(z 0, t 0; z 3, t 0\); save"):
        from_geojson(collection, (1, 3))


def zipped(*members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return data.getvalue()


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({"t_position": 1}, {"t_position": 2}, r"\(t 1; t 2\)"),
        ({"z_position": 2, "t_position": 1}, {"z_position": 1, "t_position": 1}, r"\(z 1, t 1; z 2, t 1\)"),
        ({"position": 4}, {"position": 5}, r"\(slice 4; slice 5\)"),
        ({"t_position": 1, "c_position": 1}, {"t_position": 1, "c_position": 2}, None),  # channels of one plane
        ({"t_position": 1}, {}, None),  # of all planes
    ],
)
def test_rois_of_several_planes_are_refused(one, other, told):
    roifile = pytest.importorskip("roifile")
    rois = [roifile.ImagejRoi.frompoints([(x, 0), (x + 1, 0), (x + 1, 1), (x, 1)], name=str(x)) for x in (1, 2)]
    for roi, places in zip(rois, (one, other), strict=True):
        for name, place in places.items():
            setattr(roi, name, place)
    data = zipped(*((f"{roi.name}.roi", roi.tobytes()) for roi in rois))
    if told is None:
        assert decode_rois(data, (1, 3)).tolist() == [[0, 1, 2]]
        return
    with pytest.raises(InvalidInputError, match=f"one plane and time, got 2 {told}"):
        decode_rois(data, (1, 3))


def test_an_archive_of_something_else_is_not_empty():
    pytest.importorskip("roifile")
    assert not decode_rois(zipped(), (2, 2)).any()
    with pytest.raises(InvalidInputError, match=r"it holds a\.tif, and no \.roi"):
        decode_rois(zipped(("a.tif", b"II")), (2, 2))
    roifile = pytest.importorskip("roifile")
    roi = roifile.ImagejRoi.frompoints([(0, 0), (1, 0), (1, 1), (0, 1)], name="5")
    assert decode_rois(zipped(("5.roi", roi.tobytes()), ("__MACOSX/._5.roi", b"Mac")), (1, 1)).tolist() == [[5]]
