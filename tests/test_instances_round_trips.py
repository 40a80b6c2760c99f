"""What exporters write, as programs of others read it; and back again."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import (
    NamedLabels,
    decode_rois,
    decode_run_lengths,
    from_coco,
    from_geojson,
    measure,
    to_coco,
    to_geojson,
    to_rois,
    write_coco,
    write_geojson,
    write_imagej_labels,
    write_labels,
    write_ome_labels,
    write_parquet,
    write_rois,
    write_run_lengths,
)

SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
LABELS = hnp.arrays(np.int32, SIDES, elements=st.sampled_from([0, 0, 1, 12, 70_000]))
RING = np.array([[5, 5, 5], [5, 0, 5], [5, 5, 0], [0, 0, 5]])  # a hole, and a piece that meets it in a corner
FEW = settings(max_examples=40, deadline=None)


def renumbered(labels):
    """Labels 1, 2, 3, … in their order."""
    values = np.unique(labels[labels > 0])
    return np.where(labels > 0, np.searchsorted(values, labels) + 1, 0)


@pytest.fixture
def path(tmp_path):
    return lambda name: tmp_path / name


# Label TIFFs


@pytest.mark.parametrize(
    ("write", "name", "highest", "dtype"),
    [
        (write_labels, "a.tif", 65_535, np.uint16),
        (write_labels, "a.tif", 65_536, np.uint32),
        (write_imagej_labels, "a.tif", 65_535, np.uint16),
        (write_imagej_labels, "a.tif", 65_536, np.float32),
        (write_imagej_labels, "a.tif", 2**24, np.float32),
        (write_ome_labels, "a.ome.tif", 65_535, np.uint16),
        (write_ome_labels, "a.ome.tiff", 2**32 - 1, np.uint32),
    ],
)
def test_label_tiffs_come_back(path, write, name, highest, dtype):
    labels = np.array([[0, 1, 2], [highest - 1, highest, 0]])
    write(path(name), labels)
    back = tifffile.imread(path(name))
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, labels)


@pytest.mark.parametrize("highest", [7, 70_000])
@pytest.mark.parametrize("write", [write_labels, write_imagej_labels])
def test_imagej_finds_the_pixel_size(path, write, highest):
    write(path("a.tif"), np.array([[0, highest]]), pixel_size=0.325)
    with tifffile.TiffFile(path("a.tif")) as file:
        assert file.is_imagej
        assert file.imagej_metadata["unit"] == "micron"
        for axis in "XY":
            pixels, microns = file.pages.first.tags[f"{axis}Resolution"].value
            assert microns / pixels == pytest.approx(0.325, rel=1e-6)
        assert file.series[0].axes == "YX"
        assert file.pages.first.software == "nucleiseg"


def test_imagej_shows_the_whole_range(path):
    write_imagej_labels(path("a.tif"), np.array([[0, 70_000]]))
    with tifffile.TiffFile(path("a.tif")) as file:
        assert (file.imagej_metadata["min"], file.imagej_metadata["max"]) == (0, 70_000)


def test_ome_has_the_pixel_size(path):
    write_ome_labels(path("a.ome.tif"), np.array([[0, 7, 8]]), pixel_size=0.325)
    with tifffile.TiffFile(path("a.ome.tif")) as file:
        metadata = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert (metadata["PhysicalSizeX"], metadata["PhysicalSizeY"]) == (0.325, 0.325)
    assert (metadata["PhysicalSizeXUnit"], metadata["SizeX"], metadata["Type"]) == ("µm", 3, "uint16")


@pytest.mark.parametrize("size", [0, -1, np.nan, np.inf, True, "0.5"])
@pytest.mark.parametrize("write", [write_labels, write_imagej_labels, write_ome_labels])
def test_a_pixel_size_must_be_a_length(path, write, size):
    with pytest.raises(InvalidInputError, match="pixel_size must be a number above 0, in µm"):
        write(path("a.ome.tif"), [[1]], pixel_size=size)


def test_label_tiffs_are_refused_where_they_would_not_be_exact(path):
    with pytest.raises(InvalidInputError, match="at most 16777216 to be exact in ImageJ"):
        write_imagej_labels(path("a.tif"), [[2**24 + 1]])
    with pytest.raises(InvalidInputError, match=r"end in .ome.tif or .ome.tiff"):
        write_ome_labels(path("a.tif"), [[1]])


# GeoJSON


@FEW
@given(LABELS)
@example(RING)
def test_shapely_and_we_read_the_geojson(tmp_path_factory, labels):
    geometry = pytest.importorskip("shapely.geometry")
    file = tmp_path_factory.mktemp("geojson") / "a.geojson"
    write_geojson(file, labels, measure(labels))
    collection = json.loads(file.read_text())
    assert collection["type"] == "FeatureCollection"
    for feature in collection["features"]:
        shape = geometry.shape(feature["geometry"])
        label = int(feature["properties"]["name"])
        assert shape.is_valid
        assert shape.area == np.count_nonzero(labels == label) == feature["properties"]["measurements"]["area"]
        assert shape.geom_type == ("MultiPolygon" if len(getattr(shape, "geoms", [0])) > 1 else "Polygon")
    np.testing.assert_array_equal(from_geojson(collection, labels.shape), labels)


def test_geojson_is_what_qupath_takes():
    table = pd.DataFrame({"label": [4], "area": [2], "mean": [np.nan], "kind": ["round"]})
    (feature,) = to_geojson([[4, 4]], table, object_type="annotation", classification="Tumour")["features"]
    assert feature["properties"] == {
        "objectType": "annotation",
        "name": "4",
        "classification": {"name": "Tumour", "color": [0, 200, 180]},
        "measurements": {"area": 2.0},  # QuPath's are numbers, and JSON knows no NaN
    }
    assert to_geojson([[4]])["features"][0]["properties"]["objectType"] == "detection"


def test_geojson_of_qupath_is_painted():
    square = {"type": "Polygon", "coordinates": [[[0.2, 0.2], [2.4, 0.2], [2.4, 2.4], [0.2, 2.4], [0.2, 0.2]]]}
    small = {"type": "MultiPolygon", "coordinates": [[[[2, 0], [3, 0], [3, 1], [2, 1], [2, 0]]]]}
    cell = {"type": "Feature", "geometry": square, "nucleusGeometry": small, "properties": {"objectType": "cell"}}
    plain = {"type": "Feature", "geometry": square, "properties": None}
    assert from_geojson([plain, cell], (3, 3)).tolist() == [[1, 1, 2], [1, 1, 0], [0, 0, 0]]
    assert from_geojson(plain, (2, 2)).tolist() == [[1, 1], [1, 1]]
    assert not from_geojson({"type": "FeatureCollection", "features": []}, (2, 2)).any()


def named(*names):
    """A feature a pixel, from the left."""
    corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
    rings = [[[x + left, y] for x, y in corners] for left in range(len(names))]
    geometries = [{"type": "Polygon", "coordinates": [ring]} for ring in rings]
    return [
        {"type": "Feature", "geometry": geometry, "properties": {"name": name}}
        for geometry, name in zip(geometries, names, strict=True)
    ]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("1500000000", "7"), [1_500_000_000, 7]),
        (("2147483647", "7"), [2**31 - 1, 7]),
        (("2147483648", "7"), [1, 2]),  # int32 ends before
        (("9" * 5000, "7"), [1, 2]),
        ((3, "7"), [3, 7]),
        ((3, 2**31 - 1), [3, 2**31 - 1]),
        ((10**30, 7), [1, 2]),
        ((-3, 7), [1, 2]),
        ((True, 7), [1, 2]),
        ((3.0, [7]), [1, 2]),
        ((7, "7"), [1, 2]),
    ],
)
def test_names_that_are_labels_are_kept(names, labels):
    assert from_geojson(named(*names), (1, 2)).tolist() == [labels]


def test_labels_of_ten_digits_come_back():
    labels = [[0, 1_500_000_000, 7]]
    assert from_geojson(to_geojson(labels), (1, 3)).tolist() == labels


def with_geometry(**geometry):
    return {"type": "Feature", "geometry": geometry, "properties": {}}


@pytest.mark.parametrize(
    ("collection", "message"),
    [
        ({"type": "Topology"}, "must be a FeatureCollection"),
        ({"type": "FeatureCollection"}, "must be a FeatureCollection"),
        ([3], "must be a FeatureCollection"),
        (with_geometry(type="Point", coordinates=[1, 2]), "feature 0 .* got Point; leave out points"),
        ({"type": "Feature"}, "feature 0 .* got None"),
        (with_geometry(type="Polygon", coordinates=[[["a", 2]]]), r"rings of \[x, y\]"),
        (with_geometry(type="Polygon", coordinates=[[[float("nan"), 2]]]), r"rings of \[x, y\]"),
        (with_geometry(type="Polygon", coordinates=None), r"rings of \[x, y\]"),
        (with_geometry(type="Polygon", coordinates=[[[10**400, 2]]]), r"rings of \[x, y\]"),
        (with_geometry(type="Polygon", coordinates=[[{"x": 1, "y": 2}]]), r"rings of \[x, y\]"),
        ({**with_geometry(type="Polygon", coordinates=[]), "properties": [3]}, "feature 0 .* properties, got a list"),
        ({**with_geometry(type="Polygon", coordinates=[]), "properties": "3"}, "feature 0 .* properties, got a str"),
    ],
)
def test_broken_geojson_is_refused(collection, message):
    with pytest.raises(InvalidInputError, match=message):
        from_geojson(collection, (4, 4))


def test_heights_of_points_are_passed_over():
    ring = [[0, 0, 7], [2, 0, 7], [2, 1, 7], [0, 1, 7], [0, 0, 7]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    collection = {"type": "FeatureCollection", "features": [feature]}
    assert from_geojson(collection, (2, 3)).tolist() == [[1, 1, 0], [0, 0, 0]]


def test_arguments_of_geojson_are_checked(path):
    with pytest.raises(InvalidInputError, match="unknown object_type 'cell'"):
        to_geojson([[1]], object_type="cell")
    with pytest.raises(InvalidInputError, match="measurements must have a column 'label', got area"):
        to_geojson([[1]], pd.DataFrame({"area": [1]}))
    with pytest.raises(InvalidInputError, match=r"end in .geojson or .json"):
        write_geojson(path("a.txt"), [[1]])


# ImageJ's regions


@FEW
@given(LABELS)
@example(RING)
def test_roifile_and_we_read_the_regions(tmp_path_factory, labels):
    roifile = pytest.importorskip("roifile")
    file = tmp_path_factory.mktemp("rois") / "rois.zip"
    write_rois(file, labels)
    found = roifile.roiread(file) if labels.any() else []
    assert [int(roi.name) for roi in found] == np.unique(labels[labels > 0]).tolist()
    for roi in found:
        rows, columns = np.nonzero(labels == int(roi.name))
        box = (roi.left, roi.top, roi.right, roi.bottom)
        assert box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        areas = [shoelace(ring) for ring in roi.coordinates(multi=True)]
        assert abs(sum(areas)) == rows.size
    np.testing.assert_array_equal(decode_rois(file.read_bytes(), labels.shape), labels)


def shoelace(ring):
    x, y = np.asarray(ring, float).T
    return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@pytest.mark.parametrize("shape", [(1, 70_000), (40_000, 2)])
def test_regions_far_from_the_corner_are_exact(shape):
    pytest.importorskip("roifile")
    labels = np.zeros(shape, np.int32)
    labels[-1:, -2:] = 9
    (roi,) = to_rois(labels)
    np.testing.assert_array_equal(decode_rois(roi.tobytes(), shape), labels)


def test_regions_that_were_drawn_by_hand_are_painted():
    roifile = pytest.importorskip("roifile")
    oval = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.OVAL, left=0, top=0, right=10, bottom=10, name="cell")
    box = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, left=12, top=1, right=14, bottom=3)
    drawn = roifile.ImagejRoi.frompoints([[12.2, 5.2], [14.4, 5.2], [14.4, 7.4], [12.2, 7.4]])
    for roi, pixels in ((oval, 78), (box, 4), (drawn, 4)):
        labels = decode_rois(roi.tobytes(), (10, 16))
        assert labels.max() == 1
        assert np.count_nonzero(labels) == pytest.approx(pixels, abs=4 if roi is oval else 0)


def test_what_is_no_region_is_refused(path):
    roifile = pytest.importorskip("roifile")
    line = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, x1=0, y1=0, x2=3, y2=3, name="scale bar")
    with pytest.raises(InvalidInputError, match="must be areas, 'scale bar' is of type LINE"):
        decode_rois(line.tobytes(), (4, 4))
    for data in (b"", b"nothing", b"PK\3\4 cut short", to_rois([[1]])[0].tobytes()[:50]):
        with pytest.raises(InvalidInputError, match="got data that cannot be read"):
            decode_rois(data, (4, 4))
    with pytest.raises(InvalidInputError, match=r"end in .zip"):
        write_rois(path("a.roi"), [[1]])


def test_the_same_labels_give_the_same_archive(path):
    pytest.importorskip("roifile")
    for name in ("a.zip", "b.zip"):
        write_rois(path(name), RING)
    assert path("a.zip").read_bytes() == path("b.zip").read_bytes()
    with zipfile.ZipFile(path("a.zip")) as archive:
        assert archive.namelist() == ["0005.roi"]


# COCO


@FEW
@given(st.lists(LABELS, max_size=3))
@example([RING])
@example([np.repeat(np.repeat(RING, 40, axis=0), 30, axis=1)])  # counts of several characters, and negative differences
def test_pycocotools_reads_the_annotations(tmp_path_factory, all_labels):
    mask = pytest.importorskip("pycocotools.mask")
    images = [NamedLabels(f"im{i}", labels, f"sub/im{i}.png") for i, labels in enumerate(all_labels)]
    file = tmp_path_factory.mktemp("coco") / "coco.json"
    write_coco(file, images)
    collection = json.loads(file.read_text())
    assert [image["file_name"] for image in collection["images"]] == [image.file_name for image in images]
    for listed, labels in zip(collection["images"], all_labels, strict=True):
        own = [a for a in collection["annotations"] if a["image_id"] == listed["id"]]
        values = np.unique(labels[labels > 0])
        assert len(own) == values.size
        for value, annotation in zip(values, own, strict=True):
            np.testing.assert_array_equal(mask.decode(annotation["segmentation"]), labels == value)
            expected = mask.encode(np.asfortranarray((labels == value).astype(np.uint8)))
            assert annotation["segmentation"]["counts"] == expected["counts"].decode()
            assert annotation["area"] == mask.area(expected)
            assert annotation["bbox"] == mask.toBbox(expected).tolist()
    for image, labels in zip(from_coco(collection), all_labels, strict=True):
        np.testing.assert_array_equal(image.labels, renumbered(labels))


def test_pycocotools_opens_the_whole_file(path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    write_coco(path("coco.json"), [NamedLabels("a", RING, "a.png"), NamedLabels("b", np.zeros((2, 2), int))])
    opened = coco.COCO(str(path("coco.json")))
    assert capsys.readouterr().out
    (annotation,) = opened.loadAnns(opened.getAnnIds(imgIds=[1], catIds=opened.getCatIds(catNms=["nucleus"])))
    np.testing.assert_array_equal(opened.annToMask(annotation), RING > 0)
    assert not opened.getAnnIds(imgIds=[2])


def described(segmentations, size=(4, 5)):
    return {
        "images": [{"id": 9, "file_name": "a.png", "height": size[0], "width": size[1]}],
        "annotations": [{"image_id": 9, "segmentation": value, "iscrowd": 0} for value in segmentations],
    }


def test_annotations_of_others_are_painted():
    mask = pytest.importorskip("pycocotools.mask")
    inside = np.zeros((4, 5), np.uint8)
    inside[1:3, 2:4] = 1
    compressed = mask.encode(np.asfortranarray(inside))
    plain = {"size": [4, 5], "counts": [9, 2, 2, 2, 5]}
    polygons = [[2, 1, 4, 1, 4, 3, 2, 3]]
    crowd = {"image_id": 9, "segmentation": {"size": [4, 5], "counts": [0, 20]}, "iscrowd": 1}
    for segmentation in (compressed, {**compressed, "counts": compressed["counts"].decode()}, plain, polygons):
        collection = described([segmentation])
        collection["annotations"].append(crowd)
        (image,) = from_coco(collection)
        np.testing.assert_array_equal(image.labels, inside)


@pytest.mark.parametrize(
    ("collection", "message"),
    [
        ([], "a COCO file must have images"),
        ({"images": []}, "a COCO file must have images .*'annotations'"),
        ({"images": [{"id": 1}], "annotations": []}, "a COCO file must have images"),
        ({"images": [], "annotations": [{"image_id": 4, "segmentation": []}]}, "a COCO file must have images"),
        (described([{"size": [4, 5], "counts": [3, 4]}]), "segmentation 1 must be run lengths for an image of 4 x 5"),
        (described([{"size": [4, 5], "counts": [-3, 23]}]), "segmentation 1 must be"),
        (described([{"size": [5, 4], "counts": [20]}]), "segmentation 1 must be"),
        (described([{"size": [4, 5], "counts": "!!"}]), "is no character"),
        (described([{"size": [4, 5], "counts": "`"}]), "cut short"),
        (described([{"size": [4, 5]}]), "segmentation 1 must be"),
        (described([{"size": [4, 5], "counts": [10**30, 3]}]), "segmentation 1 must be"),
        (described([{"size": [4, 5], "counts": [float("inf"), 3]}]), "segmentation 1 must be"),
        (described([{"size": [4, 5], "counts": [2**62] * 4 + [20]}]), f"cover {2**64 + 20} pixels"),  # 20 in int64
        (described([{"size": [4, 5], "counts": "o" * 12 + "?"}]), "segmentation 1 must be"),
        (described([{"size": [4, 5], "counts": "o" * 30 + "0"}]), "longer than any image"),
        (described([[[0, 0, float("nan"), 0, 1, 1]]]), "segmentation 1 must be .*coordinates of polygons .* got nan"),
        (described([[[float("nan")] * 6]]), "segmentation 1 must be .*coordinates of polygons .* got nan"),
        (described([[[0, 0, 10**400, 0, 1, 1]]]), "segmentation 1 must be"),
        (described([[], [[1, 2, 3]]]), "segmentation 2 must be"),
        (described([4]), "segmentation 1 must be"),
    ],
)
def test_broken_annotations_are_refused(collection, message):
    with pytest.raises(InvalidInputError, match=message):
        list(from_coco(collection))


def test_coco_ids_of_images_are_unique():
    collection = described([[[0, 0, 3, 0, 3, 3]]])
    collection["images"] *= 2
    with pytest.raises(InvalidInputError, match="image of a COCO file must have an id of its own, .* of 9; number"):
        list(from_coco(collection))


def test_coco_files_end_in_json(path):
    with pytest.raises(InvalidInputError, match=r"end in .json"):
        write_coco(path("coco.txt"), [])
    assert to_coco([])["annotations"] == []


# Tables


@FEW
@given(st.lists(LABELS, min_size=1, max_size=3))
def test_pandas_reads_the_run_lengths(tmp_path_factory, all_labels):
    file = tmp_path_factory.mktemp("rle") / "rle.csv"
    write_run_lengths(file, (NamedLabels(str(i), labels) for i, labels in enumerate(all_labels)))
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert list(table.columns) == ["ImageId", "EncodedPixels"]
    for i, labels in enumerate(all_labels):
        runs = table.loc[table["ImageId"] == str(i), "EncodedPixels"].tolist()
        values = np.unique(labels[labels > 0])
        assert len(runs) == max(values.size, 1)
        for value, text in zip(values, runs, strict=False):
            np.testing.assert_array_equal(decode_run_lengths(text, labels.shape), labels == value)


ODD = b"m\xfcll".decode(errors="surrogateescape")  # as Python gives file names that are no text


def test_ids_that_are_no_text_are_escaped_in_tables(path):
    write_run_lengths(path("a.csv"), [NamedLabels(ODD, [[3]]), NamedLabels("plain", [[1]])])
    assert pd.read_csv(path("a.csv"))["ImageId"].tolist() == [r"m\udcfcll", "plain"]
    pytest.importorskip("pyarrow")
    write_parquet(path("a.parquet"), [NamedLabels(ODD, [[3]]), NamedLabels("plain", [[1]])])
    assert pd.read_parquet(path("a.parquet"))["image"].tolist() == [r"m\udcfcll", "plain"]


def test_pandas_reads_the_parquet_file(path):
    pytest.importorskip("pyarrow")
    grey = measure([[1, 2]], image=[[5, 9]])
    colour = measure([[4, 4]], image=np.ones((1, 2, 3)))
    images = [
        NamedLabels("a", [[1, 2]], "a.tif", measurements=grey),
        NamedLabels("b", [[4, 4]], "b.tif", measurements=colour),
        NamedLabels("c", [[0, 0]], "c.tif"),
    ]
    write_parquet(path("n.parquet"), images)
    back = pd.read_parquet(path("n.parquet"))
    assert back["image"].tolist() == ["a.tif", "a.tif", "b.tif"]
    assert back["label"].tolist() == [1, 2, 4]
    expected = pd.concat([grey, colour], ignore_index=True)
    pd.testing.assert_frame_equal(back.drop(columns="image"), expected)
    write_parquet(path("named.parquet"), [NamedLabels("a", [[1]], measurements=grey[1:].assign(image="plate/a.tif"))])
    assert pd.read_parquet(path("named.parquet"))["image"].tolist() == ["plate/a.tif"]
    write_parquet(path("empty.parquet"), images[2:])
    assert list(pd.read_parquet(path("empty.parquet")).columns) == ["image", *measure([[0]]).columns]


def test_tables_need_images_and_endings(path):
    pytest.importorskip("pyarrow")
    with pytest.raises(InvalidInputError, match="at least one image"):
        write_parquet(path("a.parquet"), [])
    with pytest.raises(InvalidInputError, match=r"end in .parquet"):
        write_parquet(path("a.csv"), [NamedLabels("a", [[1]])])
    with pytest.raises(InvalidInputError, match=r"end in .csv"):
        write_run_lengths(path("a.txt"), [])


# What is exported


def test_named_labels_are_checked():
    with pytest.raises(InvalidInputError, match="labels must be integers"):
        NamedLabels("a", [[0.5]])
    with pytest.raises(InvalidInputError, match="pixel_size must be"):
        NamedLabels("a", [[1]], pixel_size=-1)
    assert NamedLabels("a", [[1]]).file_name == "a"
