from __future__ import annotations

import struct
import sys
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from nucleiseg._png import SIGNATURE, chunk
from nucleiseg.errors import ImageFileError, InvalidInputError
from nucleiseg.images import decoding
from nucleiseg.images.decoding import decode_image, decode_labels, decode_mask
from nucleiseg.images.read_options import ReadOptions
from nucleiseg.images.reading import find_images, read_image, read_labels

EXAMPLES = settings(max_examples=30, deadline=None)


def arrays(dtype, channels=(None,)):
    def of(channel):
        last = () if channel is None else (channel,)
        return st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda s: hnp.arrays(dtype, (*s, *last)))

    return st.sampled_from(channels).flatmap(of)


def packed(array, kind, **options):
    file = BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def tiff(array, **options):
    file = BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def png16(pixels, filters, interlaced=0):
    """A 16-bit colour PNG by the book, each row with a filter of its own."""
    height, width, channels = pixels.shape
    step = 2 * channels
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, width * step).astype(int)
    out = b""
    for index in range(height):
        row, above = rows[index], rows[index - 1] if index else np.zeros(width * step, int)
        left = np.concatenate([np.zeros(step, int), row[:-step]])
        corner = np.concatenate([np.zeros(step, int), above[:-step]])
        guess = left + above - corner
        a, b, c = abs(guess - left), abs(guess - above), abs(guess - corner)
        paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, above, corner))
        base = [0 * row, left, above, (left + above) // 2, paeth][filters[index % len(filters)]]
        out += bytes([filters[index % len(filters)]]) + ((row - base) % 256).astype(np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, interlaced)
    data = zlib.compress(out)
    chunks = [(b"IHDR", header), (b"IDAT", data[:7]), (b"IDAT", data[7:]), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


@EXAMPLES
@given(arrays(np.uint8, (None, 2, 3, 4)))
def test_png_of_8_bits_comes_back(image):
    read = decode_image(packed(image, "png"), "a.png")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, image)


@EXAMPLES
@given(arrays(np.uint16))
def test_png_of_16_bits_comes_back(image):
    read = decode_image(packed(image, "png"), "a.png")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, image)


@EXAMPLES
@given(arrays(np.uint16, (2, 3, 4)), st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_png_of_16_bit_colours_keeps_all_bits(image, filters):
    read = decode_image(png16(image, filters), "a.png")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, image)


@EXAMPLES
@given(arrays(np.uint8, (None, 3)))
def test_bmp_comes_back(image):
    np.testing.assert_array_equal(decode_image(packed(image, "bmp"), "a.bmp"), image)


@EXAMPLES
@given(st.sampled_from([bool, "u1", "u2", "u4", "i2", "i4", "f4", "f8", ">u2"]).flatmap(arrays), st.booleans())
def test_tiff_of_any_type_comes_back(image, deflated):
    # Earlier versions of tifffile can't compress single bits.
    compression = "zlib" if deflated and image.dtype != bool else None
    read = decode_image(tiff(image, compression=compression), "a.tif")
    assert read.dtype == image.dtype.newbyteorder("=")
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_channels_of_a_tiff_come_last(dtype):
    image = np.arange(5 * 6 * 3).reshape(5, 6, 3).astype(dtype)
    planar = tiff(np.moveaxis(image, -1, 0), photometric="rgb", planarconfig="separate")
    imagej = tiff(np.moveaxis(image, -1, 0), imagej=True, metadata={"axes": "CYX", "Labels": ["Red", "Green", "Blue"]})
    for data in (tiff(image, photometric="rgb"), planar, imagej):
        read = decode_image(data, "a.tif")
        np.testing.assert_array_equal(read, image)
        assert read.flags.c_contiguous


def test_axes_of_length_one_are_left_out():
    image = np.arange(12, dtype=np.uint16).reshape(3, 4)
    np.testing.assert_array_equal(decode_image(tiff(image[None, None], photometric="minisblack"), "a.tif"), image)
    assert decode_image(tiff(image[:1], photometric="minisblack"), "a.tif").shape == (1, 4)


def test_jpeg_is_close():
    image = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    assert np.abs(decode_image(packed(image, "jpeg", quality=95), "a.jpg").astype(int) - image).max() < 8
    assert decode_image(packed(image[..., 0], "jpeg"), "a.jpg").shape == (16, 16)
    cmyk = BytesIO()
    Image.new("CMYK", (4, 3)).save(cmyk, "jpeg")
    assert decode_image(cmyk.getvalue(), "a.jpg").shape == (3, 4, 3)


def test_one_bit_png_is_bool():
    image = np.eye(5, 7, dtype=bool)
    read = decode_image(packed(image, "png"), "a.png")
    assert read.dtype == bool
    np.testing.assert_array_equal(read, image)


def test_palettes_are_colours_in_images_and_indices_in_labels():
    indices = np.array([[0, 1, 2]], np.uint8)
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    picture = Image.fromarray(indices).convert("L")
    picture.putpalette(colours.tobytes())
    png, transparent = BytesIO(), BytesIO()
    picture.save(png, "png")
    picture.save(transparent, "png", transparency=0)
    palette = np.zeros((3, 256), np.uint16)
    palette[:, :3] = colours.T.astype(np.uint16) * 257
    for data in (png.getvalue(), tiff(indices, photometric="palette", colormap=palette)):
        np.testing.assert_array_equal(decode_image(data, "a"), colours[indices])
        np.testing.assert_array_equal(decode_labels(data, "a"), indices)
    assert decode_image(transparent.getvalue(), "a")[0, :, 3].tolist() == [0, 255, 255]


LOOKUP = np.zeros((3, 256), np.uint16)
LOOKUP[1] = np.arange(256) * 257  # grey values in green


def of_imagej(array, planes=""):
    description = f"ImageJ=1.54f\n{planes}"
    return tiff(array, photometric="palette", colormap=LOOKUP, description=description, metadata=None)


def test_a_lookup_table_of_imagej_is_for_the_screen_only(tmp_path):
    grey = np.arange(30, dtype=np.uint8).reshape(5, 6)
    stack = np.stack([grey, grey + 100, grey + 50])
    for data, expected in ((of_imagej(grey), grey), (of_imagej(stack, "images=3\nslices=3\n"), grey + 100)):
        (tmp_path / "a.tif").write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read = read_image(tmp_path / "a.tif", ReadOptions(project="max"))
        np.testing.assert_array_equal(read, expected)
    coloured = tiff(grey, photometric="palette", colormap=LOOKUP, metadata=None)
    assert decode_image(coloured, "a.tif")[4, 5].tolist() == [0, 29, 0]


def test_a_palette_of_a_file_is_read_without_a_warning(tmp_path):
    """A file on disk is closed behind the array; bytes in memory are not."""
    indices = np.array([[0, 1, 2]], np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff(indices, photometric="palette", colormap=LOOKUP))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.tif")[0, :, 1].tolist() == [0, 1, 2]


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "group4"])
def test_pillow_helps_with_compressed_tiffs(compression):
    image = np.zeros((16, 16), bool if compression == "group4" else np.uint8)
    image[4:9, 4:9] = 1
    read = decode_image(packed(image, "tiff", compression=compression), "a.tif")
    assert read.dtype == image.dtype
    np.testing.assert_allclose(read.astype(int), image, atol=2)


def test_pillow_decodes_what_tifffile_would_have_another_package_do(monkeypatch):
    """As where imagecodecs is not installed."""

    def refuse(self, **kwargs):
        raise ValueError("LZW requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", refuse)
    indices = np.arange(30, dtype=np.uint8).reshape(5, 6)
    colours = np.dstack([indices, indices + 50, indices + 100])
    painted = Image.new("P", (6, 5))
    palette = [value for number in range(256) for value in (number, 255 - number, 7)]
    painted.putdata(indices.ravel().tolist())
    painted.putpalette(palette)
    file = BytesIO()
    painted.save(file, "tiff", compression="tiff_lzw")
    for image in (indices, colours):
        data = packed(image, "tiff", compression="tiff_lzw")
        np.testing.assert_array_equal(decode_image(data, "a.tif"), image)
    shown = np.reshape(palette, (256, 3))[indices]
    np.testing.assert_array_equal(decode_image(file.getvalue(), "a.tif"), shown)
    np.testing.assert_array_equal(decode_labels(file.getvalue(), "a.tif"), indices)
    file = BytesIO()
    painted.save(file, "tiff", compression="tiff_lzw", description="ImageJ=1.54f\n")
    np.testing.assert_array_equal(decode_image(file.getvalue(), "a.tif"), indices)


def test_tiff_that_only_another_package_can_decode(monkeypatch):
    def refuse(self, **kwargs):
        raise ValueError("LZW requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", refuse)
    with pytest.raises(ImageFileError, match="pip install imagecodecs"):
        decode_image(tiff(np.zeros((5, 6, 3), np.uint16), photometric="rgb"), "a.tif")


@pytest.mark.parametrize("bits", [2, 4])
def test_labels_of_few_bits_are_as_they_are_stored(bits):
    """As grey values they go from black to white."""
    numbers = np.arange(2**bits, dtype=np.uint8)
    packed = np.packbits(np.unpackbits(numbers[:, np.newaxis], axis=1)[:, -bits:]).tobytes()
    header = struct.pack(">IIBBBBB", numbers.size, 1, bits, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + packed)), (b"IEND", b"")]
    data = SIGNATURE + b"".join(chunk(*part) for part in parts)
    assert decode_labels(data, "x").tolist() == [numbers.tolist()]
    assert decode_image(data, "x").max() == 255


def test_masks_saved_as_colours_are_labels():
    mask = (np.eye(4) * 255).astype(np.uint8)
    alpha = np.full_like(mask, 200)
    for channels in ([mask] * 3, [mask] * 3 + [alpha], [mask, alpha]):
        np.testing.assert_array_equal(decode_labels(packed(np.dstack(channels), "png"), "a"), mask)


def test_labels_must_be_whole_numbers_of_one_channel():
    with pytest.raises(ImageFileError, match="got colours"):
        decode_labels(packed(np.random.default_rng(0).integers(0, 9, (4, 4, 3), np.uint8), "png"), "a.png")
    with pytest.raises(ImageFileError, match="whole numbers"):
        decode_labels(tiff(np.full((4, 4), 0.5, np.float32)), "a.tif")


def test_whole_numbers_may_be_floats():
    labels = np.array([[0, 1], [65_536, 2**24]])
    np.testing.assert_array_equal(decode_labels(tiff(labels.astype(np.float32)), "a.tif"), labels)
    for wrong in (-1, 0.5, np.nan, np.inf, 2.0**60):
        with pytest.raises(ImageFileError, match="whole numbers"):
            decode_labels(tiff(np.array([[0, wrong]], np.float64)), "a.tif")


@EXAMPLES
@given(st.sampled_from([bool, np.uint8, np.uint16]).flatmap(arrays))
def test_cut_out_mask_is_the_mask(mask):
    shape, (row, column), inside, grey = decode_mask(packed(mask, "png"), "a.png")
    whole = np.zeros(shape, bool)
    whole[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    assert grey == (len(np.unique(mask[mask != 0])) > 1)
    np.testing.assert_array_equal(whole, mask > mask.max() / 2 if grey else mask != 0)


def test_damaged_and_large_masks_are_refused(monkeypatch):
    data = packed(np.eye(50, dtype=np.uint8), "png")
    with pytest.raises(ImageFileError, match="cannot be decoded"):
        decode_mask(data[:60], "a.png")
    monkeypatch.setattr(decoding, "MAX_PIXELS", 2499)
    with pytest.raises(ImageFileError, match="50 x 50 is more than 2499 pixels"):
        decode_mask(data, "a.png")


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "tiff", "png16"])
def test_every_cut_gives_one_clear_error_and_no_warning(kind):
    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    data = png16(image.astype(np.uint16), [1]) if kind == "png16" else packed(image, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for length in (0, 1, 5, 9, 20, 30, 60, len(data) // 2, len(data) - len(data) // 4):
            with pytest.raises(ImageFileError) as caught:
                decode_image(data[:length], "a.img")
            assert str(caught.value).startswith("a.img: ")
            assert "\n" not in str(caught.value)


def test_other_failures_say_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "table.csv").write_text("a,b")
    Image.new("L", (40, 30)).save(tmp_path / "grey.png")
    for name, message in {
        "missing.png": "no such file",
        "empty.png": "empty",
        "text.png": "not a PNG, JPEG, BMP or TIFF",
        "table.csv": "unknown ending '.csv'",
        ".": "is a folder",
    }.items():
        for read in (read_image, read_labels):
            with pytest.raises(ImageFileError, match=message):
                read(tmp_path / name)
    with pytest.raises(ImageFileError, match=r"30 x 40 is more than 1199 pixels.*--max-pixels"):
        read_image(tmp_path / "grey.png", ReadOptions(max_pixels=1199))
    assert read_labels(str(tmp_path / "grey.png"), max_pixels=1200).shape == (30, 40)

    def refuse(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageFileError, match="Permission denied"):
        read_image(tmp_path / "grey.png")


def test_tiffs_with_more_than_one_image_are_refused():
    with pytest.raises(ImageFileError, match=r"stack of shape \(5, 30, 40\)"):
        decode_image(tiff(np.zeros((5, 30, 40), np.uint8), photometric="minisblack"), "a.tif")
    with pytest.raises(ImageFileError, match="stack of shape"):
        decode_image(tiff(np.zeros((2, 3, 30, 40), np.uint8), imagej=True, metadata={"axes": "ZCYX"}), "a.tif")
    with pytest.raises(ImageFileError, match="more than 10 pixels"):
        decode_image(tiff(np.zeros((4, 4), np.uint8)), "a.tif", max_pixels=10)
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(np.zeros((30, 40), np.uint8))
        writer.write(np.zeros((20, 20), np.uint16))
    with pytest.raises(ImageFileError, match=r"got 2; choose one with --scene 0 .*: 0 \(30, 40\), 1 \(20, 20\)"):
        decode_image(file.getvalue(), "a.tif")


def test_interlaced_16_bit_colours_are_refused():
    with pytest.raises(ImageFileError, match="interlac"):
        decode_image(png16(np.zeros((4, 4, 3), np.uint16), [0], interlaced=1), "a.png")


def test_large_image_gives_no_warning_of_pillow(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode_image(packed(np.zeros((4, 4), np.uint8), "png"), "a.png")
        monkeypatch.setattr(decoding, "_CROPPED_BY_PILLOW", 10)
        assert decode_mask(packed(np.eye(5, 9, 1, np.uint8), "png"), "a.png")[2].sum() == 5


def test_images_are_found_in_files_folders_and_patterns(tmp_path):
    for name in ("b.TIF", "a.png", "c.txt", ".hidden.png", "inner/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(*inputs):
        return [path.name for path in find_images(inputs)]

    assert names(tmp_path) == ["a.png", "b.TIF"]
    assert names(tmp_path / "b.TIF", str(tmp_path), f"{tmp_path}/*") == ["b.TIF", "a.png"]
    assert names(f"{tmp_path}/**/*.jpg") == ["d.jpg"]
    assert names(tmp_path / "c.txt") == ["c.txt"]
    assert find_images(str(tmp_path)) == find_images([tmp_path])
    for inputs in ([f"{tmp_path}/*.bmp"], [tmp_path, tmp_path / "*.txt"]):
        with pytest.raises(InvalidInputError, match="no images found in"):
            find_images(inputs)
    with pytest.raises(InvalidInputError, match=r"missing.png: no such file or folder; check the path$"):
        find_images([tmp_path / "a.png", tmp_path / "missing.png"])
    with pytest.raises(InvalidInputError, match="no images given"):
        find_images([])


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_that_lead_nowhere_are_not_left_out(tmp_path):
    """Such as into storage that was cleared: reading them fails, and that is told."""
    (tmp_path / "folder").mkdir()
    for name, target in {"a.png": "gone.png", "b.png": "folder", "c.txt": "gone"}.items():
        (tmp_path / name).symlink_to(tmp_path / target)
    (path,) = find_images([tmp_path])
    assert path.name == "a.png"
    with pytest.raises(ImageFileError, match=r"a\.png: no such file; check the path"):
        read_image(path)


@pytest.mark.parametrize("name", [".zarray", ".zgroup", "zarr.json"])
def test_a_zarr_among_images_says_how_it_is_read(name, tmp_path):
    told = r", which is read part by part; pass one Zarr, and a \.zarr or \.tif file as --output "
    for folder in ("slide", "slide.zarr"):
        (tmp_path / "plate" / folder).mkdir(parents=True)
    (tmp_path / "plate" / "slide" / name).touch()
    for folder in ("slide", "slide.zarr"):
        with pytest.raises(InvalidInputError, match=f"^{tmp_path}/plate/{folder} is a Zarr{told}"):
            find_images([tmp_path / "plate" / folder])
    for item in (tmp_path / "plate", f"{tmp_path}/plate/*.zarr", f"{tmp_path}/**/*.zarr"):
        with pytest.raises(InvalidInputError, match=rf"^no image files found in .*, only Zarr such as .*{told}"):
            find_images([item])
    (tmp_path / "plate" / "a.tif").touch()  # beside images, Zarrs are left out as other files are
    assert [path.name for path in find_images([tmp_path / "plate"])] == ["a.tif"]


def test_a_folder_whose_images_lie_deeper_says_where(tmp_path, monkeypatch):
    for name in ("plate[7]/notes.txt", "plate[7]/.cache/a.png", "plate[7]/A01/thumbs/b.txt", "plate[7]/A02/z/c.TIF"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match="subfolders are not searched, of which 'plate.*z' holds") as caught:
        find_images(["plate[7]"])
    pattern = str(caught.value).split('"')[1]
    assert Path(pattern) == Path("plate[[]7]/**/*.TIF")
    assert find_images([pattern]) == [Path("plate[7]/A02/z/c.TIF")]
    (tmp_path / "plate[7]" / "A02" / "z" / "c.TIF").unlink()
    with pytest.raises(InvalidInputError, match="known endings"):
        find_images(["plate[7]"])
