from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import (
    label_tiffs,
    write_imagej_labels,
    write_labels,
    write_mask,
    write_ome_labels,
    write_picture,
)
from nucleiseg.instances.exporting import is_own_file

SIDES = st.tuples(st.integers(1, 12), st.integers(1, 12))


def read_png(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.int64, SIDES, elements=st.sampled_from([0, 1, 255, 65_535, 65_536, 2**32 - 1])))
def test_labels_come_back(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("labels") / "a_labels.tif"
    write_labels(path, labels)
    back = tifffile.imread(path)
    assert back.dtype == (np.uint16 if labels.max() <= 65_535 else np.uint32)
    np.testing.assert_array_equal(back.reshape(labels.shape), labels)


@pytest.mark.parametrize(("highest", "dtype"), [(300, np.uint16), (70_000, np.uint32)])
@pytest.mark.parametrize("size", [None, 0.5])
def test_large_labels_are_written_strip_by_strip(tmp_path, monkeypatch, highest, dtype, size):
    """The file says and holds the same as that of small ones, but for how well it is packed."""
    labels = np.random.default_rng(0).integers(0, highest + 1, (999, 640)).astype(np.int32)
    labels[0, 0] = highest
    write_labels(tmp_path / "small.tif", labels, size)
    monkeypatch.setattr(label_tiffs, "_LARGE", 1)
    write_labels(tmp_path / "large.tif", labels, size)
    tags = []
    for name in ("small.tif", "large.tif"):
        with tifffile.TiffFile(tmp_path / name) as file:
            back = file.asarray()
            tags.append({tag.name: tag.value for tag in file.pages[0].tags if not tag.name.startswith("Strip")})
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, labels)
    assert tags[0] == tags[1]
    assert is_own_file(tmp_path / "large.tif")


@pytest.mark.parametrize("write", [write_imagej_labels, write_ome_labels])
def test_large_labels_of_other_kinds_come_back(tmp_path, monkeypatch, write):
    labels = np.random.default_rng(0).integers(0, 300, (99, 64)).astype(np.int32)
    monkeypatch.setattr(label_tiffs, "_LARGE", 1)
    write(tmp_path / "a.ome.tif", labels, 0.5)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif"), labels)


def test_large_labels_are_written_without_copies(tmp_path):
    labels = np.random.default_rng(0).integers(0, 300, (3000, 3000), np.int32)  # can't be packed well
    write_labels(tmp_path / "a.tif", labels[:9])  # imports
    tracemalloc.start()
    try:
        write_labels(tmp_path / "a.tif", labels)
        write_mask(tmp_path / "a.png", labels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < labels.nbytes / 3


def test_labels_are_compressed(tmp_path):
    write_labels(tmp_path / "deep" / "labels.TIFF", np.ones((500, 500), np.int32))
    with tifffile.TiffFile(tmp_path / "deep" / "labels.TIFF") as file:
        assert file.pages[0].compression.name == "ADOBE_DEFLATE"
    assert (tmp_path / "deep" / "labels.TIFF").stat().st_size < 20_000
    with Image.open(tmp_path / "deep" / "labels.TIFF") as picture:
        assert picture.size == (500, 500)


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(st.sampled_from(["?", "u1", "u2"]), SIDES))
def test_masks_are_0_and_255(tmp_path_factory, mask):
    path = tmp_path_factory.mktemp("mask") / "mask.png"
    write_mask(path, mask)
    back = read_png(path)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, np.where(mask, 255, 0))


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_pictures_come_back(tmp_path_factory, picture):
    path = tmp_path_factory.mktemp("picture") / "overlay.png"
    write_picture(path, picture)
    np.testing.assert_array_equal(read_png(path), picture)


@pytest.mark.parametrize(
    ("write", "name", "value", "message"),
    [
        (write_labels, "a.tif", np.zeros((2, 2)), "labels must be integers"),
        (write_labels, "a.tif", np.array([[-1]]), "must not be negative"),
        (write_labels, "a.tif", np.array([[2**32]]), "at most 4294967295 .*relabel_sequential"),
        (write_labels, "a.png", np.zeros((2, 2), int), r"path must end in .tif or .tiff, got .*'well_A01.tif'"),
        (write_mask, "a.png", np.zeros((2, 2)), "mask must be integers"),
        (write_mask, "a.png", np.zeros((2, 2, 1), int), r"mask must be \(H, W\)"),
        (write_mask, "a.tif", np.zeros((2, 2), int), "path must end in .png"),
        (write_picture, "a.png", np.zeros((2, 2), np.uint8), "picture must be uint8"),
        (write_picture, "a.png", np.zeros((2, 2, 3)), "picture must be uint8 .*use nucleiseg.images.overlay"),
        (write_picture, "a", np.zeros((2, 2, 3), np.uint8), "path must end in .png"),
    ],
)
def test_bad_input_leaves_the_old_file_alone(tmp_path, write, name, value, message):
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(InvalidInputError, match=message):
        write(path, value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("write", "name", "target", "value"),
    [
        (write_labels, "a.tif", "tifffile.imwrite", np.ones((2, 2), int)),
        (write_mask, "a.png", "nucleiseg.instances.exporting.write_bands", np.ones((2, 2), int)),
    ],
)
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, monkeypatch, write, name, target, value):
    def full(self_or_path, *args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(target, full)
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"):
        write(path, value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("shape", [(1, 1), (300, 2000)])
def test_own_files_are_known(tmp_path, shape):
    write_labels(tmp_path / "labels.tif", np.arange(np.prod(shape)).reshape(shape))
    write_mask(tmp_path / "mask.png", np.ones(shape, bool))
    write_picture(tmp_path / "overlay.png", np.ones((*shape, 3), np.uint8))
    assert [path.name for path in sorted(tmp_path.iterdir()) if not is_own_file(path)] == []


def test_of_damaged_files_none_is_said_to_be_own(tmp_path):
    """tifffile raises nearly anything: IndexError, TypeError, struct.error."""
    path = tmp_path / "a_labels.tif"
    write_labels(path, np.arange(400).reshape(20, 20))
    whole = path.read_bytes()
    for end in range(0, len(whole), 3):
        path.write_bytes(whole[:end])
        assert is_own_file(path) in (True, False)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(min(len(whole), 400), size=3):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        assert is_own_file(path) in (True, False)


def test_files_of_others_are_known(tmp_path):
    Image.fromarray(np.ones((2, 2), np.uint8)).save(tmp_path / "a_mask.png")
    tifffile.imwrite(tmp_path / "a_labels.tif", np.ones((2, 2), np.uint16))
    tifffile.imwrite(tmp_path / "b_labels.tif", np.ones((2, 2), np.uint16), software="another")
    for name in ("text.png", "text.tif"):
        (tmp_path / name).write_text("nucleiseg")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "no_page.tif").write_bytes(b"II*\0\0\0\0\0")
    for path in [*tmp_path.iterdir(), tmp_path / "missing.tif"]:
        assert not is_own_file(path)
