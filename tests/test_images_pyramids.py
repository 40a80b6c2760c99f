"""Images that a file has in several sizes: what is read of each of them, part by part and as a whole."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from stubs import MODEL, Echo

import nucleiseg.large
from nucleiseg import PredictOptions
from nucleiseg.errors import ImageFileError
from nucleiseg.images import ReadOptions, open_lazy, read_image, read_micrograph

pytest.importorskip("zarr")


def write_pyramid(path, pixels, axes, kind="ome", **how):
    """Two levels: as OME, in a page within the page (``sub``), or in the next page, as GeoTIFF has them (``next``)."""
    rows, columns = (axes.index(axis) for axis in "YX")
    half = pixels.take(range(0, pixels.shape[rows], 2), rows).take(range(0, pixels.shape[columns], 2), columns)
    how |= {"photometric": "rgb" if "S" in axes else "minisblack"}
    if axes == "CYX" and kind != "ome":
        how["planarconfig"] = "separate"  # one page has all of them
    with tifffile.TiffWriter(path, ome=kind == "ome") as writer:
        metadata = {"axes": axes} if kind == "ome" else None
        writer.write(pixels, subifds=0 if kind == "next" else 1, metadata=metadata, **how)
        writer.write(half, subfiletype=1, metadata=None, **how)
    return half


@pytest.mark.parametrize("how", [{}, {"tile": (32, 32)}, {"compression": "zlib"}])
@pytest.mark.parametrize("kind", ["ome", "sub", "next"])
@pytest.mark.parametrize(("axes", "shape"), [("YX", (80, 70)), ("CYX", (3, 80, 70)), ("YXS", (80, 70, 3))])
def test_every_level_of_a_pyramid_is_read_part_by_part(axes, shape, kind, how, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 60000, shape, np.uint16)
    levels = pixels, write_pyramid(tmp_path / "a.tif", pixels, axes, kind, **how)
    for level, expected in enumerate(levels):
        options = ReadOptions(axes=axes, channel=1 if axes == "CYX" else None, level=level)
        shown = expected[1] if axes == "CYX" else expected
        np.testing.assert_array_equal(open_lazy(tmp_path / "a.tif", options)[9:37, 3:35], shown[9:37, 3:35])
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif", options), shown)


@pytest.mark.parametrize(("level", "side"), [(0, 96), (1, 48)])
def test_a_level_of_a_pyramid_is_predicted_from_file_to_file(level, side, tmp_path, monkeypatch):
    model = SimpleNamespace(_engine=Echo(), _settings=MODEL)
    monkeypatch.setattr(nucleiseg.large, "load_segmenter", lambda _: model)
    pixels = np.zeros((96, 96), np.uint8)
    pixels[8:80:24, 20:60] = 200
    write_pyramid(tmp_path / "a.ome.tif", pixels, "YX", tile=(32, 32), compression="zlib")
    options = PredictOptions(scale=1, reading=ReadOptions(level=level))
    assert nucleiseg.large.predict_large("any", tmp_path / "a.ome.tif", tmp_path / "labels.tif", options) == 3
    labels = tifffile.imread(tmp_path / "labels.tif")
    assert (labels.shape, labels.max()) == ((side, side), 3)


def write_zarr(path, *levels):
    """An OME-Zarr of levels, each of which has a shape and maybe the size of a pixel."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    datasets = []
    for number, (shape, *size) in enumerate(levels):
        group.create_array(str(number), shape=shape, dtype="u1")
        steps = [{"type": "scale", "scale": scale} for scale in size]
        datasets.append({"path": str(number), **({"coordinateTransformations": steps} if steps else {})})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": datasets}]
    return path


@pytest.mark.parametrize(
    ("full", "level", "size"),
    [
        (((20, 4000), [0.25, 0.25]), ((3, 500), [2.0, 2.0]), 2.0),  # 20 / 3 is more by a tenth
        (((20, 4000), [0.25, 0.25]), ((3, 500),), 2.0),
        (((1030, 1030), [0.25, 0.25]), ((32, 32), [8.0, 8.0]), 8.0),
        (((100, 400), [0.5, 0.5]), ((100, 200), [0.5, 1.0]), None),
        (((100, 400), [0.5, 0.5]), ((100, 200),), None),
        (((400, 100), [0.5, 1.0]), ((200, 100), [1.0, 1.0]), 1.0),
    ],
)
def test_a_level_of_an_ome_zarr_has_the_size_that_it_says(full, level, size, tmp_path):
    image = open_lazy(write_zarr(tmp_path / "a.zarr", full, level), ReadOptions(level=1))
    assert image.pixel_size == image.read(slice(0, 1), slice(0, 1)).pixel_size == size


@pytest.mark.parametrize(
    ("rows", "columns", "shape", "scale"),
    [(8, 8, (20, 4000), 8.0), (8, 8, (4000, 20), 8.0), (2, 2, (1, 31), 31 / 16), (1, 2, (30, 40), None)],
)
def test_a_level_of_a_tiff_has_a_size_if_both_sides_are_shrunk_alike(rows, columns, shape, scale, tmp_path):
    pixels = np.zeros(shape, np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        metadata = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
        writer.write(pixels, subifds=1, metadata=metadata)
        writer.write(pixels[::rows, ::columns], subfiletype=1)
    size = None if scale is None else 0.25 * scale
    for read in (open_lazy, read_micrograph):
        assert read(tmp_path / "a.ome.tif", ReadOptions(level=1)).pixel_size == size
        if scale is not None:
            assert read(tmp_path / "a.ome.tif", ReadOptions(level=1, pixel_size=3)).pixel_size == 3 * scale


def test_a_size_that_is_given_is_of_square_pixels_which_not_every_level_has(tmp_path):
    path = write_zarr(tmp_path / "a.zarr", ((100, 400),), ((100, 200),))
    told = r"a\.zarr: pixel_size is of square pixels, got 0\.5 for level 1, of 100 × 200 pixels where level 0 has 100 ×"
    with pytest.raises(ImageFileError, match=told):
        open_lazy(path, ReadOptions(level=1, pixel_size=0.5))
    assert open_lazy(path, ReadOptions(level=0, pixel_size=0.5)).pixel_size == 0.5
