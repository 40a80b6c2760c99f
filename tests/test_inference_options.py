from __future__ import annotations

import dataclasses

import pytest

from nucleiseg import PredictOptions, Tiling
from nucleiseg.errors import InvalidInputError


def test_options_are_frozen_and_have_documented_defaults():
    assert PredictOptions() == PredictOptions(threshold=None, min_area=None, tiling="auto", max_memory="2GB", tta=False)
    with pytest.raises(dataclasses.FrozenInstanceError):
        PredictOptions().tta = True


@pytest.mark.parametrize(
    "options", [{"threshold": 0}, {"threshold": 1.0}, {"min_area": 9}, {"tiling": Tiling(32, 8)}, {"tiling": None}]
)
def test_values_in_range(options):
    assert dataclasses.replace(PredictOptions(), **options) == PredictOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.01}, "threshold must be a number from 0 to 1, got 1.01"),
        ({"threshold": float("nan")}, "threshold must be a number from 0 to 1, got nan"),
        ({"threshold": "half"}, "threshold must be a number"),
        ({"min_area": -1}, "min_area must be a whole number of at least 0, got -1"),
        ({"min_area": 2.5}, "min_area must be a whole number"),
        ({"tiling": 256}, r"tiling must be 'auto', a Tiling or None, got 256; use Tiling\(tile=256\)"),
        (
            {"max_memory": "2 nuclei"},
            r"max_memory must be a positive number of bytes.*got '2 nuclei'; for example '2GB'",
        ),
        ({"max_memory": 0}, "max_memory must be a positive number"),
        ({"max_memory": True}, "max_memory must be a positive number"),
        *(({name: "no"}, f"{name} must be true or false, got 'no'") for name in ("tta", "remove_edge", "fill_holes")),
        *(({name: True}, f"{name}.* must be .* from .*, got True") for name in ("threshold", "scale", "diameter")),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(InvalidInputError, match=message):
        PredictOptions(**options)


def test_scale_and_diameter_exclude_each_other():
    with pytest.raises(InvalidInputError, match=r"scale and diameter both say how to resize, got 2.0 and 30"):
        PredictOptions(scale=2.0, diameter=30)
    with pytest.raises(InvalidInputError, match=r"scale and diameter both say how to resize, got 2.0 and 8"):
        PredictOptions(scale=2.0, diameter_um=8)
    with pytest.raises(InvalidInputError, match=r"the same in pixels and in µm, got 30 and 8; pass one of them"):
        PredictOptions(diameter=30, diameter_um=8)


def test_a_diameter_in_micrometres_needs_the_size_of_a_pixel():
    options = PredictOptions(diameter_um=8, min_area=5)
    assert options.in_pixels(0.5) == PredictOptions(diameter=16, min_area=5)
    assert PredictOptions(diameter=9).in_pixels(None) == PredictOptions(diameter=9)
    with pytest.raises(
        InvalidInputError, match=r"does not tell, got 8 µm; pass .*--pixel-size, or the diameter in pix"
    ):
        options.in_pixels(None)
    with pytest.raises(InvalidInputError, match="diameter must be a number from 1"):
        options.in_pixels(10)


@pytest.mark.parametrize(
    "option", [{"scale": 0}, {"scale": "large"}, {"diameter": 0}, {"diameter_um": 0}, {"min_confidence": 1.5}]
)
def test_scale_diameter_and_confidence_have_bounds(option):
    (name,) = option
    with pytest.raises(InvalidInputError, match=rf"{name}.* must be a number from"):
        PredictOptions(**option)
