"""Images that are read window by window: a window is that part of the image, and what is none is refused at once."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import tracemalloc

import numpy as np
import pytest
import tifffile

from nucleiseg.errors import ImageFileError, InvalidInputError, MissingPackageError
from nucleiseg.images import ReadOptions, as_micrograph, open_lazy
from nucleiseg.images import _pillow as sizes
from nucleiseg.images.sources import open_micrograph

zarr = pytest.importorskip("zarr")
SPACE = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


def write_group(path, attributes, *shapes, version=2):
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    for number, shape in enumerate(shapes):
        group.create_array(str(number), shape=shape, dtype="u2", chunks=(9,) * len(shape))[...] = numbered(*shape)
    group.attrs.update(attributes)
    return path


def multiscale(axes, *scales, **further):
    datasets = [
        {"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for number, scale in enumerate(scales)
    ]
    return {"multiscales": [{"axes": axes, "datasets": datasets}], **further}


@pytest.mark.filterwarnings("ignore:channel . of an array is taken as transparency")
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((30, 20), ReadOptions()),
        ((30, 20, 3), ReadOptions()),
        ((30, 20, 4), ReadOptions(pixel_size=0.5)),
        ((2, 30, 20), ReadOptions(axes="CYX", channel=1)),
        ((20, 2, 30), ReadOptions(axes="XCY", channel=(1, 0), pixel_size=2)),
        ((4, 30, 20), ReadOptions(axes="ZYX", project="mean")),
        ((4, 2, 30, 20), ReadOptions(axes="TCYX", select={"T": 3}, channel=0)),
        ((1, 30, 20), ReadOptions(axes="CYX")),
        ((5, 30, 20), ReadOptions(axes="CYX", channel=(4, 0, 2))),
        ((5, 30, 20), ReadOptions(axes="CYX", channel=(4, 3, 0))),
        ((5, 30, 20), ReadOptions(axes="CYX", channel=(1, 1))),
        ((30, 20, 3), ReadOptions(axes="YXS", channel=("blue", "Red"))),
        ((3, 4, 5, 30, 20), ReadOptions(axes="TZCYX", channel=3, select={"T": 2}, project="max")),
        ((3, 4, 5, 30, 20), ReadOptions(axes="TZCYX", channel=3, select={"T": 0, "Z": 3})),
        ((5, 2, 30, 20), ReadOptions(axes="CZYX", select={"C": 4, "Z": 1})),
        ((5, 2, 30, 20), ReadOptions(axes="CZYX", select={"C": 4, "Z": 1}, channel=0)),
    ],
)
@pytest.mark.parametrize("window", [np.s_[3:17, 5:6], np.s_[0:30, 0:20], np.s_[29:30, 19:20]])
def test_a_window_is_that_part_of_the_image(shape, options, window, tmp_path):
    pixels = numbered(*shape)
    whole = as_micrograph(pixels, options)
    zarr.save(str(tmp_path / "a.zarr"), pixels)
    for source in (pixels, tmp_path / "a.zarr"):
        lazy = open_lazy(source, options)
        part = lazy.read(*window)
        assert lazy.shape == whole.shown.shape[:2] == (30, 20)
        np.testing.assert_array_equal(part.pixels, whole.pixels[window])
        np.testing.assert_array_equal(part.shown, whole.shown[window])
        np.testing.assert_array_equal(lazy[window], whole.shown[window])
        assert part.pixel_size == lazy.pixel_size == whole.pixel_size


class Counting(zarr.storage.WrapperStore):
    """Remembers what is asked of the store that it wraps."""

    def __init__(self, store):
        super().__init__(store)
        self.asked = []

    async def get(self, key, *further, **named):
        self.asked.append(key)
        return await super().get(key, *further, **named)


@pytest.mark.parametrize(
    ("options", "chunks", "every"),
    [
        (ReadOptions(axes="TCYX", select={"T": 1}, channel=3), 4, 20),
        (ReadOptions(axes="TCYX", select={"T": 1}, channel=(4, 0)), 8, 20),
        (ReadOptions(axes="TZYX", select={"T": 1}, project="max"), 20, 20),
        (ReadOptions(axes="TZYX", select={"T": 0, "Z": 4}), 4, 4),
    ],
)
def test_nothing_is_read_of_planes_that_are_not_looked_at(options, chunks, every):
    """Of other channels only for measurements."""
    store = Counting(zarr.storage.MemoryStore())
    array = zarr.create_array(store, shape=(2, 5, 32, 32), chunks=(1, 1, 16, 16), dtype="u2")
    array[...] = numbered(2, 5, 32, 32)
    lazy = open_lazy(array, options)
    for read, expected in ((lambda: lazy[0:32, 0:32], chunks), (lambda: lazy.read(*np.s_[0:32, 0:32]), every)):
        store.asked.clear()
        read()
        assert len(store.asked) == expected


def test_channels_of_an_ome_zarr_are_found_by_name_wherever_they_are(tmp_path):
    axes = ["t", "c", "y", "x"]
    names = {"omero": {"channels": [{"label": label} for label in ("actin", "DAPI", "tubulin")]}}
    path = write_group(tmp_path / "a", multiscale(axes, [1, 1, 1, 1], **names), (1, 3, 8, 6))
    whole = numbered(1, 3, 8, 6)[0]
    for axes in (None, "TCYX", "CYX"):  # the user may leave out what has length 1
        lazy = open_lazy(path, ReadOptions(axes=axes, channel=("tubulin", "dapi")))
        np.testing.assert_array_equal(lazy[2:5, 1:3][..., :2], np.moveaxis(whole[[2, 1], 2:5, 1:3], 0, -1))
        assert lazy.read(*np.s_[2:5, 1:3]).channels == ("actin", "DAPI", "tubulin")
    for wrong in ("FITC", 3):
        with pytest.raises(
            ImageFileError, match=rf"has no channel {wrong!r}; choose one of 0 'actin', 1 'DAPI', 2 'tub"
        ):
            open_lazy(path, ReadOptions(channel=wrong))
    with pytest.raises(ImageFileError, match="select must be 0 to 2 along C, got 3"):
        open_lazy(path, ReadOptions(select={"C": 3}))
    with pytest.raises(ImageFileError, match=r"axes='ZCTYX' names 5 axes, got an array of shape \(1, 3, 8, 6\)"):
        open_lazy(path, ReadOptions(axes="ZCTYX", channel=0))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("axes", ["YX", "CYX"])
def test_of_a_tiff_file_without_tiles_and_compression_only_the_window_is_read(axes, order, tmp_path):
    """Though all of a plane is one strip."""
    pixels = np.arange(4 * 10**6, dtype=np.uint16).reshape((2000, 2000) if axes == "YX" else (4, 1000, 1000))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", byteorder=order)
    lazy = open_lazy(tmp_path / "a.tif", ReadOptions(axes=axes, channel=None if axes == "YX" else 3))
    tracemalloc.start()
    found = lazy[500:520, 400:430]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(
        found, pixels[np.s_[500:520, 400:430] if axes == "YX" else np.s_[3, 500:520, 400:430]]
    )
    assert found.dtype == np.dtype("=u2")
    assert found.dtype.isnative
    assert peak < pixels.nbytes / 8


@pytest.mark.parametrize("axes", ["YX", "CYX", "YXS"])
def test_of_compressed_strips_only_those_of_the_window_are_decoded(axes, tmp_path):
    """All others are damaged, which nobody notices."""
    pixels = numbered(*{"YX": (90, 20), "CYX": (3, 90, 20), "YXS": (90, 20, 3)}[axes])
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        compression="zlib",
        rowsperstrip=8,
        photometric="rgb" if axes == "YXS" else "minisblack",
    )
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[1 if axes == "CYX" else 0]
        others = [number for number in range(12) if number not in (3, 4, 5)]
        strips = [(page.dataoffsets[number], page.databytecounts[number]) for number in others]
        if axes == "CYX":
            for other in (0, 2):
                strips += zip(file.pages[other].dataoffsets, file.pages[other].databytecounts, strict=True)
    lazy = open_lazy(tmp_path / "a.tif", ReadOptions(axes=axes, channel=1 if axes == "CYX" else None))
    with (tmp_path / "a.tif").open("r+b") as file:
        for offset, count in strips:
            file.seek(offset)
            file.write(bytes(count))
    window = np.s_[25:47, 3:9]
    np.testing.assert_array_equal(lazy[window], pixels[1][window] if axes == "CYX" else pixels[window])
    with pytest.raises(ImageFileError, match="cannot be decoded"):
        lazy[25:49, 3:9]


def test_a_tiff_file_that_ends_too_early_is_told_when_it_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", numbered(320, 160))
    lazy = open_lazy(tmp_path / "a.tif")
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:-1000])
    with pytest.raises(ImageFileError, match=r"a\.tif: cannot be decoded \("):
        lazy[300:320, 0:160]


@pytest.mark.parametrize("version", [2, 3])
def test_an_ome_zarr_says_its_channels_and_size(version, tmp_path):
    axes = [{"name": "c", "type": "channel"}, *SPACE]
    names = {"omero": {"channels": [{"label": "actin"}, {"label": "DAPI"}]}}
    attributes = multiscale(axes, [1, 0.25, 0.25], [1, 0.5, 0.5], **names)
    path = write_group(tmp_path / "a", attributes if version == 2 else {"ome": attributes}, (2, 8, 6), (2, 4, 3))
    full, half = (open_micrograph(path, ReadOptions(channel="DAPI", level=level)) for level in (0, 1))
    assert full.channels == half.channels == ("actin", "DAPI")
    assert (full.pixel_size, half.pixel_size) == (0.25, 0.5)
    np.testing.assert_array_equal(full.shown, numbered(2, 8, 6)[1])
    np.testing.assert_array_equal(half.pixels, np.moveaxis(numbered(2, 4, 3), 0, -1))
    assert open_lazy(path, ReadOptions(channel=0, level=1, pixel_size=3)).pixel_size == 6
    with pytest.raises(ImageFileError, match=r"a: has no level 2; choose one of 0 \(8 × 6\), 1 \(4 × 3\)"):
        open_lazy(path, ReadOptions(level=2))


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        (multiscale([{"name": n, "unit": "nanometer"} for n in "yx"], [500, 500]), 0.5),
        (multiscale([{"name": "y", "unit": "millimeter"}, SPACE[1]], [0.001, 1]), 1.0),
        (multiscale(SPACE, [0.5, 0.7]), None),  # not square
        (multiscale(SPACE, [0.0, 0.0]), None),
        (multiscale([{"name": n} for n in "yx"], [0.5, 0.5]), None),  # no unit
        (multiscale([{"name": n, "unit": "parsec"} for n in "yx"], [0.5, 0.5]), None),
        (multiscale(["y", "x"], [0.5, 0.5]), None),
        ({"multiscales": [{"datasets": [{"path": "0"}], "axes": SPACE}]}, 1.0),
        ({"multiscales": [{"datasets": [{"path": "0"}]}]}, None),
    ],
)
def test_the_size_of_a_pixel_is_known_where_the_image_says_it(attributes, size, tmp_path):
    path = write_group(tmp_path / "a", attributes, (8, 6))
    assert open_lazy(path).pixel_size == size
    assert open_lazy(path).shape == (8, 6)


@pytest.mark.parametrize(("labels", "names"), [(["a", "b"], ("a", "b")), (["a", ""], ()), ([7, "b"], ("7", "b"))])
def test_names_of_channels_are_all_known_or_none(labels, names, tmp_path):
    channels = [{"label": label} if label else {} for label in labels]
    attributes = multiscale(["c", "y", "x"], [1, 1, 1], omero={"channels": channels})
    path = write_group(tmp_path / "a", attributes, (2, 8, 6))
    assert open_micrograph(path, ReadOptions(channel=1)).channels == names


def test_axes_that_an_old_ome_zarr_leaves_out_are_its_last(tmp_path):
    path = write_group(tmp_path / "a", {"multiscales": [{"datasets": [{"path": "0"}]}]}, (2, 3, 4, 8, 6))
    assert open_lazy(path, ReadOptions(select={"T": 1}, project="max", channel=2)).axes == "TCZYX"


@pytest.mark.parametrize(
    ("stored", "size"), [(0.5, 0.5), (2, 2.0), ("0.5", None), (-1, None), (0, None), (1e999, None), (None, None)]
)
def test_a_zarr_array_may_say_its_size(stored, size, tmp_path):
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(8, 6), dtype="u1").attrs["pixel_size"] = stored
    assert open_lazy(tmp_path / "a.zarr").pixel_size == size


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((8, 6), "YX"), ((8, 6, 3), "YXS"), ((8, 6, 4), "YXS"), ((3, 8, 6), "CYX"), ((2, 1, 8, 6), "?CYX")],
)
def test_axes_of_which_nothing_is_known_are_guessed(shape, axes, tmp_path):
    zarr.save(str(tmp_path / "a.zarr"), numbered(*shape))
    for source in (tmp_path / "a.zarr", numbered(*shape)):
        assert open_lazy(source, ReadOptions(channel=0, select={"?": 0} if "?" in axes else {})).axes == axes


@pytest.mark.parametrize(
    ("names", "shape", "axes"),
    [
        (["y", "x", "c"], (8, 6, 5), "YXC"),
        (["Time", "channel", "Y", "x"], (2, 3, 8, 6), "TCYX"),
        (["x", "y"], (6, 8), "XY"),
        (["y", "x", "s"], (8, 6, 3), "YXS"),
        (["band", "y", "x"], (3, 8, 6), "CYX"),  # what is not known is guessed
        (["c", "time", "t"], (3, 8, 6), "CYX"),
        (["y", "y", "x"], (3, 8, 6), "CYX"),
        ([None, "y", "x"], (3, 8, 6), "CYX"),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_array_may_name_its_axes(names, shape, axes, version, tmp_path):
    """Version 3 by itself, version 2 as xarray does."""
    how = {"dimension_names": names} if version == 3 else {"attributes": {"_ARRAY_DIMENSIONS": names}}
    array = zarr.create_array(str(tmp_path / "a.zarr"), data=numbered(*shape), zarr_format=version, **how)
    select = {"T": 1} if "T" in axes else {}
    for source in (array, tmp_path / "a.zarr"):
        assert open_lazy(source, ReadOptions(channel=0, select=select)).axes == axes
        if axes == "YXC":
            np.testing.assert_array_equal(open_lazy(source, ReadOptions(channel=4))[0:8, 0:6], numbered(*shape)[..., 4])
            assert open_lazy(source, ReadOptions(axes="CYX", channel=1)).shape == (6, 5)
            with pytest.raises((ImageFileError, InvalidInputError), match="axes='ZCYX' names 4 axes"):
                open_lazy(source, ReadOptions(axes="ZCYX", channel=1))


WRONG = {
    "no multiscales": ({}, "is a Zarr group without an OME image; pass one of its arrays: 0"),
    "empty": ({"multiscales": []}, "is a Zarr group without an OME image; pass one of its arrays: 0"),
    "no object": ({"ome": 3}, "is a Zarr group without an OME image; pass one of its arrays: 0"),
    "no datasets": ({"multiscales": [{}]}, "its OME metadata can't be understood (KeyError: 'datasets'); pass one of"),
    "text": ({"multiscales": "x"}, "its OME metadata can't be understood"),
    "no such array": ({"multiscales": [{"datasets": [{"path": "7"}]}]}, "its OME metadata can't be understood"),
    "a path that leads out": (
        {"multiscales": [{"datasets": [{"path": "../b"}]}]},
        "its OME metadata can't be understood",
    ),
    "no level": ({"multiscales": [{"datasets": []}]}, "its OME metadata can't be understood"),
    "too many axes": (multiscale(["c", "y", "x"], [1, 1, 1]), "its OME metadata can't be understood"),
    "a scale in words": (multiscale(SPACE, ["one", "two"]), "its OME metadata can't be understood"),
    "channels that are none": (multiscale(SPACE, [1, 1], omero=3), "its OME metadata can't be understood"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_ome_metadata_that_are_none_are_refused_in_one_line(kind, tmp_path):
    attributes, message = WRONG[kind]
    path = write_group(tmp_path / "a.zarr", attributes, (8, 6))
    with pytest.raises(ImageFileError) as raised:
        open_lazy(path)
    assert str(raised.value).startswith(f"{path}: {message}")
    assert str(raised.value).endswith(": 0")
    assert "\n" not in str(raised.value)


def test_a_damaged_array_can_still_be_named(tmp_path):
    path = write_group(tmp_path / "a.zarr", {}, (8, 6), (4, 3))
    (path / "0" / ".zarray").write_bytes(b"\xff")
    with pytest.raises(ImageFileError, match="without an OME image; pass one of its arrays: 0, 1$"):
        open_lazy(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"zarr_format": 3, "node_type": "array"}'])
def test_what_is_no_zarr_is_refused_in_one_line(text, tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text(text)
    with pytest.raises(ImageFileError) as raised:
        open_lazy(tmp_path / "a.zarr")
    assert str(raised.value).startswith(f"{tmp_path / 'a.zarr'}: is no Zarr array or group (")
    assert str(raised.value).endswith("); pass a folder that zarr wrote")
    assert "\n" not in str(raised.value)


def test_an_ome_zarr_of_several_images_asks_which(tmp_path):
    both = [{**multiscale(SPACE, [1, 1])["multiscales"][0], "name": name} for name in ("left", "right")]
    both[1]["datasets"][0]["path"] = "1"
    path = write_group(tmp_path / "a", {"multiscales": both}, (8, 6), (4, 3))
    assert open_lazy(path, ReadOptions(scene="right")).shape == (4, 3)
    assert open_lazy(path, ReadOptions(scene=0)).shape == (8, 6)
    with pytest.raises(ImageFileError, match=r"must hold one image, got 2; .* 0 'left', 1 'right'"):
        open_lazy(path)
    with pytest.raises(ImageFileError, match=r"has no scene 7; choose one of 0 'left', 1 'right'"):
        open_lazy(path, ReadOptions(scene=7))


def test_a_zarr_array_has_one_scene(tmp_path):
    zarr.save(str(tmp_path / "a.zarr"), numbered(8, 6))
    assert open_lazy(tmp_path / "a.zarr", ReadOptions(scene=0)).shape == (8, 6)
    with pytest.raises(ImageFileError, match=r"has no scene 1; choose one of 0 \(8, 6\)"):
        open_lazy(tmp_path / "a.zarr", ReadOptions(scene=1))


def test_a_tiff_lists_its_levels_part_by_part_too(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 6), np.uint8))
    with pytest.raises(ImageFileError, match=r"has no level 3; choose one of 0 \(8 × 6\)"):
        open_lazy(tmp_path / "a.tif", ReadOptions(level=3))


def test_a_zarr_array_has_one_level(tmp_path):
    zarr.save(str(tmp_path / "a.zarr"), numbered(8, 6))
    with pytest.raises(ImageFileError, match=r"a.zarr: has no level 1; choose one of 0 \(8 × 6\)"):
        open_lazy(tmp_path / "a.zarr", ReadOptions(level=1))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8,), {}, "must have rows, columns and a letter for each axis, got shape (8,) (axes YX); say what its axes"),
        (
            (2, 8, 6),
            {"axes": "ZCYX"},
            "must have rows, columns and a letter for each axis, got shape (2, 8, 6) (axes ZC",
        ),
        ((0, 6), {}, "must have rows and columns, got an array of shape (0, 6) (axes YX); say what its axes are"),
        ((5, 8, 6), {}, "has 5 channels (0, 1, 2, 3, 4); say which one shows the nuclei, e.g. --channel 0"),
        (
            (2, 3, 8, 6),
            {"channel": 0},
            "got a stack of shape (2, 3, 8, 6) (axes ?CYX); say what the 2 planes are: depths ",
        ),
        (
            (7, 8, 6),
            {"axes": "ZYX"},
            "got a stack of shape (7, 8, 6) (axes ZYX); choose from 7 along Z with --project max",
        ),
        (
            (2, 2, 2, 8, 6),
            {},
            "got a stack of shape (2, 2, 2, 8, 6) (axes ??CYX); say what its axes are, e.g. --axes TZC",
        ),
    ],
)
def test_what_is_left_open_is_told_of_the_whole_image(shape, options, message, tmp_path):
    zarr.create_array(str(tmp_path / "a.zarr"), shape=shape, dtype="u1")
    with pytest.raises(ImageFileError) as raised:
        open_lazy(tmp_path / "a.zarr", ReadOptions(**options))
    assert str(raised.value).startswith(f"{tmp_path / 'a.zarr'}: ")
    assert message in str(raised.value)
    if len(shape) > 1:
        with pytest.raises(InvalidInputError) as raised:
            open_lazy(np.zeros(shape), ReadOptions(**options))
        assert message in str(raised.value)


def test_a_tiff_file_that_is_read_in_parts_says_what_one_says_that_is_read_as_a_whole(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", numbered(3, 8, 6), photometric="minisblack", tile=(16, 16))
    messages = []
    for read in (open_lazy, open_micrograph):
        with pytest.raises(
            ImageFileError, match=r"shape \(3, 8, 6\) \(axes QYX\), which looks like \(C, H, W\)"
        ) as raised:
            read(tmp_path / "a.tif")
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
    lazy = open_lazy(tmp_path / "a.tif", ReadOptions(axes="CYX", channel=2))
    np.testing.assert_array_equal(lazy[2:5, 1:3], numbered(3, 8, 6)[2, 2:5, 1:3])


@pytest.mark.parametrize("tiles", [{}, {"tile": (16, 16)}, {"tile": (16, 16), "compression": "zlib"}])
@pytest.mark.parametrize(
    ("kind", "axis", "shape"),
    [
        ({"metadata": None}, "I", (40, 50, 3)),
        ({"ome": True}, "C", (40, 50, 3)),
        ({"metadata": None, "description": "ImageJ=1.54f\n"}, "I", (40, 50)),
    ],
)
@pytest.mark.parametrize("pages", [1, 3])
def test_a_palette_is_colours_unless_it_is_imagejs(kind, axis, shape, pages, tiles, tmp_path):
    palette = np.random.default_rng(0).integers(0, 1 << 16, (3, 256), np.uint16)
    indices = np.random.default_rng(1).integers(0, 256, (pages, 40, 50), np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, indices.squeeze(), photometric="palette", colormap=palette, **kind, **tiles)
    options = ReadOptions(select={axis: 1}) if pages > 1 else ReadOptions()
    whole = open_micrograph(path, options)
    lazy = pickle.loads(pickle.dumps(open_lazy(path, options)))  # as it goes to other processes
    assert whole.shown.shape == shape
    for rows, columns in ((slice(0, 40), slice(0, 50)), (slice(7, 20), slice(30, 31))):
        np.testing.assert_array_equal(lazy[rows, columns], whole.shown[rows, columns])


def test_stains_and_alpha_are_what_they_are_when_the_file_is_read_as_a_whole(tmp_path):
    pytest.importorskip("zarr")
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 4), np.uint8)
    stains, colours, samples = (tmp_path / f"{name}.tif" for name in ("stains", "colours", "samples"))
    tifffile.imwrite(
        stains, np.moveaxis(pixels[..., :3], -1, 0), imagej=True, metadata={"axes": "CYX", "mode": "composite"}
    )
    tifffile.imwrite(colours, pixels, photometric="rgb", extrasamples=["unassalpha"])
    tifffile.imwrite(samples, pixels, photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"] * 3)
    for read in (open_lazy, open_micrograph):
        with pytest.raises(ImageFileError, match=r"has 3 channels .* say which one shows the nuclei"):
            read(stains)
    for path, channel, channels in ((colours, None, 3), (samples, 0, 4)):
        options = ReadOptions(channel=channel)
        lazily = open_lazy(path, options).read(slice(5, 12), slice(0, 30))
        assert lazily.measured.shape == (7, 30, channels)
        np.testing.assert_array_equal(lazily.measured, open_micrograph(path, options).measured[5:12])


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_part_is_read_wherever_the_process_was_started(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("a.tif", numbered(32, 16), tile=(16, 16), compression="zlib")
    zarr.save("a.zarr", numbered(32, 16))
    sent = pickle.dumps(open_lazy(name))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    there = pickle.loads(sent)
    assert there.name == name
    np.testing.assert_array_equal(there[3:9, 2:5], numbered(32, 16)[3:9, 2:5])


def test_a_damaged_part_is_told_when_it_is_read(tmp_path):
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=(20, 6), dtype="u2", chunks=(10, 6))
    array[...] = numbered(20, 6)
    (tmp_path / "a.zarr" / "c" / "1" / "0").write_bytes(b"damaged")
    tifffile.imwrite(tmp_path / "a.tif", numbered(32, 16), tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        offset = file.pages[0].dataoffsets[1]
    with (tmp_path / "a.tif").open("r+b") as file:
        file.seek(offset)
        file.write(bytes(20))
    for name, height in (("a.zarr", 10), ("a.tif", 16)):
        lazy = open_lazy(tmp_path / name)
        assert lazy[0:height, 0:6].shape == (height, 6)
        with pytest.raises(ImageFileError) as raised:
            lazy[height : height + 1, 0:6]
        assert str(raised.value).startswith(f"{tmp_path / name}: cannot be decoded (")
        assert "\n" not in str(raised.value)


def test_the_fault_of_an_array_is_passed_on():
    class Broken:
        shape, dtype = (8, 6), np.dtype("u1")

        def __getitem__(self, window):
            raise KeyError("of its own")

    with pytest.raises(KeyError, match="of its own"):
        open_lazy(Broken())


def test_parts_that_memory_could_not_hold_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "memory_limit", lambda: 1000)
    for name, chunks in (("small", (10, 10)), ("large", (40, 40))):
        zarr.create_array(str(tmp_path / name), shape=(40, 40), dtype="u2", chunks=chunks)
    with pytest.raises(ImageFileError, match=r"large: an array of 40 x 40 takes more than the 0 MiB that may be used"):
        open_lazy(tmp_path / "large")
    lazy = open_lazy(tmp_path / "small")
    assert lazy[0:20, 20:40].shape == (20, 20)
    with pytest.raises(ImageFileError, match=r"small: an array of 20 x 26 takes more than"):
        lazy[0:20, 14:40]


def test_without_zarr_the_error_says_what_it_is_needed_for(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", numbered(32, 16), tile=(16, 16))
    zarr.save(str(tmp_path / "a.zarr"), numbered(8, 6))
    monkeypatch.setitem(sys.modules, "zarr", None)
    for name, use in (("a.zarr", "reading Zarr"), ("a.tif", "reading large TIFF files part by part")):
        with pytest.raises(MissingPackageError, match=rf"{use} needs .*zarr.*pip install .*nucleiseg\[zarr\]"):
            open_lazy(tmp_path / name)


@pytest.mark.parametrize("name", [".zarray", ".zgroup", "zarr.json"])
def test_a_zarr_is_known_by_its_ending_or_by_what_is_in_it(name, tmp_path):
    for folder in ("plain", "upper.ZARR"):
        (tmp_path / folder).mkdir()
    refused = r"plain: is a folder, not an image; pass the files in it, or a Zarr$"
    with pytest.raises(ImageFileError, match=refused):
        open_micrograph(tmp_path / "plain")
    with pytest.raises(ImageFileError, match="is no Zarr array or group"):
        open_micrograph(tmp_path / "upper.ZARR")
    (tmp_path / "plain" / name).mkdir()
    with pytest.raises(ImageFileError, match=refused):
        open_micrograph(tmp_path / "plain")
    shutil.rmtree(tmp_path / "plain")
    if name == ".zgroup":
        write_group(tmp_path / "plain", multiscale(SPACE, [1, 1]), (8, 6))
    else:
        version = 2 if name == ".zarray" else 3
        array = zarr.create_array(str(tmp_path / "plain"), shape=(8, 6), dtype="u2", zarr_format=version)
        array[...] = numbered(8, 6)
    assert (tmp_path / "plain" / name).is_file()
    np.testing.assert_array_equal(open_micrograph(tmp_path / "plain").shown, numbered(8, 6))


def test_metadata_are_json_as_others_write_them(tmp_path):
    """An image that no zarr library wrote: plain files."""
    path = tmp_path / "a.zarr"
    (path / "scale0").mkdir(parents=True)
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    datasets = [{"path": "scale0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.5]}]}]
    (path / ".zattrs").write_text(json.dumps({"multiscales": [{"axes": SPACE, "datasets": datasets}]}))
    layout = {"shape": [4, 6], "chunks": [4, 6], "dtype": "<u2", "order": "C", "fill_value": 0}
    (path / "scale0" / ".zarray").write_text(
        json.dumps({"zarr_format": 2, "compressor": None, "filters": None, **layout})
    )
    (path / "scale0" / "0.0").write_bytes(numbered(4, 6).tobytes())
    found = open_micrograph(path)
    np.testing.assert_array_equal(found.shown, numbered(4, 6))
    assert found.pixel_size == 0.5
