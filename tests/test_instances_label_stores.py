"""Labels larger than memory on disk: what other programs find there, and that they are complete or not there."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import tifffile

from nucleiseg.errors import InvalidInputError, MissingPackageError
from nucleiseg.images import open_lazy, read_micrograph
from nucleiseg.instances.label_stores import write_label_store

zarr = pytest.importorskip("zarr")


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(0).integers(0, 2**30, (1100, 700)).astype(np.int32)


@pytest.mark.parametrize(("pixel_size", "scale"), [(0.25, 0.25), (None, 1.0)])
def test_an_ome_zarr_is_what_its_specification_says(labels, pixel_size, scale, tmp_path):
    """Version 0.4: https://ngff.openmicroscopy.org/0.4/"""
    path = tmp_path / "a.ome.zarr"
    write_label_store(path, labels.shape, lambda rows: labels[rows], pixel_size)
    unit = {"unit": "micrometer"} if pixel_size else {}
    assert json.loads((path / ".zattrs").read_text()) == {
        "multiscales": [
            {
                "version": "0.4",
                "name": "a.ome.zarr",
                "axes": [{"name": "y", "type": "space", **unit}, {"name": "x", "type": "space", **unit}],
                "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [scale, scale]}]}],
            }
        ],
        "image-label": {"version": "0.4"},
        "software": "nucleiseg",
    }
    assert json.loads((path / ".zgroup").read_text()) == {"zarr_format": 2}
    layout = json.loads((path / "0" / ".zarray").read_text())
    assert (layout["dtype"], layout["chunks"], layout["shape"]) == ("<i4", [512, 512], [1100, 700])
    assert layout["dimension_separator"] == "/"
    assert (path / "0" / "2" / "1").is_file()
    np.testing.assert_array_equal(zarr.open_group(str(path), mode="r")["0"][...], labels)
    assert open_lazy(path).pixel_size == pixel_size


@pytest.mark.parametrize("pixel_size", [0.25, np.float32(0.25), None])
def test_a_zarr_is_an_array_that_says_what_it_is(labels, pixel_size, tmp_path):
    path = tmp_path / "further" / "a.zarr"
    write_label_store(path, labels.shape, lambda rows: labels[rows], pixel_size)
    array = zarr.open_array(str(path), mode="r")
    size = {"pixel_size": pixel_size} if pixel_size else {}
    assert dict(array.attrs) == {"software": "nucleiseg", "axes": "YX", **size}
    assert (array.dtype, array.chunks) == (np.int32, (512, 512))
    np.testing.assert_array_equal(array[...], labels)
    assert open_lazy(path).pixel_size == pixel_size


@pytest.mark.parametrize("pixel_size", [0.25, 0.325, None])
@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.OME.TIFF"])
def test_a_tiff_is_tiled_and_knows_its_size(labels, name, pixel_size, tmp_path):
    path = tmp_path / name
    write_label_store(path, labels.shape, lambda rows: labels[rows], pixel_size)
    write_label_store(path, labels.shape, lambda rows: labels[rows], pixel_size)  # our own is replaced
    for read in (open_lazy, read_micrograph):
        assert read(path).pixel_size == (None if pixel_size is None else pytest.approx(pixel_size, rel=1e-6))
    with tifffile.TiffFile(path) as file:
        assert file.is_ome == ("ome" in name.lower())
        assert file.is_imagej == (not file.is_ome and pixel_size is not None)
        (page,) = file.pages
        assert (file.is_bigtiff, page.tile, page.dtype, page.software) == (True, (512, 512), np.int32, "nucleiseg")
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK
        np.testing.assert_array_equal(page.asarray(), labels)


@pytest.mark.parametrize("name", ["a.zarr", "a.ome.zarr", "a.tif"])
def test_labels_are_asked_for_from_top_to_bottom_once(labels, name, tmp_path):
    asked = []

    def bands(rows):
        asked.append((rows.start, rows.stop))
        return labels[rows]

    write_label_store(tmp_path / name, labels.shape, bands)
    assert asked == [(0, 512), (512, 1024), (1024, 1100)]


@pytest.mark.parametrize("name", ["a.zarr", "a.ome.zarr", "a.tif"])
def test_a_failure_leaves_what_was_there_and_a_success_replaces_it(labels, name, tmp_path):
    def broken(rows):
        if rows.start:
            raise OSError("disk full")
        return labels[rows]

    def stored():
        return open_lazy(tmp_path / name)[0:1100, 0:700]

    with pytest.raises(OSError, match="disk full"):
        write_label_store(tmp_path / name, labels.shape, broken)
    assert list(tmp_path.iterdir()) == []
    write_label_store(tmp_path / name, labels.shape, lambda rows: labels[rows])
    with pytest.raises(OSError, match="disk full"):
        write_label_store(tmp_path / name, labels.shape, broken)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(stored(), labels)
    write_label_store(tmp_path / name, labels.shape, lambda rows: labels[rows] + 1)
    np.testing.assert_array_equal(stored(), labels + 1)


def test_without_zarr_the_error_says_what_it_is_needed_for(labels, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingPackageError, match=r"writing Zarr needs .*zarr.*pip install .*nucleiseg\[zarr\]"):
        write_label_store(tmp_path / "a.zarr", labels.shape, lambda rows: labels[rows])


@pytest.mark.parametrize("name", ["a.zarr", "a.ome.zarr", "a.tif"])
def test_what_others_wrote_is_not_replaced(labels, name, tmp_path):
    if name == "a.tif":
        tifffile.imwrite(tmp_path / name, labels)
    elif name == "a.zarr":
        zarr.save(str(tmp_path / name), labels)
    else:
        zarr.open_group(str(tmp_path / name), mode="w", zarr_format=2).attrs["software"] = "another"
    with pytest.raises(InvalidInputError, match=f"{name} would be replaced, but nucleiseg did not write it; choose"):
        write_label_store(tmp_path / name, labels.shape, lambda rows: labels[rows])
