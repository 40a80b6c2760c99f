"""Images that a file has in several sizes: what is read of each of them, part by part and as a whole."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from stubs import MODEL, Echo

import nucleiseg.large
from nucleiseg import PredictOptions
from nucleiseg.images import ReadOptions, open_lazy, read_image

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
