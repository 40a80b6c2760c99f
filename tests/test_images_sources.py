"""One image in memory, wherever it comes from."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nucleiseg.errors import ImageFileError, InvalidInputError
from nucleiseg.images import ReadOptions, open_lazy
from nucleiseg.images.sources import open_micrograph


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)


def test_files_and_arrays_are_read_as_ever(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), pixels, pixels.tolist()):
        np.testing.assert_array_equal(open_micrograph(source).shown, pixels)


@pytest.mark.parametrize("name", ["a.zarr", "no_ending"])
@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_gives_its_pixels_by_path_and_as_array(name, version, pixels, tmp_path):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / name
    array = zarr.create_array(str(path), shape=pixels.shape, dtype="u1", chunks=(16, 16, 3), zarr_format=version)
    array[...] = pixels
    for source in (path, str(path), array, open_lazy(path)):
        np.testing.assert_array_equal(open_micrograph(source).shown, pixels)


def test_a_dask_array_gives_its_pixels(pixels):
    array = pytest.importorskip("dask.array").from_array(pixels, chunks=(16, 16, 3))
    np.testing.assert_array_equal(open_micrograph(array).shown, pixels)


def test_the_options_choose_channel_and_pixel_size(pixels):
    array = pytest.importorskip("dask.array").from_array(pixels.transpose(2, 0, 1))
    found = open_micrograph(array, ReadOptions(channel=1, pixel_size=0.5))
    np.testing.assert_array_equal(found.shown, pixels[..., 1])
    assert (found.pixels.shape, found.pixel_size) == ((40, 60, 3), 0.5)


def test_one_that_is_too_large_is_not_read_and_the_remedy_named():
    class Huge:
        shape, dtype, chunks = (50_000, 40_000), np.dtype("u1"), (512, 512)

        def __getitem__(self, window):
            rows, columns = window
            assert (rows.stop - rows.start) * (columns.stop - columns.start) == 1, "read"
            return np.zeros((1, 1), np.uint8)

    with pytest.raises(
        InvalidInputError, match=r"at most 268,435,456 pixels, got image with 50,000 x 40,000.*predict_large"
    ):
        open_micrograph(Huge())


def test_the_options_say_how_many_pixels_are_too_many(pixels, tmp_path):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=pixels.shape, dtype="u1", chunks=(16, 16, 3))
    array[...] = pixels
    enough, few = ReadOptions(max_pixels=40 * 60), ReadOptions(max_pixels=40 * 60 - 1)
    for source in (tmp_path / "a.zarr", array):
        np.testing.assert_array_equal(open_micrograph(source, enough).shown, pixels)
        with pytest.raises(InvalidInputError, match=r"at most 2,399 pixels, got .* with 40 x 60; .*--max-pixels"):
            open_micrograph(source, few)
    with pytest.raises(InvalidInputError, match="at most 2,399 pixels"):
        open_micrograph(open_lazy(tmp_path / "a.zarr", few), enough)


def test_a_folder_that_is_no_zarr(tmp_path):
    with pytest.raises(ImageFileError, match="is a folder, not an image; pass the files in it"):
        open_micrograph(tmp_path)
