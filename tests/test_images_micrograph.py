"""Channels, planes and pixel sizes: arrays and TIFF files of every make become one image, or an error with choices."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg import PredictOptions
from nucleiseg.errors import ImageFileError, ImageWarning, InvalidInputError, NucleisegError
from nucleiseg.images import ReadOptions, Tiling, as_micrograph, read_image, read_micrograph, tiles, unbinarize
from nucleiseg.images._stacks import Stack
from nucleiseg.images.micrograph import flatten

EXAMPLES = settings(max_examples=50, deadline=None)


def numbered(*shape, dtype=np.uint16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def ome(path, pixels, axes, photometric=None, **metadata):
    tifffile.imwrite(path, pixels, ome=True, photometric=photometric, metadata={"axes": axes, **metadata})
    return path


@st.composite
def stacks(draw):
    """An array, its axes, and the order (H, W, C) by which it was made: one plane in every other axis."""
    axes = "".join(draw(st.permutations(draw(st.sampled_from(["YX", "CYX", "ZCYX", "TZCYX", "CYXT"])))))
    lengths = {axis: draw(st.integers(2, 5)) for axis in axes}
    return numbered(*(lengths[axis] for axis in axes)), axes


@EXAMPLES
@given(stacks(), st.data())
def test_the_chosen_plane_and_channel_are_those_of_plain_indexing(stack, data):
    pixels, axes = stack
    position = {a: data.draw(st.integers(0, n - 1)) for a, n in zip(axes, pixels.shape, strict=True) if a not in "YX"}
    select = {axis: where for axis, where in position.items() if axis != "C"}
    picture = as_micrograph(pixels, ReadOptions(axes=axes, select=select, channel=position.get("C", 0)))
    plane = pixels[tuple(position.get(axis, slice(None)) for axis in axes)]
    expected = plane if axes.index("Y") < axes.index("X") else plane.T
    np.testing.assert_array_equal(picture.shown, expected)
    channels = 1 if "C" not in axes else pixels.shape[axes.index("C")]
    assert picture.pixels.shape == (*expected.shape, *([channels] if channels > 1 else []))
    assert picture.shown.dtype == pixels.dtype


@EXAMPLES
@given(st.sampled_from(["max", "mean"]), st.sampled_from(["u1", "u2", "f4", "f8"]), st.permutations("ZCYX"))
def test_projections_are_those_of_numpy(method, dtype, axes):
    pixels = np.random.default_rng(0).integers(0, 200, (3, 4, 5, 6)).astype(dtype)
    picture = as_micrograph(pixels, ReadOptions(axes="".join(axes), project=method, channel=1))
    expected = getattr(np, method)(pixels.astype(float), axis=axes.index("Z"))
    rest = [axis for axis in axes if axis != "Z"]
    expected = expected.transpose([rest.index(axis) for axis in "YXC"])
    np.testing.assert_allclose(picture.pixels, expected, rtol=1e-6)
    np.testing.assert_array_equal(picture.shown, picture.pixels[..., 1])
    assert method == "mean" or picture.pixels.dtype == pixels.dtype


@pytest.mark.filterwarnings("ignore:channel . of an array is taken as transparency")
def test_plain_images_stay_as_they_are():
    for shape in [(5, 6), (5, 6, 1), (5, 6, 2), (5, 6, 3), (5, 6, 4), (1, 1), (1, 1, 3)]:
        picture = as_micrograph(numbered(*shape))
        assert picture.shown.shape == (shape if shape[2:] != (1,) else shape[:2])
        np.testing.assert_array_equal(picture.shown, picture.pixels)
        assert (picture.channels, picture.pixel_size) == ((), None)


def test_two_and_three_channels_are_seen_as_colours():
    pixels = numbered(5, 6, 7)
    two = as_micrograph(pixels, ReadOptions(axes="CYX", channel=(3, 1)))
    np.testing.assert_array_equal(two.shown, np.stack([pixels[3], pixels[1], np.zeros_like(pixels[0])], axis=-1))
    three = as_micrograph(pixels, ReadOptions(axes="CYX", channel=[4, 0, 2]))
    np.testing.assert_array_equal(three.shown, pixels[[4, 0, 2]].transpose(1, 2, 0))
    assert two.pixels.shape == three.pixels.shape == (6, 7, 5)


def test_colours_have_names():
    pixels = numbered(5, 6, 3)
    np.testing.assert_array_equal(as_micrograph(pixels, ReadOptions(channel="green")).shown, pixels[..., 1])
    np.testing.assert_array_equal(as_micrograph(pixels, ReadOptions(channel=2)).shown, pixels[..., 2])


def test_a_channel_of_a_grey_image_is_the_image():
    assert as_micrograph(numbered(5, 6), ReadOptions(channel=0)).shown.shape == (5, 6)


def test_axes_of_length_one_may_be_left_out():
    pixels = numbered(1, 3, 1, 5, 6)
    for axes in ("CYX", "TCZYX"):
        assert as_micrograph(pixels, ReadOptions(axes=axes, channel=2)).pixels.shape == (5, 6, 3)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((5, 30, 40), {}, r"must .*say what its axes are, e.g. --axes CYX --channel 0 \(axes='CYX' with"),
        ((2, 3, 30, 40), {}, "say what its axes are"),
        ((30, 40, 7), {}, "say what its axes are"),
        (
            (5, 30, 40),
            {"axes": "ZYX"},
            r"with --project max, --project mean or --select Z=0 \(project='max', project='mean' or select=\{'Z'",
        ),
        ((5, 30, 40), {"axes": "TYX"}, r"choose from 5 along T with --select T=0 \(select=\{'T': 0\} in Python\)$"),
        ((5, 30, 40), {"axes": "TYX", "project": "max"}, "along T with --select"),
        ((2, 30, 40, 3), {"axes": "CYXS"}, r"choose from 2 along C with --select C=0 \(select=\{'C': 0\} in"),
        ((2, 30, 40), {"axes": "CYX"}, r"has 2 channels \(0, 1\); say which .*, e.g. --channel 0 \(channel=0 in"),
        ((4, 30, 40), {"axes": "CYX"}, "has 4 channels"),
        ((30, 40, 5), {"axes": "YXS"}, "has 5 channels"),
        ((2, 30, 40), {"axes": "CYX", "channel": 2}, r"has no channel 2; choose one of 0, 1"),
        ((2, 30, 40), {"axes": "CYX", "channel": "DAPI"}, "has no channel 'DAPI'"),
        ((30, 40), {"channel": "red"}, "has no channel 'red'; choose one of 0"),
        ((30, 40, 2), {"channel": "red"}, "has no channel 'red'"),
        ((2, 30, 40), {"axes": "YX"}, "axes='YX' names 2 axes, got an array of shape"),
        ((30, 40), {"axes": "ZYX"}, "axes='ZYX' names 3 axes"),
        ((30, 40), {"select": {"Z": 1}}, "select names the axis Z"),
        ((5, 30, 40), {"axes": "ZYX", "select": {"Z": 5}}, "select must be 0 to 4 along Z, got 5"),
        ((0, 30), {"axes": "YX"}, "must have rows and columns"),
    ],
)
def test_what_is_left_open_is_an_error_with_the_choices(shape, options, message):
    with pytest.raises(InvalidInputError, match=message):
        as_micrograph(np.zeros(shape, np.uint8), ReadOptions(**options))


def test_numbers_are_checked_whatever_the_axes():
    for pixels, message in ((np.full((3, 4, 5), np.nan), "finite"), (np.zeros((3, 4, 5), complex), "real numbers")):
        with pytest.raises(InvalidInputError, match=message):
            as_micrograph(pixels, ReadOptions(axes="ZYX", project="max"))
        with pytest.raises(InvalidInputError, match=message):
            as_micrograph(pixels)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channel": -1}, "channel must be an index"),
        ({"channel": True}, "channel must be an index"),
        ({"channel": ""}, "channel must be an index"),
        ({"channel": (0, 1.5)}, "channel must be an index"),
        ({"channel": (0, 1, 2, 3)}, "channel must name one to 3 channels, got 4"),
        ({"channel": ()}, "channel must name one to 3 channels, got 0"),
        ({"axes": "ZX"}, "axes must have Y and X"),
        ({"axes": "ZYXZ"}, "each letter"),
        ({"axes": "QYX"}, "each letter of TZCYXS"),
        ({"axes": 3}, "axes must have"),
        ({"project": "sum"}, "unknown project 'sum'.*max, mean"),
        ({"select": "T=0"}, "select must map axes to positions"),
        ({"select": {"Y": 0}}, "select must name an axis other than Y and X"),
        ({"select": {"T": -1}}, "position along T must be a whole number"),
        ({"scene": -1}, "scene must be an index"),
        ({"level": -1}, "level must be a whole number"),
        ({"max_pixels": 0}, "max_pixels must be a whole number of at least 1"),
        ({"max_pixels": 2.5}, "max_pixels must be a whole number"),
        ({"pixel_size": 0}, "pixel_size must be a number above 0"),
        ({"pixel_size": float("nan")}, "pixel_size must be a number above 0"),
        ({"pixel_size": "0.5"}, "pixel_size must be a number above 0"),
    ],
)
def test_options_out_of_bounds(values, message):
    with pytest.raises(InvalidInputError, match=message):
        ReadOptions(**values)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: as_micrograph(np.array(["a"])), "image must hold"),
        (lambda: as_micrograph(np.zeros((2, 3, 4)), ReadOptions(axes="ZYXC")), "image: "),
        (lambda: unbinarize(np.array([["a"]])), "mask must hold"),
        (lambda: list(tiles((8, 8), Tiling(), 0)), "multiple must be"),
    ],
)
def test_errors_name_the_argument(call, named):
    with pytest.raises(NucleisegError, match=f"^{named}"):
        call()


def test_options_are_frozen_and_part_of_those_of_prediction():
    assert PredictOptions().reading == ReadOptions()
    assert len({ReadOptions(), ReadOptions(select={"T": 0})}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        ReadOptions().level = 1
    with pytest.raises(InvalidInputError, match="reading must be ReadOptions"):
        PredictOptions(reading={"channel": 0})


# ---- TIFF files. ----


def test_ome_has_axes_names_and_pixel_size(tmp_path):
    pixels = numbered(3, 2, 5, 6)
    size = {"PhysicalSizeX": 650, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.65, "PhysicalSizeYUnit": "µm"}
    path = ome(tmp_path / "a.ome.tif", pixels, "ZCYX", Channel={"Name": ["actin", "DAPI"]}, **size)
    picture = read_micrograph(path, ReadOptions(channel="dapi", project="max"))
    np.testing.assert_array_equal(picture.pixels, pixels.max(axis=0).transpose(1, 2, 0))
    np.testing.assert_array_equal(picture.shown, pixels[:, 1].max(axis=0))
    assert picture.channels == ("actin", "DAPI")
    assert picture.pixel_size == pytest.approx(0.65)
    assert read_micrograph(path, ReadOptions(channel=0, project="max", pixel_size=2)).pixel_size == 2
    np.testing.assert_array_equal(read_image(path, ReadOptions(channel=0, select={"Z": 2})), pixels[2, 0])
    with pytest.raises(ImageFileError, match=r"a.ome.tif: has no channel 'DAP'; choose one of 0 'actin', 1 'DAPI'"):
        read_image(path, ReadOptions(channel="DAP", project="max"))


def test_of_two_channels_with_one_name_the_number_is_asked_for(tmp_path):
    names = {"axes": "CYX", "Channel": {"Name": ["Cy5", "cy5"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((2, 8, 6), np.uint16), metadata=names)
    assert read_micrograph(tmp_path / "a.ome.tif", ReadOptions(channel="cy5")).shown.shape == (8, 6)
    with pytest.raises(ImageFileError, match=r"has several channels 'CY5'; .* number: 0 'Cy5', 1 'cy5'"):
        read_micrograph(tmp_path / "a.ome.tif", ReadOptions(channel="CY5"))


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"PhysicalSizeX": 0.5},
        {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.7},
        {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeXUnit": "pixel"},
        {"PhysicalSizeX": 0.0, "PhysicalSizeY": 0.0},
    ],
)
def test_a_pixel_size_that_is_lacking_or_not_square_is_unknown(tmp_path, metadata):
    path = ome(tmp_path / "a.ome.tif", numbered(5, 6), "YX", **metadata)
    assert read_micrograph(path).pixel_size is None


@pytest.mark.parametrize(("unit", "resolution", "size"), [
    ("um", 2.0, 0.5), ("micron", 4.0, 0.25), ("\\u00B5m", 2.0, 0.5), ("mm", 1000.0, 1.0), ("pixel", 1.0, None),
    ("inch", 300.0, None),  # for printing
])  # fmt: skip
def test_imagej_has_axes_and_pixel_size(tmp_path, unit, resolution, size):
    pixels = numbered(2, 3, 5, 6)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, pixels, imagej=True, resolution=(resolution, resolution), metadata={"axes": "ZCYX", "unit": unit}
    )
    picture = read_micrograph(path, ReadOptions(project="mean", channel=2))
    np.testing.assert_allclose(picture.shown, pixels[:, 2].mean(axis=0))
    assert picture.pixel_size == (None if size is None else pytest.approx(size))


def test_imagej_has_names(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, numbered(2, 5, 6), imagej=True, metadata={"axes": "CYX", "Labels": ["DAPI", "CD3"]})
    assert read_micrograph(path, ReadOptions(channel="CD3")).channels == ("DAPI", "CD3")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["c:1/2 - DAPI", "c:2/2 - CD3"], ("DAPI", "CD3")),
        (["c:1/2 - plate_A1.nd2", "c:2/2 - plate_A1.nd2"], ()),
        (["c:1/2", "c:2/2"], ()),
        (["c:1/2 z:1/1 t:1/1 - a", "c:2/2 z:1/1 t:1/1 - b"], ("a", "b")),
    ],
)
def test_where_a_slice_lies_and_the_name_of_its_file_are_no_names(tmp_path, labels, names):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, numbered(2, 5, 6), imagej=True, metadata={"axes": "CYX", "Labels": labels})
    assert read_micrograph(path, ReadOptions(channel=0)).channels == names


def test_the_label_of_a_single_slice_is_no_name(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, numbered(5, 6), imagej=True, metadata={"axes": "YX", "Labels": ["7"]})
    assert read_micrograph(path).channels == ()


def test_axes_of_the_user_take_precedence(tmp_path):
    pixels = numbered(4, 5, 6)
    path = ome(tmp_path / "a.ome.tif", pixels, "ZYX")
    picture = read_micrograph(path, ReadOptions(axes="CYX", channel=3))
    np.testing.assert_array_equal(picture.shown, pixels[3])


def test_a_stack_without_metadata_lists_what_it_may_be(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, numbered(7, 5, 6), photometric="minisblack", metadata=None)
    with pytest.raises(
        ImageFileError, match=r"say what the 7 planes are: channels with --axes CYX.*depths with --axes Z"
    ):
        read_image(path)
    assert read_image(path, ReadOptions(axes="ZYX", project="max")).shape == (5, 6)
    assert read_image(path, ReadOptions(select={"I": 6})).min() == 6 * 30
    tifffile.imwrite(path, numbered(2, 3, 5, 6), photometric="minisblack")
    with pytest.raises(ImageFileError, match=r"stack of shape \(2, 3, 5, 6\).*e.g. --axes ZCYX \(axes='ZCYX' in"):
        read_image(path)


CHANNELS = "channels with --axes CYX --channel 0"
DEPTHS = "depths with --axes ZYX --project max"


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((2, 30, 20), f", which looks like (C, H, W); say what the 2 planes are: {CHANNELS}, {DEPTHS}, "),
        (
            (3, 30, 20),
            f", which looks like (C, H, W); say what the 3 planes are: colours with --axes SYX, {CHANNELS}, {DEPTHS}, ",
        ),
        (
            (4, 30, 20),
            f", which looks like (C, H, W); say what the 4 planes are: colours with --axes SYX, {CHANNELS}, {DEPTHS}, ",
        ),
        ((5, 30, 20), f"; say what the 5 planes are: {CHANNELS}, {DEPTHS}, "),
        (
            (30, 20, 5),
            ", which looks like (H, W, C); if so, say --axes YXC --channel 0 (axes='YXC' and channel=0 in Python)",
        ),
        ((30, 20, 6), f"; say what the 30 planes are: {CHANNELS}, {DEPTHS}, "),
        ((19, 30, 5), f"; say what the 19 planes are: {CHANNELS}, {DEPTHS}, "),
    ],
)
def test_planes_of_a_file_look_like_what_they_may_be(shape, told, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros(shape, np.uint8), photometric="minisblack")
    python = "(in Python axes='CYX', channel=0, project='max', select={'Q': 0})"
    choice = "" if told.endswith("Python)") else f"or choose one with --select Q=0 {python}"
    with pytest.raises(ImageFileError) as raised:
        read_image(path)
    assert (
        str(raised.value)
        == f"{path}: must come down to one image, got a stack of shape {shape} (axes QYX){told}{choice}"
    )


def test_three_channels_of_a_file_that_knows_of_channels_are_stains_whatever_their_names(tmp_path):
    pixels = numbered(3, 5, 6)
    for names in (["DAPI", "CD3", "CD8"], ["DAPI", "", "CD8"], None):
        path = ome(tmp_path / "b.ome.tif", pixels, "CYX", **({"Channel": {"Name": names}} if names else {}))
        colours = names is None or not all(names)
        with pytest.raises(ImageFileError, match="has 3 channels .*--channel 0,1,2" if colours else "has 3 channels"):
            read_image(path)
        assert read_image(path, ReadOptions(channel=(0, 1, 2))).shape == (5, 6, 3)
    colours = ome(tmp_path / "a.ome.tif", pixels.transpose(1, 2, 0), "YXS", photometric="rgb")
    assert read_image(colours).shape == (5, 6, 3)
    named = ome(tmp_path / "c.ome.tif", pixels, "CYX", Channel={"Name": ["Red", "Green", "Blue"]})
    assert read_image(named).shape == (5, 6, 3)


def test_a_hyperstack_of_imagej_has_stains_and_no_colours_however_it_is_shown(tmp_path):
    pixels = numbered(3, 5, 6)

    def saved(mode, labels=None):
        metadata = {"axes": "CYX", **({"mode": mode} if mode else {}), **({"Labels": labels} if labels else {})}
        tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, photometric="minisblack", metadata=metadata)
        return tmp_path / "a.tif"

    with pytest.raises(ImageFileError, match=r"has 3 channels \(0, 1, 2\); say which one shows the nuclei, e.g. --ch"):
        read_image(saved("composite"))
    np.testing.assert_array_equal(read_image(saved("composite"), ReadOptions(channel=1)), pixels[1])
    assert read_image(saved("composite"), ReadOptions(axes="SYX")).shape == (5, 6, 3)
    for mode in ("color", "grayscale", None):
        with pytest.raises(ImageFileError, match="has 3 channels"):
            read_image(saved(mode))
    named = saved("composite", ["Red", "Green", "Blue"])
    np.testing.assert_array_equal(read_image(named), pixels.transpose(1, 2, 0))


def test_letters_of_axes_may_be_small(tmp_path):
    path = ome(tmp_path / "a.ome.tif", numbered(2, 4, 5, 6), "TZYX")
    small, capital = ReadOptions(select={"t": 1, "z": 3}), ReadOptions(select={"T": 1, "Z": 3})
    assert small == capital
    np.testing.assert_array_equal(read_image(path, small), read_image(path, capital))
    assert ReadOptions(axes="tzyx").axes == "TZYX"
    with pytest.raises(InvalidInputError, match="select must name an axis other than Y and X, got 'y'"):
        ReadOptions(select={"y": 0})


def test_the_channel_of_an_example_is_one_that_a_terminal_takes(tmp_path):
    for names, flag, argument in (
        (["DAPI", "CD3"], "DAPI", "'DAPI'"),
        (["405", "a,b", "Hoechst 33342"], "'Hoechst 33342'", "'Hoechst 33342'"),
        (["405", "488"], "0", "0"),
    ):
        path = ome(tmp_path / "a.ome.tif", numbered(len(names), 5, 6), "CYX", Channel={"Name": names})
        with pytest.raises(ImageFileError) as raised:
            read_image(path)
        assert str(raised.value).endswith(f"e.g. --channel {flag} (channel={argument} in Python)")


def test_planes_beside_known_depths_and_channels_can_be_chosen(tmp_path):
    pixels = numbered(2, 3, 4, 5, 6)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata={"axes": "QZCYX"})
    with pytest.raises(
        ImageFileError, match=r"; choose one with --select Q=0 \(in Python select=\{'Q': 0\}\); it has 4 channels"
    ):
        read_image(tmp_path / "a.tif")


def test_all_that_a_stack_leaves_open_is_asked_at_once(tmp_path):
    path = ome(tmp_path / "a.ome.tif", numbered(4, 2, 5, 6), "ZCYX", Channel={"Name": ["actin", "DAPI"]})
    with pytest.raises(ImageFileError, match=r"4 along Z with --project max.*; it has 2 channels .*--channel actin "):
        read_image(path)
    with pytest.raises(ImageFileError, match=r"4 along Z") as raised:
        read_image(path, ReadOptions(channel="DAPI"))
    assert "channels" not in str(raised.value)
    colours = ome(tmp_path / "b.ome.tif", numbered(4, 3, 5, 6), "ZCYX", Channel={"Name": ["red", "green", "blue"]})
    with pytest.raises(ImageFileError, match=r"4 along Z") as raised:
        read_image(colours)
    assert "channels" not in str(raised.value)


def test_one_question_suits_what_channels_mean(tmp_path):
    """Of channels that are colours each, --channel would choose a colour; of many samples, one of them."""
    pixels = numbered(4, 2, 5, 6, 3)
    each = ome(tmp_path / "a.ome.tif", pixels, "ZCYXS", photometric="rgb")
    with pytest.raises(ImageFileError, match=r"4 along Z .*choose from 2 along C with --select C=0") as raised:
        read_image(each)
    assert "--channel" not in str(raised.value)
    with pytest.raises(InvalidInputError, match=r"4 along Z .*; it has 5 channels .*--channel 0"):
        as_micrograph(numbered(4, 5, 6, 5), ReadOptions(axes="ZYXS"))
    with pytest.raises(InvalidInputError, match=r"4 along Z") as raised:
        as_micrograph(numbered(4, 5, 6, 3), ReadOptions(axes="ZYXS"))
    assert "channels" not in str(raised.value)


def test_names_that_are_not_one_for_each_channel_are_not_asked_for():
    stack = Stack(numbered(4, 3, 5, 6), "ZCYX", "image", ("a", "b"), stained=True, from_file=False)
    with pytest.raises(InvalidInputError, match=r"it has 3 channels \(0, 1, 2\); .*--channel 0 "):
        flatten(stack, ReadOptions())


@pytest.mark.parametrize("count", [2, 4])
def test_a_stain_that_is_taken_for_transparency_is_told(count):
    stains = np.random.default_rng(count).normal(size=(20, 30, count))
    last = count - 1
    for channel in (None, 0, last):
        with pytest.warns(ImageWarning, match=rf"channel {last} of an array .*axes='YXC', channel={last}\)") as caught:
            assert as_micrograph(stains, ReadOptions(channel=channel)).measured.shape[2] == last
        assert caught[0].filename == __file__
    found = as_micrograph(stains, ReadOptions(axes="YXC", channel=last))
    np.testing.assert_array_equal(found.shown, stains[..., last])
    assert found.measured.shape == stains.shape
    picture = np.zeros((20, 30, count), np.uint8)
    dark = np.maximum(np.arange(-310, 290).reshape(20, 30), 0)  # a stain whose ground is black can't be told, either
    for opaque in (np.full((20, 30), 255), np.zeros((20, 30)), np.clip(np.arange(600).reshape(20, 30), 0, 255), dark):
        picture[..., -1] = np.minimum(opaque, 255)
        assert as_micrograph(picture).alpha  # and no warning, which were an error


def test_one_of_several_images(tmp_path):
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(numbered(5, 6), metadata={"axes": "YX", "Name": "left", "PhysicalSizeX": 1, "PhysicalSizeY": 1})
        writer.write(numbered(7, 8), metadata={"axes": "YX", "Name": "right", "PhysicalSizeX": 2, "PhysicalSizeY": 2})
    with pytest.raises(ImageFileError, match=r"--scene 0 \(scene=0 in Python\): 0 'left' \(5, 6\), 1 'right' \(7, 8\)"):
        read_image(path)
    for scene in (1, "right"):
        picture = read_micrograph(path, ReadOptions(scene=scene))
        assert (picture.shown.shape, picture.pixel_size) == ((7, 8), 2)
    for scene in (2, "middle"):
        with pytest.raises(ImageFileError, match=f"has no scene {scene!r}; choose one of 0 'left'"):
            read_image(path, ReadOptions(scene=scene))


def test_levels_of_a_pyramid(tmp_path):
    path, pixels = tmp_path / "pyramid.ome.tif", numbered(64, 96)
    with tifffile.TiffWriter(path, ome=True) as writer:
        size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        writer.write(pixels, subifds=1, metadata={"axes": "YX", **size})
        writer.write(pixels[::4, ::4], subfiletype=1)
    for level, factor in ((0, 1), (1, 4)):
        picture = read_micrograph(path, ReadOptions(level=level))
        np.testing.assert_array_equal(picture.shown, pixels[::factor, ::factor])
        assert picture.pixel_size == 0.5 * factor
    assert read_micrograph(path, ReadOptions(level=1, pixel_size=0.1)).pixel_size == pytest.approx(0.4)
    with pytest.raises(ImageFileError, match=r"has no level 2; choose one of 0 \(64 × 96\), 1 \(16 × 24\)"):
        read_image(path, ReadOptions(level=2))
    with pytest.raises(ImageFileError, match="choose another of its levels, 0 to 1"):
        read_image(path, ReadOptions(max_pixels=64 * 96 - 1))
    assert read_image(path, ReadOptions(level=1, max_pixels=64 * 96 - 1)).shape == (16, 24)


def test_ordinary_pictures_have_one_scene_and_one_level(tmp_path, disc_dataset):
    path = disc_dataset / "images" / "disc0.png"
    assert read_image(path, ReadOptions(scene=0)).shape == (64, 64)
    with pytest.raises(ImageFileError, match="has no scene 1"):
        read_image(path, ReadOptions(scene=1))
    with pytest.raises(ImageFileError, match="has no level 1"):
        read_image(path, ReadOptions(level=1))


@pytest.mark.parametrize("axes", ["YX", "ZYX", "CYX", "ZCYX", "TZCYX"])
@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_what_tifffile_writes_comes_back(tmp_path, kind, axes):
    pixels = np.random.default_rng(0).integers(0, 60_000, (2, 3, 4, 5, 6)[5 - len(axes) :]).astype(np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, **{kind: True}, photometric="minisblack", metadata={"axes": axes})
    options = ReadOptions(channel=0, project="max", select={"T": 0})
    expected = as_micrograph(pixels, dataclasses.replace(options, axes=axes, select={"T": 0} if "T" in axes else {}))
    np.testing.assert_array_equal(read_micrograph(path, options).pixels, expected.pixels)
