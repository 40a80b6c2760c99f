"""Whatever the order of the axes in a file: what was written is read, whole and window by window."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nucleiseg.errors import ImageFileError
from nucleiseg.images import ReadOptions, as_micrograph, open_lazy, read_micrograph
from nucleiseg.images.sources import open_micrograph

zarr = pytest.importorskip("zarr")
LAWS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
LENGTHS = {"Y": 7, "X": 5, "S": 3}


def numbered(axes, long):
    """Every pixel another one; T, Z and C are longer than 1 where that is said."""
    shape = [LENGTHS.get(axis, 2 if axis in long else 1) for axis in axes]
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


def options_for(long, **further):
    """That choose the second of each."""
    return ReadOptions(select={axis: 1 for axis in "TZ" if axis in long}, channel=1 if "C" in long else None, **further)


def expected_of(pixels, axes, long):
    """By NumPy alone: rows, columns and channels."""
    where = tuple(1 if axis in "TZ" and axis in long else 0 if axis in "TZ" else slice(None) for axis in axes)
    left = [axis for axis in axes if axis not in "TZ"]
    colours = [axis for axis in left if axis in "CS"]
    stack = np.transpose(pixels[where], [left.index(axis) for axis in ["Y", "X", *colours]])
    return stack[..., 0] if stack.shape[2:] == (1,) else stack


def check(source, axes, long, pixels, size, options):
    whole = expected_of(pixels, axes, long)
    shown = whole[..., 1] if "C" in long else whole
    lazy = open_lazy(source, options)
    assert lazy.shape == whole.shape[:2]
    assert lazy.pixel_size == (None if size is None else pytest.approx(size))
    for window in (np.s_[0:7, 0:5], np.s_[2:6, 1:2], np.s_[6:7, 0:5], np.s_[0:7, 4:5]):
        window = tuple(slice(part.start, min(part.stop, n)) for part, n in zip(window, lazy.shape, strict=True))
        part = lazy.read(*window)
        np.testing.assert_array_equal(part.pixels, whole[window])
        np.testing.assert_array_equal(part.shown, shown[window])
        np.testing.assert_array_equal(lazy[window], shown[window])
    found = open_micrograph(source, options)
    np.testing.assert_array_equal(found.pixels, whole)
    assert found.pixel_size == lazy.pixel_size


@st.composite
def stacks(draw, letters="TZC"):
    """Axes in any order, which of them are longer than 1, and those that a user may leave out."""
    further = draw(st.sets(st.sampled_from(letters)))
    axes = "".join(draw(st.permutations(sorted({"Y", "X"} | further))))
    long = draw(st.sets(st.sampled_from(sorted(further)))) if further else set()
    return axes, "".join(sorted(long))


def write_ome_zarr(path, axes, pixels, size, version=2, called=str.lower, types=True):
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    group.create_array("0", shape=pixels.shape, dtype="u2", chunks=(2,) * pixels.ndim)[...] = pixels
    half = pixels[tuple(slice(None, None, 2) if axis in "YX" else slice(None) for axis in axes)]
    group.create_array("1", shape=half.shape, dtype="u2", chunks=(2,) * pixels.ndim)[...] = half
    units = {"Y": "micrometer", "X": "nanometer"}
    scales = {"Y": size, "X": size * 1000}
    described = [
        {"name": called(axis), "type": TYPES[axis], **({"unit": units[axis]} if axis in units else {})} for axis in axes
    ]
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [scales.get(axis, 9.0) * (1 + level * (axis in "YX")) for axis in axes]}
            ],
        }
        for level in (0, 1)
    ]
    attributes = {"multiscales": [{"axes": described, "datasets": datasets}]}
    group.attrs.update({"ome": attributes} if version == 3 else attributes)


@LAWS
@given(stacks(), st.sampled_from([2, 3]), st.sampled_from([0.25, 0.5]))
def test_an_ome_zarr_in_any_order(tmp_path, stack, version, size):
    axes, long = stack
    pixels = numbered(axes, long)
    write_ome_zarr(tmp_path / "a.zarr", axes, pixels, size, version)
    check(tmp_path / "a.zarr", axes, long, pixels, size, options_for(long))
    half = open_lazy(tmp_path / "a.zarr", options_for(long, level=1))
    assert half.shape == (4, 3)
    assert half.pixel_size == pytest.approx(2 * size)  # as it says; there are 7 / 4 times as many rows


@LAWS
@given(st.data())
def test_the_users_axes_take_precedence_in_an_ome_zarr(tmp_path, data):
    """Rows and columns may be the other way round than the file says."""
    axes, long = data.draw(stacks())
    pixels = numbered(axes, long)
    swapped = axes.translate(str.maketrans("YX", "XY"))
    write_ome_zarr(tmp_path / "a.zarr", swapped, pixels, 0.5)
    left_out = data.draw(st.sets(st.sampled_from([axis for axis in axes if axis in "TZC" and axis not in long] or "-")))
    meant = "".join(axis for axis in axes if axis not in left_out)
    check(tmp_path / "a.zarr", axes, long, pixels, 0.5, options_for(long, axes=meant))


@LAWS
@given(st.data())
def test_a_plain_zarr_in_any_order(tmp_path, data):
    axes, long = data.draw(stacks())
    pixels = numbered(axes, long)
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=pixels.shape, dtype="u2", chunks=(2,) * pixels.ndim, overwrite=True
    )
    array[...] = pixels
    array.attrs["pixel_size"] = 0.5
    single = [axis for axis in axes if axis in "TZC" and axis not in long]
    meant = axes if data.draw(st.booleans()) else "".join(axis for axis in axes if axis not in single)
    check(tmp_path / "a.zarr", axes, long, pixels, 0.5, options_for(long, axes=meant))
    whole = as_micrograph(pixels, options_for(long, axes=meant))
    lazy = open_lazy(pixels, options_for(long, axes=meant))
    np.testing.assert_array_equal(lazy[0:7, 0:5], whole.shown)


@LAWS
@given(st.data(), st.booleans())
def test_an_ome_tiff_in_any_order(tmp_path, data, tiled):
    """OME has rows and columns last, and samples after them."""
    further, long = data.draw(stacks())
    further = "".join(axis for axis in further if axis not in "YX")
    colours = data.draw(st.booleans()) and "C" not in further
    axes = f"{further}YX" + "S" * colours
    pixels = numbered(axes, long)
    metadata = {"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    if "C" in axes:
        metadata["Channel"] = {"Name": ["one", "two"][: pixels.shape[axes.index("C")]]}
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        pixels,
        metadata=metadata,
        photometric="rgb" if colours else "minisblack",
        tile=(16, 16) if tiled else None,
    )
    given_axes = data.draw(
        st.sampled_from([None, axes, "".join(axis for axis in axes if axis in "YXS" or axis in long)])
    )
    check(tmp_path / "a.ome.tif", axes, long, pixels, 0.5, options_for(long, axes=given_axes))


@LAWS
@given(st.data(), st.booleans())
def test_a_tiff_file_that_says_its_axes_in_any_order(tmp_path, data, said):
    """As tifffile writes them, or as the user has them."""
    axes, long = data.draw(stacks())
    pixels = numbered(axes, long)
    metadata = {"axes": axes} if said else {}  # which still has the shape
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata=metadata, photometric="minisblack", planarconfig=None)
    options = options_for(long, axes=None if said else axes, pixel_size=0.5)
    whole = expected_of(pixels, axes, long)
    np.testing.assert_array_equal(read_micrograph(tmp_path / "a.tif", options).pixels, whole)
    check(tmp_path / "a.tif", axes, long, pixels, 0.5, options)


def test_axes_with_longer_names_are_known_by_their_type(tmp_path):
    names = {"T": "frame", "C": "channel", "Z": "z", "Y": "y", "X": "x"}
    pixels = numbered("XCYT", "CT")
    write_ome_zarr(tmp_path / "a.zarr", "XCYT", pixels, 0.5, called=names.get)
    check(tmp_path / "a.zarr", "XCYT", "CT", pixels, 0.5, options_for("CT"))


def test_rows_and_columns_of_other_names_have_to_be_told(tmp_path):
    pixels = numbered("CYX", "C")
    write_ome_zarr(tmp_path / "a.zarr", "CYX", pixels, 0.5, called={"C": "c", "Y": "row", "X": "column"}.get)
    with pytest.raises(ImageFileError, match=r"a\.zarr: has no axes y and x, got c, row, column; say .*axes='CYX'"):
        open_lazy(tmp_path / "a.zarr", ReadOptions(channel=1))
    lazy = open_lazy(tmp_path / "a.zarr", ReadOptions(channel=1, axes="CYX"))
    assert (lazy.shape, lazy.pixel_size) == ((7, 5), 0.5)
    np.testing.assert_array_equal(lazy[1:3, 2:5], pixels[1, 1:3, 2:5])


def test_a_scale_of_all_levels_counts_too(tmp_path):
    write_ome_zarr(tmp_path / "a.zarr", "XY", numbered("XY", ""), 0.5)
    group = zarr.open_group(str(tmp_path / "a.zarr"))
    (multiscale,) = group.attrs["multiscales"]
    group.attrs["multiscales"] = [{**multiscale, "coordinateTransformations": [{"type": "scale", "scale": [3, 3]}]}]
    assert open_lazy(tmp_path / "a.zarr").pixel_size == 1.5
