from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleiseg.errors import InvalidInputError
from nucleiseg.images import (
    apply_range,
    list_scalings,
    register_scaling,
    rescale,
    scaling_range,
    to_rgb,
)
from nucleiseg.images.scaling import _SCALINGS

FEW = settings(max_examples=40, deadline=None)
SHAPES = st.one_of(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4)),
)
SMALL_INTEGERS = [np.dtype(kind) for kind in ("u1", "u2", "i1", "i2", "?")]
NUMBERS = [*SMALL_INTEGERS, *(np.dtype(kind) for kind in ("i4", "u4", "i8", "u8"))]
FLOATS = [np.dtype(kind) for kind in ("f2", "f4", "f8")]


def images(dtypes=(*NUMBERS, *FLOATS)):
    def of(dtype):
        finite = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
        # A float64 image whose range is no float64 is refused, see test_a_range_that_no_float_holds.
        if dtype == np.float64:
            finite.update(min_value=-1e300, max_value=1e300)
        return hnp.arrays(dtype, SHAPES, elements=hnp.from_dtype(dtype, **finite))

    return st.sampled_from(dtypes).flatmap(of)


def colours(image):
    return image[..., :-1] if image.ndim == 3 and image.shape[2] in (2, 4) else image


@FEW
@given(images(), st.sampled_from(["minmax", "percentile"]), st.booleans())
def test_the_result_is_float32_in_0_1_and_the_input_is_untouched(image, method, per_channel):
    before = image.copy()
    result = rescale(image, method, per_channel)
    assert result.dtype == np.float32
    assert result.shape == image.shape
    assert result.min() >= 0
    assert result.max() <= 1
    np.testing.assert_array_equal(image, before)


@FEW
@given(images(SMALL_INTEGERS))
def test_percentiles_by_counting_are_those_of_numpy_to_the_last_bit(image):
    values = colours(image).astype(np.float64)
    expected = np.percentile(values, [1, 99.8])
    if expected[0] == expected[1]:
        expected = values.min(), values.max()
    assert scaling_range(image) == tuple(expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_percentiles_by_counting_on_many_pixels(dtype):
    image = (np.random.default_rng(0).random((100, 200, 3)) ** 3 * 120).astype(dtype)
    assert scaling_range(image) == tuple(np.percentile(image.astype(np.float64), [1, 99.8]))
    low, high = scaling_range(image, per_channel=True)
    np.testing.assert_array_equal([low, high], np.percentile(image.astype(np.float64), [1, 99.8], axis=(0, 1)))


@FEW
@given(images(FLOATS))
def test_percentiles_of_floats_are_those_of_numpy_in_double_precision(image):
    low, high = scaling_range(image)
    expected = np.percentile(colours(image).astype(np.float64), [1, 99.8])
    if expected[0] < expected[1]:
        np.testing.assert_allclose((low, high), expected, rtol=1e-5)


@FEW
@given(images(), st.sampled_from(["minmax", "percentile"]))
def test_scaling_keeps_the_order_of_the_pixels(image, method):
    flat = colours(image)
    result = rescale(flat, method)
    order = np.argsort(flat, axis=None, kind="stable")
    assert (np.diff(result.ravel()[order]) >= 0).all()


@FEW
@given(images([np.dtype("u1"), np.dtype("u2")]), st.integers(2, 5), st.integers(0, 1000))
def test_gain_and_offset_of_the_camera_cancel(image, gain, offset):
    flat = colours(image)
    np.testing.assert_allclose(rescale(flat.astype(np.int64) * gain + offset), rescale(flat), atol=1e-4)


def test_minmax_reaches_both_ends():
    image = np.array([[3.5, -2.0, 8.25]], np.float32)
    np.testing.assert_allclose(rescale(image, "minmax"), [[5.5 / 10.25, 0, 1]], rtol=1e-6)


@pytest.mark.parametrize("method", ["minmax", "percentile"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_constant_image_becomes_zero(method, per_channel):
    assert not rescale(np.full((4, 5, 3), 7, np.uint8), method, per_channel).any()


def test_few_bright_pixels_on_flat_ground_are_not_lost():
    image = np.zeros((100, 100), np.uint8)
    image[50, 50] = 200
    assert scaling_range(image, "percentile") == (0.0, 200.0)
    assert rescale(image)[50, 50] == 1


def test_percentile_clips_hot_pixels():
    image = np.random.default_rng(0).integers(0, 100, (100, 100)).astype(np.uint16)
    image[0, 0] = 60_000
    result = rescale(image)
    assert result[0, 0] == 1
    assert result[1:].std() > 0.2


@pytest.mark.parametrize(
    ("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535), (np.int16, 32767), (bool, 1), (np.float32, 1)]
)
def test_dtype_divides_by_the_largest_value(dtype, top):
    assert scaling_range(np.array([[0, 1]], dtype), "dtype") == (0.0, float(top))
    np.testing.assert_allclose(rescale(np.array([[0, 1]], dtype), "dtype"), [[0, 1 / top]], rtol=1e-6)


@pytest.mark.parametrize(
    "image",
    [
        np.array([[0, 1.5]], np.float32),
        np.array([[-0.1, 1]], np.float64),
        np.array([[-1, 5]], np.int16),
    ],
)
def test_dtype_refuses_values_it_does_not_fit(image):
    with pytest.raises(InvalidInputError, match="use the scaling 'minmax' or 'percentile'"):
        rescale(image, "dtype")


def test_per_channel_ranges_are_those_of_the_single_channels():
    image = np.random.default_rng(1).integers(0, 4000, (30, 20, 3)).astype(np.uint16)
    result = rescale(image, per_channel=True)
    for i in range(3):
        np.testing.assert_array_equal(result[..., i], rescale(image[..., i]))
    low, high = scaling_range(image[..., 0], per_channel=True)
    assert low.shape == high.shape == (1,)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_takes_no_part(channels, per_channel):
    colour = np.random.default_rng(2).integers(50, 90, (9, 8, channels)).astype(np.uint8)
    image = np.concatenate([colour, np.full((9, 8, 1), 255, np.uint8)], axis=2)
    np.testing.assert_array_equal(
        scaling_range(image, "minmax", per_channel), scaling_range(colour, "minmax", per_channel)
    )
    result = rescale(image, "minmax", per_channel)
    np.testing.assert_array_equal(result[..., :-1], rescale(colour, "minmax", per_channel))
    assert (result[..., -1] == 1).all()


def test_a_crop_is_scaled_by_the_range_of_the_whole_image():
    image = np.random.default_rng(3).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    low, high = scaling_range(image)
    np.testing.assert_array_equal(apply_range(image[5:9, 7:20], low, high), rescale(image)[5:9, 7:20])


def test_grey_and_its_rgb_scale_alike():
    grey = np.random.default_rng(4).integers(0, 255, (21, 17)).astype(np.uint8)
    np.testing.assert_array_equal(to_rgb(rescale(grey, "minmax")), rescale(to_rgb(grey), "minmax"))


def test_a_range_that_no_float_holds():
    with pytest.raises(InvalidInputError, match="low and high must be finite with low <= high"):
        rescale(np.array([[-1.7e308, 1.7e308]]), "minmax")


@pytest.mark.parametrize(("low", "high"), [(2, 1), (np.nan, 1), (0, np.inf)])
def test_bounds_that_are_no_range(low, high):
    with pytest.raises(InvalidInputError, match="use scaling_range to find them"):
        apply_range(np.zeros((2, 2)), low, high)


def test_bounds_of_other_channels():
    with pytest.raises(InvalidInputError, match="one for each of 3 colour channels, got shape"):
        apply_range(np.zeros((2, 2, 4)), np.zeros(4), np.ones(4))


@pytest.mark.parametrize("function", [to_rgb, rescale, scaling_range])
@pytest.mark.parametrize("value", [np.zeros((2, 3, 4, 3)), np.zeros((0, 3)), np.array([[np.nan]]), [["a"]]])
def test_what_is_no_image_is_refused(function, value):
    with pytest.raises(InvalidInputError, match="image must"):
        function(value)


def test_an_unknown_method_is_named_with_a_guess():
    with pytest.raises(InvalidInputError, match="did you mean 'percentile'"):
        rescale(np.zeros((2, 2)), "percentil")


def test_scalings_can_be_added():
    register_scaling("half")(lambda values: (0.0, 2.0 * float(values.max())))
    try:
        assert "half" in list_scalings()
        assert rescale(np.array([[0, 8]]), "half").tolist() == [[0, 0.5]]
        with pytest.raises(InvalidInputError, match="registered already"):
            register_scaling("half")(lambda values: (0.0, 1.0))
    finally:
        _SCALINGS.unregister("half")


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_to_rgb(channels):
    shape = (5, 4) if channels is None else (5, 4, channels)
    image = np.random.default_rng(0).integers(0, 9999, shape).astype(np.uint16)
    before = image.copy()
    rgb = to_rgb(image)
    assert rgb.shape == (5, 4, 3)
    assert rgb.dtype == np.uint16
    wanted = image if channels is None else image[..., 0]
    np.testing.assert_array_equal(rgb[..., 0], wanted)
    np.testing.assert_array_equal(rgb[..., 2], image[..., 2] if channels in (3, 4) else wanted)
    rgb += 1
    np.testing.assert_array_equal(image, before)
