"""From an image to nuclei with an engine that needs no network: scale, area, filters, confidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import skimage.transform
from hypothesis import given, settings
from hypothesis import strategies as st
from stubs import MODEL, Echo, discs

from nucleiseg import ReadOptions, Segmenter, datasets
from nucleiseg.errors import InvalidInputError
from nucleiseg.images import as_micrograph
from nucleiseg.images.lazy import open_lazy
from nucleiseg.inference import PredictOptions, resize_labels, resize_maps, usual_diameter
from nucleiseg.inference.large_scale import at_one_scale
from nucleiseg.inference.rescaling import segment_at_scale
from nucleiseg.inference.scaled_maps import maps_at_scale
from nucleiseg.inference.tuning import decoded
from nucleiseg.instances import get_decoder, match

FEW = settings(max_examples=15, deadline=None)


def find(labels, options=None, model=MODEL):
    engine = Echo()
    found = segment_at_scale(
        as_micrograph((labels > 0).astype(np.uint8) * 200), engine, model, options or PredictOptions()
    )
    return found, engine.seen


@FEW
@given(st.floats(2.5, 60))
def test_nuclei_of_any_size_are_brought_to_a_size_that_the_model_knows(radius):
    labels = discs(radius)
    found, seen = find(labels)
    assert found.labels.shape == labels.shape
    assert found.count == 3
    assert match(labels, found.labels).average_precision(0.7) == 1
    diameter = usual_diameter(found.labels) * found.scale
    assert 10 * 0.9 <= diameter <= 30 * 1.1 or found.scale in (1 / 8, 4)
    if 5.5 < radius < 14.5:
        assert (found.scale, seen) == (1, [labels.shape])


def test_small_nuclei_that_are_not_sure_are_not_magnified():
    """All have a probability of .6, so half of them are believed; so is the texture of noise."""
    unsure = replace(MODEL, calibration={"intercept": 0.0, "certainty": 1.0, "size": 0.0, "size_squared": 0.0})
    labels = discs(3)
    engine = Echo()
    image = np.where(labels > 0, 0.6, 0.0)
    image[0, 0] = 1  # which decides the range
    assert segment_at_scale(as_micrograph(image), engine, unsure, PredictOptions()).scale == 1
    assert max(engine.seen) == labels.shape
    image[labels > 0] = 0.9
    assert segment_at_scale(as_micrograph(image), engine, unsure, PredictOptions()).scale > 1


class Blurred(Echo):
    """Sees pieces, of little probability, in what is larger than it knows, and nuclei in what is not."""

    def __init__(self, known, likely=0.6, whole=0.95):
        super().__init__()
        self.known, self.likely, self.whole = known, likely, whole

    def __call__(self, images):
        bright = super().__call__(images) > 0.5
        if images.shape[1] <= self.known:
            return np.where(bright, self.whole, 0.0).astype(np.float32)
        pieces = bright & (np.arange(images.shape[2]) % 12 < 9)[:, np.newaxis]
        return np.where(pieces, self.likely, 0.0).astype(np.float32)


@pytest.fixture
def small_ones_too(monkeypatch):
    """Nuclei of any size are doubted in any image, so that tests can do with small ones."""
    monkeypatch.setattr("nucleiseg.inference.scale_choice._DOUBTED_IN_WHOLE", 0.75)


@pytest.mark.usefixtures("small_ones_too")
@pytest.mark.parametrize(("share", "scale"), [(1, 1.0), (2, 0.5), (4, 0.25)])
def test_doubtful_pieces_are_looked_at_smaller_until_they_are_nuclei(share, scale):
    labels = discs(6 * share)
    found = segment_at_scale(
        as_micrograph(labels > 0), Blurred(labels.shape[0] / share), MODEL, PredictOptions(min_area=0)
    )
    assert (found.scale, found.count) == (scale, 3)


@pytest.mark.usefixtures("small_ones_too")
@pytest.mark.parametrize(
    ("likely", "whole", "looks"),
    [(0.7, 0.6, 2), (0.6, 0.65, 3), (0.9, 0.99, 1), (0.0, 0.99, 1)],
    ids=["less sure", "hardly surer", "no doubt", "nothing"],
)
def test_what_is_no_surer_when_it_is_smaller_stays_as_it_is(likely, whole, looks):
    """Nor is a scale believed at which all is hardly surer: at any scale there is something in noise."""
    labels = discs(14)
    engine = Blurred(labels.shape[0] / 2, likely, whole)
    found = segment_at_scale(as_micrograph(labels > 0), engine, MODEL, PredictOptions(min_area=0))
    expected = segment_at_scale(as_micrograph(labels > 0), engine, MODEL, PredictOptions(min_area=0, scale=1.0))
    assert found.scale == 1
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert len(engine.seen) == looks + 1


@pytest.mark.usefixtures("small_ones_too")
@pytest.mark.parametrize(("whole", "scale"), [(0.62, 1.0), (0.68, 0.5)], ids=["hardly surer", "far surer"])
def test_a_scale_at_which_all_is_unsure_is_believed_where_all_is_far_less_sure_as_it_is(whole, scale):
    labels = discs(12)
    engine = Blurred(labels.shape[0] / 2, likely=0.55, whole=whole)
    found = segment_at_scale(as_micrograph(labels > 0), engine, MODEL, PredictOptions(min_area=0))
    assert found.scale == scale


class Elsewhere(Blurred):
    """As `Blurred`, but what it knows it sees in the other half of the image."""

    def __call__(self, images):
        maps = super().__call__(images)
        return maps if images.shape[1] > self.known else maps[:, :, ::-1]


@pytest.mark.usefixtures("small_ones_too")
@pytest.mark.parametrize(
    ("engine", "whole", "scale"),
    [(Blurred, 0.75, 0.5), (Elsewhere, 0.75, 1.0), (Elsewhere, 0.85, 0.5)],
    ids=["in the same places", "elsewhere", "elsewhere, and far surer"],
)
def test_what_is_found_elsewhere_says_nothing_about_pieces(engine, whole, scale):
    labels = np.pad(discs(12), ((0, 0), (0, 200)))
    engine = engine(labels.shape[0] / 2, likely=0.7, whole=whole)
    found = segment_at_scale(as_micrograph(labels > 0), engine, MODEL, PredictOptions(min_area=0))
    assert found.scale == scale


class Grain(Echo):
    """Sees grain around the nuclei in what is larger than it knows, and nuclei in what is not, somewhat surer."""

    def __init__(self, known, width, whole=0.755):
        super().__init__()
        self.known, self.width, self.whole = known, width, whole

    def __call__(self, images):
        bright = super().__call__(images) > 0.5
        if images.shape[1] <= self.known:
            return np.where(bright, self.whole, 0.0).astype(np.float32)
        rows, columns = np.indices(images.shape[1:3]) % (2 * self.width) < self.width
        return np.where(~bright & (rows & columns)[..., np.newaxis], 0.69, 0.0).astype(np.float32)


@pytest.mark.usefixtures("small_ones_too")
@pytest.mark.parametrize(("width", "scale"), [(6, 0.25), (9, 1.0)], ids=["far larger", "larger"])
def test_grain_beside_far_larger_nuclei_is_none(width, scale):
    labels = discs(30)
    engine = Grain(labels.shape[0] / 2, width)
    found = segment_at_scale(as_micrograph(labels > 0), engine, MODEL, PredictOptions(min_area=0))
    assert found.scale == scale
    assert (found.count == 3) == (scale < 1)


@pytest.mark.usefixtures("small_ones_too")
def test_a_few_clumps_beside_many_nuclei_are_none_however_sure():
    labels = discs(30)
    engine = Grain(labels.shape[0] / 2, 9, whole=0.95)
    found = segment_at_scale(as_micrograph(labels > 0), engine, MODEL, PredictOptions(min_area=0))
    assert (found.scale, len(engine.seen)) == (1, 2)
    assert found.count > 8 * 3


@pytest.mark.usefixtures("small_ones_too")
def test_two_nuclei_do_not_tell_that_a_smaller_scale_is_better():
    labels = discs(14, count=2)
    engine = Blurred(labels.shape[0] / 2)
    assert segment_at_scale(as_micrograph(labels > 0), engine, MODEL, PredictOptions()).scale == 1
    assert len(engine.seen) == 3


class InSteps(Blurred):
    """As `Blurred`, but at half the scale it sees two of the nuclei, and all at a quarter."""

    def __call__(self, images):
        maps = super().__call__(images)
        if self.known / 2 < images.shape[1] <= self.known:
            maps[:, images.shape[1] // 2 :] = 0
        return maps


@pytest.mark.usefixtures("small_ones_too")
def test_too_few_nuclei_to_tell_have_a_still_smaller_scale_tried():
    labels = discs(28, count=4)
    engine = InSteps(labels.shape[0] / 2)
    found = segment_at_scale(as_micrograph(labels > 0), engine, MODEL, PredictOptions(min_area=0))
    assert (found.scale, found.count) == (0.25, 4)


def test_while_the_scale_is_looked_for_unusual_sizes_count_as_the_model_says():
    """Nuclei that are small for the model: by its confidence they are none, but magnified they are."""
    labels = discs(3)
    for_usual = {"intercept": -9.0, "certainty": 0.0, "size": 2.0, "size_squared": 0.0}
    doubting = replace(MODEL, calibration=for_usual)
    asking = replace(doubting, scale_calibration={**for_usual, "intercept": 3.0, "size": 0.0})
    assert find(labels, model=doubting)[0].scale == 1
    found, _ = find(labels, model=asking)
    assert found.scale > 1
    assert found.count == 3
    given, _ = find(labels, PredictOptions(scale=found.scale), doubting)
    np.testing.assert_array_equal(found.confidence, given.confidence)


@pytest.mark.usefixtures("small_ones_too")
@pytest.mark.parametrize(("own", "scale"), [(-4.0, 0.5), (0.0, 1.0)], ids=["large are doubted", "of any size"])
def test_half_the_scale_is_no_less_sure_if_either_calibration_says_so(own, scale):
    """Shrunk, all has a lower probability, which the model's own calibration makes up for by the sizes."""
    labels = discs(14)
    plain = {"intercept": 0.0, "certainty": 1.0, "size": 0.0, "size_squared": 0.0}
    model = replace(
        MODEL, calibration={**plain, "intercept": -2.5 - 5.4 * own, "size": own}, scale_calibration={**plain}
    )
    engine = Blurred(labels.shape[0] / 2, likely=0.95, whole=0.86)
    found = segment_at_scale(as_micrograph(labels > 0), engine, model, PredictOptions(min_area=0))
    assert (found.scale, len(engine.seen) > 1) == (scale, True)


class Clump(Echo):
    """Takes a corner for a large nucleus in what is as large as it knows, and is unsure of all in what is smaller."""

    def __init__(self, known):
        super().__init__()
        self.known = known

    def __call__(self, images):
        bright = super().__call__(images) > 0.5
        if images.shape[1] < self.known:
            return np.where(bright, 0.6, 0.0).astype(np.float32)
        bright[:, :90, :90] = True
        return np.where(bright, 0.95, 0.0).astype(np.float32)


def test_a_clump_does_not_shrink_nuclei_that_are_hardly_seen_then():
    labels = np.pad(discs(9, count=6), ((100, 0), (100, 0)))
    engine = Clump(labels.shape[0])
    found = segment_at_scale(as_micrograph(labels > 0), engine, MODEL, PredictOptions())
    assert min(engine.seen) < (labels.shape[0] / 3, 0)
    assert (found.scale, found.count) == (1, 7)


def test_where_the_middle_of_a_large_image_is_empty_another_part_tells_the_scale(monkeypatch):
    monkeypatch.setattr("nucleiseg.inference.looking.LOOKED_AT", 180)
    labels = np.zeros((720, 720), np.int32)
    nuclei = discs(3, count=6)
    labels[20 : 20 + nuclei.shape[0], 20 : 20 + nuclei.shape[1]] = nuclei
    found, _ = find(labels, PredictOptions(min_area=0))
    assert found.scale > 1
    assert found.count == 6


@FEW
@given(
    st.integers(0, 1000),
    st.sampled_from([None, 0, 30]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, 0.7]),
)
def test_what_told_the_scale_tells_the_confidence_too(seed, min_area, remove_edge, fill_holes, min_confidence):
    """At a scale that was chosen, nuclei are as sure as at one that was given, for which all is looked at anew."""
    rng = np.random.default_rng(seed)
    image = np.where(rng.random((90, 80)) < 0.6, rng.random((90, 80)), 0.0)
    calibration = {"intercept": 0.5, "certainty": 1.0, "size": -0.3, "touching": 1.0}
    settings = replace(MODEL, calibration=calibration, passport=(1.0, 6.0, 300.0))
    options = PredictOptions(
        min_area=min_area, remove_edge=remove_edge, fill_holes=fill_holes, min_confidence=min_confidence
    )
    chosen, given_scale = (
        segment_at_scale(as_micrograph(image), Echo(), settings, replace(options, scale=scale))
        for scale in ("auto", 1.0)
    )
    assert chosen.scale == 1
    assert chosen.familiar == given_scale.familiar
    np.testing.assert_array_equal(chosen.labels, given_scale.labels)
    np.testing.assert_array_equal(chosen.confidence, given_scale.confidence)
    rated = chosen.confidence
    assert min_confidence is None or (rated >= min_confidence).all()


def test_a_model_without_passport_looks_once():
    labels = discs(60)
    found, seen = find(labels, model=replace(MODEL, passport=None))
    assert (found.scale, seen) == (1, [labels.shape])
    assert "unusual size" not in found.quality


@pytest.mark.parametrize(
    ("options", "factor"),
    [({"scale": 1.0}, 1), ({"scale": 0.5}, 0.5), ({"scale": 2}, 2), ({"diameter": 36}, 0.75), ({"diameter": 20}, 1)],
)
def test_a_scale_or_diameter_that_is_given_is_final(options, factor):
    labels = discs(60)
    found, seen = find(labels, PredictOptions(**options))
    assert found.scale == factor
    assert seen == [tuple(round(length * factor) for length in labels.shape)]
    assert found.labels.shape == labels.shape


def test_what_the_model_was_not_trained_on_is_told():
    assert "unusual size" in find(discs(60), PredictOptions(scale=1.0))[0].quality
    assert "unusual size" not in find(discs(60))[0].quality
    assert find(discs(9))[0].quality == find(discs(9), PredictOptions(scale=1.0))[0].quality


def test_the_models_area_is_in_pixels_of_the_network_and_the_users_in_those_of_the_image():
    labels = discs(4)  # about 50 pixels, seen magnified
    own = replace(MODEL, thresholds={"probability": 0.5, "min_area": 100})
    found, _ = find(labels, model=own)
    assert found.scale > 1
    assert found.count == 3
    assert find(labels, PredictOptions(min_area=40))[0].count == 3
    assert find(labels, PredictOptions(min_area=100))[0].count == 0
    large = discs(40)
    assert find(large, model=own)[0].count == 3
    assert find(large, PredictOptions(min_area=6000))[0].count == 0


def test_nuclei_that_are_not_sure_enough_are_left_out():
    labels = discs(9)
    source = as_micrograph(np.array([0, 255, 230, 130], np.uint8)[labels])
    everything = segment_at_scale(source, Echo(), MODEL, PredictOptions())
    assert everything.confidence.round(2).tolist() == [1, 0.9, 0.51]
    sure = segment_at_scale(source, Echo(), MODEL, PredictOptions(min_confidence=0.6))
    np.testing.assert_array_equal(sure.labels, np.where(labels == 3, 0, labels))
    own = replace(MODEL, thresholds={**MODEL.thresholds, "min_confidence": 0.6})
    np.testing.assert_array_equal(segment_at_scale(source, Echo(), own, PredictOptions()).labels, sure.labels)
    for all_of_them in (PredictOptions(min_confidence=0), PredictOptions(threshold=0.5)):
        np.testing.assert_array_equal(segment_at_scale(source, Echo(), own, all_of_them).labels, labels)
    # Of an image of which it is unsure as a whole, the model leaves out nothing by itself.
    dim = np.array([0, 140, 135, 130], np.uint8)[labels]
    dim[0, 0] = 255  # which decides the range
    unfamiliar = as_micrograph(dim)
    assert segment_at_scale(unfamiliar, Echo(), own, PredictOptions()).count == 4
    assert segment_at_scale(unfamiliar, Echo(), own, PredictOptions(min_confidence=0.6)).count == 1
    calibrated = replace(MODEL, calibration={"intercept": 9.0, "certainty": 0, "size": 0, "size_squared": 0})
    assert (segment_at_scale(source, Echo(), calibrated, PredictOptions()).confidence > 0.99).all()


BY_SIZE = {"intercept": -8.0, "certainty": 0.0, "size": 2.0, "size_squared": 0.0}  # as sure as they are large


@pytest.mark.parametrize("least", [0.0, 0.3])
def test_confidence_does_not_change_with_the_magnification(least):
    own = replace(MODEL, calibration=BY_SIZE, thresholds={**MODEL.thresholds, "min_confidence": least})
    plain, _ = find(discs(6), PredictOptions(scale=1.0), own)
    assert (plain.confidence > 0.6).all()
    assert (plain.confidence < 0.9).all()
    for radius, scale in ((12, 0.5), (3, 2)):
        again, _ = find(discs(radius), PredictOptions(scale=scale), own)
        np.testing.assert_allclose(again.confidence, plain.confidence, atol=0.06)


def test_it_does_not_change_where_the_scale_is_estimated():
    """Nuclei of a radius of 60, seen at a quarter: an area of 11,000 pixels would make them all sure."""
    plain = {"intercept": 0.0, "certainty": 1.0, "size": 0.0, "size_squared": 0.0}
    own = replace(MODEL, calibration={**BY_SIZE, "intercept": -13.0}, scale_calibration=plain)
    found, _ = find(discs(60), model=own)
    seen, _ = find(resize_labels(discs(60), (round(732 * found.scale),) * 2), PredictOptions(scale=1.0), own)
    assert found.scale < 0.5
    assert (seen.confidence < 0.6).all()
    np.testing.assert_allclose(found.confidence, seen.confidence, atol=0.06)


def test_an_image_of_which_a_calibrated_model_is_unsure_as_a_whole_is_unfamiliar():
    labels = discs(9)
    dim = np.array([0, 140, 135, 130], np.uint8)[labels]
    dim[0, 0] = 255  # which decides the range
    plain = {"intercept": 0.0, "certainty": 1.0, "size": 0.0, "size_squared": 0.0}
    calibrated = replace(MODEL, calibration=plain)
    own = replace(calibrated, thresholds={**MODEL.thresholds, "min_confidence": 0.3})

    def quality(pixels, model, **options):
        return segment_at_scale(as_micrograph(pixels), Echo(), model, PredictOptions(**options)).quality

    for model in (calibrated, own):
        assert quality(dim, model)[-1] == "unfamiliar"
        assert "unfamiliar" not in quality((labels > 0) * np.uint8(200), model)
    # That a few sure ones are left where others are left out makes it no more familiar.
    assert quality(dim, own, min_confidence=0.7)[-1] == "unfamiliar"
    assert "unfamiliar" not in quality(dim, MODEL)
    assert "unfamiliar" not in quality(np.zeros((40, 50), np.uint8), own)


def test_confidence_scale_and_quality_are_in_the_tables():
    found, _ = find(discs(60))
    table, summary = found.table(), found.summary()
    assert table["confidence"].tolist() == found.confidence.tolist()
    assert summary.loc[0, "scale"] == round(found.scale, 4)
    assert summary.loc[0, "quality"] == "; ".join(found.quality)
    told, _ = find(discs(60), PredictOptions(scale=1.0))
    assert list(told.table())[:4] == ["label", "area", "confidence", "quality"]
    assert told.table()["quality"].tolist() == ["; ".join(told.quality)] * told.count
    assert "unusual size" in told.table()["quality"][0]
    assert "median_quality" not in summary
    assert find(np.zeros((40, 50), int))[0].summary().loc[0, "quality"] == "flat; empty"


def test_specks_and_doubtful_nuclei_do_not_decide_the_scale():
    labels = discs(2.5)  # smaller than the passport
    doubtful = replace(MODEL, calibration={"intercept": -9.0, "certainty": 0, "size": 0, "size_squared": 0})
    assert find(labels)[0].scale > 1
    assert find(labels, model=doubtful)[0].scale == 1
    specks = np.zeros((60, 60), np.int32)
    specks[::6, ::6] = np.arange(1, 101).reshape(10, 10)
    assert find(specks)[0].scale == 1


def test_an_empty_image_is_empty():
    found, seen = find(np.zeros((40, 50), int))
    assert (found.count, found.scale, len(seen)) == (0, 1, 1)
    assert found.quality == ("flat", "empty")


@pytest.mark.parametrize("maps", [np.zeros(3), np.zeros((2, 2, 2, 2)), np.zeros((0, 2))])
def test_maps_have_rows_and_columns(maps):
    with pytest.raises(InvalidInputError, match=r"maps must be \(H, W\) or \(H, W, C\) with at least one pixel"):
        resize_maps(maps, (2, 2))


sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))


@FEW
@given(sizes, sizes, st.integers(0, 99))
def test_resizing_keeps_the_range_and_labels_are_never_mixed(before, after, seed):
    rng = np.random.default_rng(seed)
    maps, labels = rng.random((*before, 2), np.float32), rng.integers(0, 9, before)
    resized = resize_maps(maps, after)
    assert (resized.shape, resized.dtype) == ((*after, 2), np.float32)
    assert maps.min() <= resized.min() <= resized.max() <= maps.max()
    assert set(np.unique(resize_labels(labels, after))) <= set(np.unique(labels))
    np.testing.assert_array_equal(resize_maps(maps, before), maps)
    np.testing.assert_array_equal(resize_labels(labels, before), labels)
    times = (before[0] * 3, before[1] * 3)
    np.testing.assert_array_equal(resize_labels(resize_labels(labels, times), before), labels)


@FEW
@given(sizes, sizes, st.sampled_from([(), (1,), (3,)]), st.integers(0, 99))
def test_resizing_is_that_of_scikit_image(before, after, channels, seed):
    maps = np.random.default_rng(seed).random((*before, *channels), np.float32)
    shrinks = after[0] < before[0] or after[1] < before[1]
    theirs = skimage.transform.resize(maps, after, order=1, mode="reflect", anti_aliasing=shrinks, preserve_range=True)
    np.testing.assert_allclose(resize_maps(maps, after), theirs, atol=1e-6)


def test_doubt_of_a_large_image_is_settled_in_its_middle(monkeypatch):
    monkeypatch.setattr("nucleiseg.inference.looking.LOOKED_AT", 180)
    labels = discs(14, count=6)
    engine = Blurred(180)
    found = segment_at_scale(as_micrograph(labels > 0), engine, MODEL, PredictOptions(min_area=0))
    assert labels.shape == (360, 360)
    assert engine.seen == [(360, 360), (90, 90), (180, 180)]
    assert (found.scale, found.count) == (0.5, 6)


@pytest.mark.parametrize("find", [segment_at_scale, maps_at_scale])
def test_the_middle_of_a_large_image_is_seen_by_the_range_of_the_whole(find, monkeypatch):
    monkeypatch.setattr("nucleiseg.inference.looking.LOOKED_AT", 180)
    brightest = []

    class Watched(Blurred):
        def __call__(self, images):
            brightest.append((images.shape[1], float(images.max())))
            return super().__call__(images)

    image = np.where(discs(14, count=6) > 0, 150, 0).astype(np.uint8)
    image[:9, :9] = 200
    find(as_micrograph(image), Watched(180), MODEL, PredictOptions(min_area=0))
    (middle,) = [value for side, value in brightest if side == 90]
    assert middle == pytest.approx(0.75, abs=0.02)
    assert max(value for side, value in brightest if side != 90) > 0.95


def test_small_nuclei_of_a_small_image_are_not_looked_at_again():
    labels = discs(14)
    engine = Blurred(labels.shape[0] / 2)
    assert segment_at_scale(as_micrograph(labels > 0), engine, MODEL, PredictOptions(min_area=0)).scale == 1
    assert len(engine.seen) == 1


@pytest.mark.parametrize("options", [{}, {"scale": 2.0}, {"scale": 0.5}, {"diameter": 90}, {"min_area": 60}])
@pytest.mark.parametrize("radius", [3, 9, 40])
def test_thresholds_are_tuned_at_the_scale_at_which_an_image_is_looked_at(radius, options, monkeypatch):
    """What is decoded from the maps is what a prediction finds, the model's own smallest area included."""
    cases = []
    monkeypatch.setattr("nucleiseg.inference.scale_choice._DOUBTED_IN_WHOLE", 0.75)
    labels = discs(radius, count=4)
    labels[2:6, -8:-4] = 5
    model = replace(MODEL, thresholds={"probability": 0.5, "min_area": 20})
    wanted, looks = find(labels, PredictOptions(**options), model)
    segmenter = Segmenter.__new__(Segmenter)
    segmenter._settings, segmenter._engine = model, Echo()
    monkeypatch.setattr(
        "nucleiseg.segmenter.tune_settings", lambda settings, given, area: cases.extend(given) or settings
    )
    image = (labels > 0).astype(np.uint8) * 200
    segmenter.optimize_thresholds(
        datasets.from_arrays(image[np.newaxis], labels[np.newaxis]), PredictOptions(**options)
    )
    ((truth, maps, factor),) = cases
    assert factor == wanted.scale
    assert segmenter._engine.seen == looks
    assert factor != 1 or len(looks) == 1
    np.testing.assert_array_equal(truth, labels)
    found = decoded((truth, maps, factor), get_decoder("components"), model.thresholds, options.get("min_area"))
    np.testing.assert_array_equal(found.labels, wanted.labels)
    np.testing.assert_array_equal(found.probability, wanted.probability)


def test_a_diameter_in_micrometres_is_that_of_the_pixels():
    labels = discs(60)
    options = PredictOptions(diameter_um=8, reading=ReadOptions(pixel_size=0.25))
    image = as_micrograph((labels > 0) * np.uint8(200), options.reading)
    found = segment_at_scale(image, Echo(), MODEL, options)
    assert found.scale == find(labels, PredictOptions(diameter=32))[0].scale == 27 / 32
    segmenter = Segmenter.__new__(Segmenter)
    segmenter._settings, segmenter._engine = MODEL, Echo()
    assert segmenter.predict((labels > 0) * np.uint8(200), options).scale == 27 / 32
    segmenter._engine.seen.clear()
    segmenter.optimize_thresholds(datasets.from_arrays(image.shown[np.newaxis], labels[np.newaxis]), options)
    assert segmenter._engine.seen == [(round(len(labels) * 27 / 32),) * 2]
    with pytest.raises(InvalidInputError, match="diameter_um needs the size of square pixels"):
        find(labels, PredictOptions(diameter_um=8))


@pytest.mark.parametrize("options", [{"diameter": 30}, {"diameter_um": 8, "reading": ReadOptions(pixel_size=0.25)}])
def test_a_diameter_tells_nothing_to_a_model_that_does_not_know_its_sizes(options):
    options, model = PredictOptions(**options), replace(MODEL, passport=None)
    image = (discs(9) > 0) * np.uint8(200)
    with pytest.raises(InvalidInputError, match=r"this one has none, got 3[02] pixels; pass scale \(--scale\) instead"):
        segment_at_scale(as_micrograph(image, options.reading), Echo(), model, options)
    with pytest.raises(InvalidInputError, match="this one has none"):
        at_one_scale(open_lazy(image, options.reading), Echo(), model, options)
