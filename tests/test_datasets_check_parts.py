"""The parts of the check against plain ways of computing the same, and its thresholds where they switch."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from nucleiseg.datasets import CheckSettings, check, from_arrays
from nucleiseg.datasets.doctor.contrast import measure_contrast
from nucleiseg.datasets.doctor.duplicates import find_duplicates
from nucleiseg.datasets.doctor.facts import measure_image, measure_labels
from nucleiseg.datasets.doctor.kinds import KINDS
from nucleiseg.datasets.doctor.regions import find_regions
from nucleiseg.errors import InvalidInputError

EXAMPLES = settings(max_examples=60, deadline=None)
label_images = hnp.arrays(
    np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 0, 1, 2, 7])
)
EVERYWHERE = np.ones((3, 3), bool)


@EXAMPLES
@given(label_images)
def test_regions_are_the_components_of_each_label(labels):
    regions = find_regions(labels)
    assert regions.area.sum() == labels.size
    np.testing.assert_array_equal(regions.value[regions.image], labels)
    np.testing.assert_array_equal(regions.area, np.bincount(regions.image.ravel()))
    for value in np.unique(labels):
        _, expected = ndimage.label(labels == value, EVERYWHERE if value else None)
        assert (regions.value == value).sum() == expected


@EXAMPLES
@given(label_images)
def test_holes_are_what_filling_fills(labels):
    hole_in = find_regions(labels).hole_in
    region = find_regions(labels).image
    for value in (1, 2, 7):
        only_this = np.where(labels == value, value, 0).astype(np.int32)
        filled = ndimage.binary_fill_holes(only_this > 0) & (only_this == 0)
        # In the presence of other labels, a hole that holds one of them is none.
        assert not (np.isin(region, np.flatnonzero(hole_in == value)) & ~filled).any()
        alone = find_regions(only_this)
        np.testing.assert_array_equal((alone.hole_in == value)[alone.image], filled)


@EXAMPLES
@given(label_images)
def test_measures_of_labels(labels):
    facts = measure_labels(labels)
    np.testing.assert_array_equal(facts.values, np.setdiff1d(labels, 0))
    for index, value in enumerate(facts.values):
        rows, columns = np.nonzero(labels == value)
        assert facts.areas[index] == rows.size
        assert facts.boxes[index].tolist() == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        assert facts.pieces[index] == ndimage.label(labels == value, EVERYWHERE)[1]


@EXAMPLES
@given(
    size=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    channels=st.sampled_from([(), (1,), (2,), (3,), (4,)]),
    dtype=st.sampled_from([bool, np.uint8, np.uint16, np.int16, np.float32]),
    seed=st.integers(0, 99),
)
def test_measures_of_images(size, channels, dtype, seed):
    image = np.random.default_rng(seed).integers(0, 2 if dtype is bool else 200, (*size, *channels)).astype(dtype)
    facts = measure_image(image, np.zeros(size, np.int32))
    colours = image[..., :-1] if channels in ((2,), (4,)) else image
    grey = colours.reshape(*size, -1).astype(float).mean(axis=2)
    assert facts.finite
    assert facts.constant == all(
        (channel == channel[0, 0]).all() for channel in np.moveaxis(colours.reshape(*size, -1), 2, 0)
    )
    if size[0] % 32 == size[1] % 32 == 0:
        boxes = grey.reshape(32, size[0] // 32, 32, size[1] // 32).mean(axis=(1, 3))
        np.testing.assert_allclose(facts.thumbnail, boxes, rtol=1e-5)
    assert grey.min() - 1e-3 <= facts.thumbnail.min() <= facts.thumbnail.max() <= grey.max() + 1e-3
    assert measure_image(image.copy(), np.zeros(size, np.int32)).digest == facts.digest
    changed = image.copy()
    changed.flat[0] = changed.flat[0] == 0
    assert measure_image(changed, np.zeros(size, np.int32)).digest != facts.digest or (changed == image).all()


def test_thumbnails_of_multiples_are_means_of_boxes():
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    boxes = image.astype(float).mean(axis=2).reshape(32, 2, 32, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(measure_image(image, np.zeros((64, 96), np.int32)).thumbnail, boxes, rtol=1e-5)


@given(seed=st.integers(0, 999), turn=st.integers(0, 7), scale=st.floats(0.1, 9), shift=st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_turns_and_brightness_hide_no_copy_and_uneven_light_makes_none(seed, turn, scale, shift):
    rng = np.random.default_rng(seed)
    thumbnails = rng.random((4, 32, 32)).astype(np.float32)
    copy = np.rot90(thumbnails[1], turn % 4)
    thumbnails[3] = scale * (copy[:, ::-1] if turn >= 4 else copy) + shift
    (group,) = find_duplicates(list("abcd"), thumbnails, 0.9)
    assert group.positions == (1, 3)
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    light = (50 * (x * x + y * y + 0.3 * x)).astype(np.float32)
    assert find_duplicates(list("abc"), thumbnails[:3] + light, 0.9) == []


def test_three_copies_are_one_group_and_equal_says_so():
    noise = np.random.default_rng(0).random((4, 32, 32)).astype(np.float32)
    noise[2] = noise[3] = noise[0]
    (group,) = find_duplicates(["same", "b", "same", "same"], noise, 0.9)
    assert (group.positions, group.correlation > 1, group.turn) == ((0, 2, 3), True, "")


# ---- Where thresholds switch ----


def two_discs(size=64):
    rows, columns = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for label, centre in enumerate((16, 48), start=1):
        labels[(rows - centre) ** 2 + (columns - centre) ** 2 < 100] = label
    return labels


def seen(labels):
    """Noise, and bright nuclei."""
    return (np.random.default_rng(0).integers(0, 100, labels.shape) + 100 * (labels > 0)).astype(np.uint8)


def report_on(labels, image=None, **changed):
    image = seen(labels) if image is None else image
    return check(from_arrays([image], [labels]), CheckSettings(**changed))


@pytest.mark.parametrize(("area", "kinds"), [(8, ("specks",)), (9, ())])
def test_a_speck_is_smaller_than_nine_pixels(area, kinds):
    labels = two_discs()
    labels[2, 40 : 40 + area] = 3
    assert report_on(labels).kinds == kinds


def test_thin_nuclei_by_themselves_are_not_damage():
    labels = np.zeros((64, 64), np.int32)
    for number, row in enumerate(range(4, 60, 6), start=1):
        labels[row : row + 2, 5:45] = number
    assert report_on(labels).kinds == ()


@pytest.mark.parametrize(("column", "kinds"), [(3, ()), (4, ("pieces",))])
def test_pixels_that_meet_at_a_corner_are_one_piece(column, kinds):
    labels = two_discs()
    labels[40:42, 0:2] = labels[42:45, column - 1 : column + 2] = 3
    labels[41, 2] = 3 if column == 3 else 0
    assert report_on(labels).kinds == kinds


@pytest.mark.parametrize(("share", "kinds"), [(0.09, ()), (0.11, ("saturated",))])
@pytest.mark.parametrize(("top", "dtype"), [(255, np.uint8), (4095, np.uint16), (65535, np.uint16), (1, np.float32)])
def test_saturation_is_told_by_the_end_of_the_camera(share, kinds, top, dtype):
    labels = two_discs()
    image = (seen(labels) / 200 * 0.9 * top).astype(dtype)
    rows, columns = np.nonzero(labels)
    some = slice(0, int(share * rows.size))
    image[rows[some], columns[some]] = top
    assert report_on(labels, image).kinds == kinds


def test_many_bright_pixels_below_the_end_are_not_saturated():
    labels = two_discs()
    image = np.where(labels > 0, 201, np.random.default_rng(0).integers(0, 99, labels.shape)).astype(np.uint8)
    assert report_on(labels, image).kinds == ()


@pytest.mark.parametrize(("pixels", "severity"), [(2, "note"), (40, "warning")])
def test_overlaps_weigh_by_their_share(tmp_path, pixels, severity):
    from PIL import Image

    from nucleiseg.datasets import read

    labels = two_discs()
    root = tmp_path / "a"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    Image.fromarray(seen(labels)).save(root / "images" / "a.png")
    masks = [labels == 1, labels == 1]
    masks[1] = np.roll(masks[1], 30, axis=1)
    masks[1][tuple(np.argwhere(masks[0])[:pixels].T)] = True
    for number, mask in enumerate(masks):
        Image.fromarray(mask * np.uint8(255)).save(root / "masks" / f"{number}.png")
    finding = check(read(tmp_path, cache=False)).find("overlaps")
    assert (finding.severity, finding.count, finding.cases[0].labels) == (severity, 1, (2, 1))
    assert [path.rsplit("/", 1)[1] for path in finding.cases[0].files] == ["1.png", "0.png"]


def test_all_images_without_nuclei_are_an_error():
    nothing = np.zeros((64, 64), np.int32)
    images = [seen(nothing), seen(two_discs())]
    assert not check(from_arrays(images, [nothing, nothing])).ok
    assert check(from_arrays(images, [nothing, two_discs()])).of_severity("warning")[0].kind == "empty_image"


def test_copies_that_are_only_alike_are_no_error_across_splits(tmp_path):
    rng = np.random.default_rng(0)
    first = ndimage.gaussian_filter(rng.random((64, 64)), 2)
    other = ndimage.gaussian_filter(rng.random((64, 64)), 2)
    nuclei = 0.06 * (two_discs() > 0)
    images = [(1000 * (image + nuclei)).astype(np.uint16) for image in (first, 0.7 * first + 0.25 * other)]
    (tmp_path / "splits.csv").write_text("id,split\n0000,train\n0001,test\n")
    report = check(from_arrays(images, [two_discs(), two_discs()]).with_metadata(tmp_path / "splits.csv"))
    assert (report.kinds, report.ok) == (("leakage",), True)


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        (np.flipud, "flipped upside down"),
        (np.fliplr, "flipped left to right"),
        (lambda labels: labels[::-1, ::-1], "turned by 180°"),
        (np.transpose, "transposed"),
        (lambda labels: np.rot90(labels, 3), "turned by 90°"),
        (np.rot90, "turned by 270°"),
        (lambda labels: labels[::-1, ::-1].T, "transposed and turned by 180°"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_said_how_labels_would_fit(turn, told, channels):
    """An error where it holds for most images: axes or files have got into a wrong order."""
    labels = np.zeros((64, 64), np.int32)
    labels[4:16, 20:30], labels[40:46, 44:62], labels[50:60, 8:15] = 1, 2, 3
    image = np.stack([seen(labels) * 0] * (channels - 1) + [seen(labels)], axis=-1).squeeze()  # in blue alone
    wrong = np.ascontiguousarray(turn(labels))
    report = check(from_arrays([image, image, image], [wrong, wrong, labels]))
    finding = report.find("unrelated")
    assert (finding.severity, finding.ids) == ("error", ("0000", "0001"))
    assert finding.cases[0].detail == f"its labels fit far better when {told}"
    assert check(from_arrays([image, image, image], [wrong, labels, labels])).find("unrelated").severity == "warning"


@EXAMPLES
@given(
    pixels=hnp.arrays(np.uint8, st.tuples(st.integers(7, 20), st.integers(7, 20)), elements=st.integers(0, 9)),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]),
    seed=st.integers(0, 99),
)
def test_contrast_is_what_counting_pairs_gives(pixels, dtype, seed):
    nuclei = np.random.default_rng(seed).random(pixels.shape) < 0.5
    inside, outside = pixels[nuclei].astype(int), pixels[~nuclei].astype(int)
    pairs = np.sign(inside[:, np.newaxis] - outside)
    expected = abs(pairs.mean()) if min(inside.size, outside.size) >= 20 else 1.0
    assert measure_contrast(pixels[..., np.newaxis].astype(dtype), nuclei).value == pytest.approx(expected)


def test_labels_of_nothing_that_is_seen_are_a_warning():
    noise = np.random.default_rng(0).integers(0, 200, (64, 64), np.uint8)
    finding = report_on(two_discs(), noise).find("unrelated")
    assert finding.severity == "warning"
    assert re.fullmatch(r"its contrast is 0\.\d\d of 1", finding.cases[0].detail)
    assert report_on(two_discs(), noise, contrast=0).kinds == ()
    assert report_on(two_discs(), 255 - seen(two_discs())).kinds == ()  # dark nuclei


# ---- Settings, kinds and the report ----


@pytest.mark.parametrize(
    ("name", "value"),
    [("speck_area", -1), ("crop", 0), ("quick_samples", 0), ("size_ratio", 0.5)]
    + [(field.name, 1.5) for field in fields(CheckSettings) if field.name.endswith(("_share", "_correlation"))],
)
def test_a_setting_out_of_bounds_is_refused(name, value):
    with pytest.raises(InvalidInputError, match=name):
        CheckSettings(**{name: value})


def test_every_setting_has_a_reason():
    text = CheckSettings.__doc__
    assert [field.name for field in fields(CheckSettings) if f"    {field.name} : " not in text] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_what_why_and_what_to_do(kind):
    entry = KINDS[kind]
    assert entry.title[0].islower()
    assert entry.meaning.endswith(".")
    assert entry.remedy.endswith(".")
    assert entry.fixable == ("--fix" in entry.remedy) or kind == "binary_mask"


def test_a_report_prints_and_is_json():
    labels = two_discs()
    labels[15:17, 15:17] = 0
    report = report_on(labels)
    (finding,) = json.loads(json.dumps(report.to_dict()))["findings"]
    assert (finding["kind"], finding["severity"], finding["count"], finding["images"]) == ("holes", "warning", 1, 1)
    assert finding["cases"][0]["labels"] == [1]
    assert finding["cases"][0]["box"] == [7, 7, 26, 26]
    text = str(report)
    assert text.splitlines()[0] == "1 image, 2 nuclei: 0 errors, 1 warning, 0 notes"
    assert "0000: label 1 lacks 4 pixels inside" in text
    assert KINDS["holes"].meaning in " ".join(text.split())


def test_workers_do_not_matter():
    labels = two_discs()
    data = from_arrays(np.random.default_rng(0).integers(0, 200, (6, 64, 64), np.uint8), [labels * 2] * 6)
    assert check(data, workers=1) == check(data, workers=4)
