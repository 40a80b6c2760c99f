"""Pictures of nuclei: errors, histograms, contact sheets."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import measure
from nucleiseg.instances.exporters import is_own_export
from nucleiseg.plotting import Thumbnail, draw_errors, plot_contact_sheet, plot_errors, plot_histograms
from nucleiseg.plotting._canvas import ORANGE, SKY, as_rgb
from nucleiseg.plotting.errors import GREEN


def disc(row, column, radius=6, shape=(60, 80)):
    rows, columns = np.indices(shape)
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


@pytest.fixture
def scene():
    """An image, true nuclei and predicted ones: one found, one missed, one false, and two taken for one."""
    truth, predicted = np.zeros((2, 60, 80), int)
    truth[disc(15, 15)], predicted[disc(15, 16)] = 4, 9
    truth[disc(15, 60)] = 5
    predicted[disc(45, 15)] = 2
    truth[disc(45, 55)], truth[disc(45, 68)] = 6, 7
    predicted[disc(45, 55) | disc(45, 68) | disc(45, 61, 4)] = 1
    return truth * 30.0, truth, predicted


def words(path):
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


def hue(picture, row, column):
    """Which of the three colours a place has most of."""
    factor = picture.shape[0] // 60
    pixel = picture[row * factor + factor // 2, column * factor + factor // 2].astype(int)
    if np.ptp(pixel) < 5:
        return "grey"
    centred = {name: np.subtract(as_rgb(name), np.mean(as_rgb(name))) for name in (GREEN, ORANGE, SKY)}
    return max(centred, key=lambda name: (pixel - pixel.mean()) @ centred[name] / np.linalg.norm(centred[name]))


def test_found_false_and_missed_nuclei_are_told_by_colour(scene):
    drawn = draw_errors(*scene)
    assert (drawn.found, drawn.false, drawn.missed) == (1, 2, 3)
    assert hue(drawn.pixels, 15, 15) == GREEN
    assert hue(drawn.pixels, 15, 60) == SKY
    assert hue(drawn.pixels, 45, 15) == ORANGE
    assert hue(drawn.pixels, 30, 40) == "grey"
    assert hue(drawn.pixels, 45, 55) == hue(drawn.pixels, 45, 68) == SKY  # both are seen, in an orange line
    column = drawn.pixels[:, 55 * (drawn.pixels.shape[0] // 60)]
    assert (column == as_rgb(ORANGE)).all(axis=1).any()


def test_the_threshold_decides_what_is_found(scene):
    assert draw_errors(*scene, threshold=0.9).found == 0
    assert draw_errors(*scene, threshold=0.05).found == 2
    with pytest.raises(InvalidInputError, match="IoU threshold"):
        draw_errors(*scene, threshold=0)


@settings(max_examples=15, deadline=None)
@given(hnp.arrays(np.int16, (2, 7, 8), elements=st.integers(0, 4)))
def test_every_nucleus_is_counted_once(labels):
    truth, predicted = labels
    drawn = draw_errors(np.zeros((7, 8)), truth, predicted)
    assert drawn.found + drawn.missed == len(np.unique(truth[truth > 0]))
    assert drawn.found + drawn.false == len(np.unique(predicted[predicted > 0]))


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (40, 30), (2600, 2700)])
def test_errors_of_images_of_any_size(shape):
    truth = np.zeros(shape, np.int32)
    truth[: max(1, shape[0] // 3), : max(1, shape[1] // 3)] = 1
    drawn = draw_errors(np.zeros(shape, np.uint8), truth, truth)
    assert (drawn.found, drawn.false, drawn.missed) == (1, 0, 0)
    assert 400_000 < drawn.pixels.size / 3 < 4_000_000
    assert drawn.pixels[0, 0].argmax() == 1  # green


def test_errors_are_explained_and_counted(scene, tmp_path):
    path = plot_errors(*scene, tmp_path / "errors.svg", title="well_A01")
    assert words(path) == ["well_A01", "1 found", "2 false", "3 missed", "true outline"]
    png = plot_errors(*scene, tmp_path / "errors.png")
    with Image.open(png) as picture:
        assert picture.width > 600
    assert is_own_export(png)
    assert "well" not in "".join(words(plot_errors(*scene, tmp_path / "untitled.svg")))


def test_arguments_of_errors_are_checked(scene, tmp_path):
    image, truth, predicted = scene
    for arguments, message in (
        ((image[1:], truth, predicted), "image and truth must have the same"),
        ((image, truth, predicted[1:]), "truth and predicted must have the same"),
        ((image, truth / 2, predicted), "truth must be integers"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            draw_errors(*arguments)
    with pytest.raises(InvalidInputError, match="unknown picture suffix"):
        plot_errors(*scene, tmp_path / "errors.txt")


# Histograms


def table(**columns):
    return pd.DataFrame({"label": range(1, 101), "area": np.arange(100) ** 2, **columns})


def test_sizes_and_intensities_are_shown(tmp_path):
    image = np.random.default_rng(0).integers(0, 99, (40, 40, 4))
    image[..., 3] = 255
    labels = np.kron(np.arange(16).reshape(4, 4), np.ones((10, 10), int))
    text = words(plot_histograms(measure(labels, image), tmp_path / "a.svg"))
    assert [word for word in text if word[0].isupper()] == ["Area", "Intensity 0", "Intensity 1", "Intensity 2"]
    assert "median 100 pixels" in text
    assert "15 nuclei" in text


def test_micrometres_are_preferred_and_columns_may_be_chosen(tmp_path):
    names = ("area_um2", "intensity_mean-DAPI")
    data = table(area_um2=np.arange(100) / 2, **{"intensity_mean-DAPI": np.linspace(0, 1, 100)}, kind="round")
    assert {"Area", "median 24.75 µm²", "Intensity DAPI"} <= set(words(plot_histograms(data, tmp_path / "a.svg")))
    shown = words(plot_histograms(data, tmp_path / "b.svg", columns=[*names, "area", "label"], title="plate 7"))
    assert [word for word in shown if word in ("plate 7", "Area", "Label")] == ["Area", "Area", "Label", "plate 7"]


def test_names_with_dollars_are_no_formulas(tmp_path):
    data = table(**{"intensity_mean-a$b_{$": np.linspace(0, 1, 100), "x$_{$": np.arange(100)})
    columns = ["intensity_mean-a$b_{$", "x$_{$"]
    shown = words(plot_histograms(data, tmp_path / "a.svg", columns=columns, title="plate$7_{$"))
    assert {"plate$7_{$", "Intensity a$b_{$", "X$ {$"} <= set(shown)


def test_a_few_giants_do_not_hide_the_rest(tmp_path):
    areas = np.full(1000, 50.0)
    areas[:500] = 40
    areas[-2:] = 1e6
    shown = words(plot_histograms(pd.DataFrame({"area": areas}), tmp_path / "a.svg"))
    assert "1,000 nuclei, 2 larger not shown" in shown
    assert "1000000" not in shown


@pytest.mark.parametrize(
    "values", [[5.0], [3, 3, 3], [0, 0], [np.nan, 4.0, 5.0], [-5, -3.5, -900], np.arange(5000) ** 3]
)
def test_histograms_of_any_numbers(tmp_path, values):
    assert plot_histograms(pd.DataFrame({"area": values}), tmp_path / "a.png").stat().st_size > 1000


def test_arguments_of_histograms_are_checked(tmp_path):
    data = table(kind="round", empty=np.nan)
    for arguments, message in (
        ((data[:0], "a.png"), "at least one nucleus, but 'area' is empty"),
        ((data, "a.png", ["empty"]), "but 'empty' is empty"),
        ((data, "a.png", ["kind"]), "must be numbers of the table, got 'kind'; choose from label, area"),
        ((data, "a.png", ["size"]), "got 'size'"),
        ((data, "a.png", []), "needs a column"),
        ((data.drop(columns="area"), "a.png"), "needs a column"),
        ((data, "a.gif"), "unknown picture suffix"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            plot_histograms(arguments[0], tmp_path / arguments[1], *arguments[2:])
    assert not list(tmp_path.iterdir())


# Contact sheets of a folder


def tile(height=20, width=30, title="a.tif", note="3 nuclei", colour=(200, 30, 60)):
    return Thumbnail(title, np.full((height, width, 3), colour, np.uint8), note)


def test_a_sheet_shows_names_and_notes(tmp_path):
    tiles = [tile(title=f"well_{letter}.tif", note=f"{i} nuclei") for i, letter in enumerate("ABCDEFG")]
    shown = words(plot_contact_sheet(tiles, tmp_path / "sheet.svg", "plate 7"))
    assert shown == ["plate 7", *(word for tile in tiles for word in (tile.title, tile.note))]


def test_long_names_leave_room_for_the_note(tmp_path):
    shown = words(plot_contact_sheet([tile(title="x" * 80 + "_B07.tif")], tmp_path / "sheet.svg"))
    assert re.fullmatch(r"x+…[x_]*.*\.tif", shown[0])
    assert shown[1] == "3 nuclei"


@pytest.mark.parametrize(("count", "across", "rows"), [(1, None, 1), (4, None, 2), (40, None, 7), (4, 4, 1)])
def test_rows_are_filled(tmp_path, count, across, rows):
    with Image.open(plot_contact_sheet([tile(30, 30)] * count, tmp_path / "sheet.png", across=across)) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    is_tile = (np.abs(pixels - (200, 30, 60)).max(axis=2) < 25).sum(axis=1) > 100
    assert np.count_nonzero(np.diff(is_tile.astype(int)) == 1) == rows


def test_pictures_are_made_small_and_keep_their_proportions():
    assert tile(2000, 500).picture.shape == (240, 60, 3)
    assert tile(3, 9000).picture.shape == (1, 240, 3)
    assert tile(20, 30).picture.shape == (20, 30, 3)
    thin = np.zeros((1200, 1200, 3), np.uint8)
    thin[::5] = 255
    assert 30 < Thumbnail("a", thin).picture.min() <= Thumbnail("a", thin).picture.max() < 60  # averaged, not lost


def test_arguments_of_contact_sheets_are_checked(tmp_path):
    with pytest.raises(InvalidInputError, match="must have a picture, got none"):
        plot_contact_sheet([], tmp_path / "a.png")
    with pytest.raises(InvalidInputError, match="across must be a whole number"):
        plot_contact_sheet([tile()], tmp_path / "a.png", across=0)
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(InvalidInputError, match=r"picture must be uint8 \(H, W, 3\)"):
            Thumbnail("a", wrong)
