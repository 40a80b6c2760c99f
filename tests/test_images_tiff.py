"""TIFF files that say more, or other things, than most."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from nucleiseg.errors import ImageFileError
from nucleiseg.images import read_image
from nucleiseg.images.lazy import open_lazy
from nucleiseg.images.read_options import ReadOptions
from nucleiseg.images.reading import read_labels
from nucleiseg.images.sources import open_micrograph

GREY = np.arange(30, dtype=np.uint8).reshape(5, 6)


@pytest.fixture
def no_imagecodecs(monkeypatch):
    """As where it is not installed."""

    def refuse(self, **kwargs):
        raise ValueError("LZW requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", refuse)


def packed_pyramid(path):
    """OME with one smaller level in a page within the page; what tifffile packs without help stands for LZW."""
    names = {"axes": "YX", "Channel": {"Name": ["DAPI"]}, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(np.repeat(np.repeat(GREY, 2, 0), 2, 1), subifds=1, metadata=names, compression="zlib")
        writer.write(GREY, subfiletype=1, compression="zlib")
    return path


def test_pillow_keeps_what_the_file_says(tmp_path, no_imagecodecs):
    path = packed_pyramid(tmp_path / "a.ome.tif")
    found = open_micrograph(path, ReadOptions(channel="DAPI"))
    assert (found.pixel_size, found.channels, found.shown.shape) == (0.5, ("DAPI",), (10, 12))


def test_pillow_sees_no_smaller_level(tmp_path, no_imagecodecs):
    path = packed_pyramid(tmp_path / "a.ome.tif")
    with pytest.raises(ImageFileError, match="pip install imagecodecs"):
        read_image(path, ReadOptions(level=1))


def test_pillow_turns_nothing_about(tmp_path, no_imagecodecs):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, photometric="miniswhite", compression="zlib")
    np.testing.assert_array_equal(read_image(path), GREY)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("bits", [2, 4])
def test_pillow_stretches_nothing(bits, photometric, tmp_path, no_imagecodecs):
    path, numbers = tmp_path / "a.tif", np.arange(2**bits, dtype=np.uint8)
    packed = np.packbits(np.unpackbits(numbers[:, np.newaxis], axis=1)[:, -bits:])
    tifffile.imwrite(path, packed[np.newaxis], photometric=photometric, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["ImageWidth"].overwrite(numbers.size)
        file.pages.first.tags["BitsPerSample"].overwrite(bits)
    assert read_image(path).tolist() == read_labels(path).tolist() == [numbers.tolist()]


@pytest.mark.parametrize("count", [2, 4])
def test_samples_that_are_no_alpha_are_channels(count, tmp_path):
    path, stains = tmp_path / "a.tif", np.dstack([GREY + 40 * number for number in range(count)])
    tifffile.imwrite(path, stains, photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageFileError, match=f"has {count} channels .* say which one shows the nuclei"):
        open_micrograph(path, ReadOptions())
    last = open_micrograph(path, ReadOptions(channel=count - 1))
    np.testing.assert_array_equal(last.shown, stains[..., -1])


def test_alpha_that_is_said_to_be_alpha_needs_no_channel(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.dstack([GREY, GREY]), photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]
    )
    assert open_micrograph(path, ReadOptions()).shown.shape == (5, 6, 2)


def scenes_in_two_files(folder):
    """Each of both OME files says that the other has the second scene."""
    described = """<?xml version="1.0" encoding="UTF-8"?>
    <OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{mine}">{images}</OME>"""
    image = """<Image ID="Image:{number}" Name="{name}">
    <Pixels ID="Pixels:{number}" DimensionOrder="XYZCT" Type="uint8" SizeX="6" SizeY="5" SizeZ="1" SizeC="1" SizeT="1">
    <Channel ID="Channel:{number}:0" SamplesPerPixel="1"/>
    <TiffData IFD="0" PlaneCount="1"><UUID FileName="{name}.ome.tif">urn:uuid:{uuid}</UUID></TiffData>
    </Pixels></Image>"""
    parts = {"A": "11111111-1111-1111-1111-111111111111", "B": "22222222-2222-2222-2222-222222222222"}
    images = "".join(image.format(number=n, name=name, uuid=uuid) for n, (name, uuid) in enumerate(parts.items()))
    for value, (name, mine) in enumerate(parts.items(), start=1):
        text = described.format(mine=mine, images=images)
        tifffile.imwrite(folder / f"{name}.ome.tif", GREY + value, description=text, metadata=None)


def test_a_scene_in_another_file_is_read_from_there(tmp_path):
    scenes_in_two_files(tmp_path)
    for name in "AB":
        for scene in (0, 1):
            path, options = tmp_path / f"{name}.ome.tif", ReadOptions(scene=scene)
            np.testing.assert_array_equal(read_image(path, options), GREY + scene + 1)
            np.testing.assert_array_equal(open_lazy(path, options)[:, :], GREY + scene + 1)


def test_inks_become_colours_or_are_refused(tmp_path):
    colours = np.dstack([GREY * 8, 255 - GREY * 8, GREY])
    file = BytesIO()
    printed = Image.fromarray(colours).convert("CMYK")
    printed.save(file, "tiff")
    path = tmp_path / "a.tif"
    path.write_bytes(file.getvalue())
    np.testing.assert_array_equal(read_image(path), np.asarray(printed.convert("RGB")))
    with pytest.raises(ImageFileError, match=r"must be red, green and blue .*, got SEPARATED of 8 bits; save .* RGB"):
        open_lazy(path)
    tifffile.imwrite(path, np.zeros((5, 6, 4), np.uint16), photometric="separated")
    with pytest.raises(ImageFileError, match="got SEPARATED of 16 bits"):
        read_image(path)
    tifffile.imwrite(path, np.zeros((5, 6, 3), np.uint8), photometric="cielab")
    with pytest.raises(ImageFileError, match="got CIELAB of 8 bits"):
        read_image(path)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
def test_luma_and_chroma_become_colours_or_are_refused(compression, tmp_path):
    """Those of JPEG are converted where they are decoded."""
    path, colours = tmp_path / "a.tif", np.full((16, 16, 3), (200, 30, 120), np.uint8)
    converted = Image.fromarray(colours).convert("YCbCr")
    converted.save(path, compression=compression)
    assert np.abs(read_image(path).astype(int) - colours).max() <= 5
    if compression == "jpeg":
        assert np.abs(open_lazy(path)[0:16, 0:16].astype(int) - colours).max() <= 5
        return
    with pytest.raises(ImageFileError, match=r"must be red, green and blue .*, got YCBCR of 8 bits; save .* RGB"):
        open_lazy(path)
    for pixels in (np.stack([converted] * 2), np.asarray(converted, np.uint16)):  # of one page, Pillow knows 8 bits
        tifffile.imwrite(path, pixels, photometric="ycbcr", compression="zlib")
        with pytest.raises(ImageFileError, match="got YCBCR of "):
            read_image(path)


@pytest.mark.parametrize("white", [255, 65_535])
def test_a_palette_of_8_bits_is_not_black(white, tmp_path):
    path = tmp_path / "a.tif"
    palette = np.linspace(0, white, 256).astype(np.uint16)
    tifffile.imwrite(path, GREY, photometric="palette", colormap=np.stack([palette] * 3))
    for read in (read_image, lambda path: open_lazy(path)[0:5, 0:6]):
        np.testing.assert_array_equal(read(path), np.dstack([GREY] * 3))


def test_pillow_gives_indices_of_which_the_palette_makes_colours(tmp_path, no_imagecodecs):
    path, palette = tmp_path / "a.tif", np.tile(np.arange(256, dtype=np.uint16), (3, 1))
    tifffile.imwrite(path, GREY, photometric="palette", colormap=palette, compression="zlib")
    np.testing.assert_array_equal(read_image(path), np.dstack([GREY] * 3))


@pytest.mark.parametrize("size", ["0,325", "about half a micron"])
def test_a_size_that_is_no_number_is_none(size, tmp_path):
    path = tmp_path / "a.ome.tif"
    sizes = {"PhysicalSizeX": 0.325, "PhysicalSizeY": 0.325}
    tifffile.imwrite(path, GREY, metadata={"axes": "YX", **sizes})
    described = tifffile.tiffcomment(path).replace("0.325", size)
    tifffile.tiffcomment(path, described.encode())
    found = open_micrograph(path, ReadOptions(pixel_size=0.25))
    assert found.pixel_size == 0.25
    assert open_micrograph(path, ReadOptions()).pixel_size is None


def test_a_file_whose_directory_was_cut_off_is_told(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)).save(path, compression="tiff_lzw")
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ImageFileError, match=r"a\.tif: must hold an image, got none; it was cut short or damaged"):
        read_image(path)
