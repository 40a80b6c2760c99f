from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import skimage.data
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from nucleiseg import _png
from nucleiseg._png import SIGNATURE, chunk, write_bands

SHAPES = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 12)), st.tuples(st.integers(1, 40), st.integers(1, 12), st.just(3))
)


def written(pixels):
    write_bands(file := BytesIO(), pixels.shape, [pixels], "nucleiseg")
    return file.getvalue()


def chunks_of(data):
    """Kind and body of each chunk, whose checksums are right."""
    assert data.startswith(SIGNATURE)
    position, found = len(SIGNATURE), []
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        assert struct.unpack(">I", data[position + 8 + length : position + 12 + length]) == (zlib.crc32(kind + body),)
        found.append((kind, body))
        position += 12 + length
    return found


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, SHAPES), st.sampled_from([1, 30, 1 << 20]), st.booleans())
def test_pictures_come_back_however_they_are_cut(pixels, at_once, turned):
    pixels = pixels.swapaxes(0, 1) if turned else pixels
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_png, "_AT_ONCE", at_once)
        data = written(pixels)
    with Image.open(BytesIO(data)) as picture:
        assert picture.format == "PNG"
        np.testing.assert_array_equal(np.asarray(picture), pixels)
    with Image.open(BytesIO(data)) as picture:
        picture.verify()


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, SHAPES), st.sampled_from([1, 30, 100]), st.lists(st.integers(0, 40)))
@example(np.random.default_rng(0).integers(0, 256, (500, 400, 3), np.uint8), 1 << 16, [7, 100, 101, 300])
def test_files_are_the_same_however_the_pictures_come(pixels, at_once, cuts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_png, "_AT_ONCE", at_once)
        write_bands(file := BytesIO(), pixels.shape, np.split(pixels, sorted(cuts)), "nucleiseg")
        assert file.getvalue() == written(pixels)


def test_chunks_are_those_of_the_standard():
    data = written(np.random.default_rng(0).integers(0, 256, (1500, 900, 3), np.uint8))
    kinds = [kind for kind, _ in chunks_of(data)]
    assert kinds[:2] == [b"IHDR", b"tEXt"]
    assert kinds[2:-1] == [b"IDAT"] * (len(kinds) - 3)
    assert len(kinds) > 5  # a large picture is never packed as a whole
    assert kinds[-1] == b"IEND"
    assert all(body for kind, body in chunks_of(data) if kind == b"IDAT")
    assert chunk(b"IEND", b"") == data[-12:]


def test_flat_pictures_are_small():
    assert len(written(np.full((1000, 1000, 3), 200, np.uint8))) < 20_000


def test_real_pictures_are_about_as_small_as_those_of_pillow():
    for picture in (skimage.data.immunohistochemistry(), skimage.data.camera()):
        Image.fromarray(picture).save(file := BytesIO(), format="PNG", compress_level=1, compress_type=zlib.Z_RLE)
        assert len(written(picture)) < 1.25 * len(file.getvalue())
