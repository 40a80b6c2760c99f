"""Fine-tuning: a model never gets worse, what is compared is told, and the splits share nothing."""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleiseg import Segmenter, datasets, fine_tune, fine_tuning, learning_curve
from nucleiseg.datasets.mixing import join, mix
from nucleiseg.errors import InvalidInputError, TrainingError, TrainingWarning
from nucleiseg.fine_tuning import CurvePoint, FineTuning, LearningCurve, OwnImages, split_own
from nucleiseg.fine_tuning.own_images import split_reference
from nucleiseg.fine_tuning.results import is_better
from nucleiseg.inference import Comparison, Evaluation, ImageScore
from nucleiseg.instances import match
from nucleiseg.plotting import History
from nucleiseg.training import FitOptions
from nucleiseg.training.runs import TrainingRun

pytestmark = pytest.mark.usefixtures("eager_steps")

WIDTHS = (8, 8, 8, 8, 8)
QUICK = FitOptions(batch_size=3, crop=(64, 64), learning_rate=0.02, augmentation=None)
GENTLE = FitOptions(batch_size=3, crop=(64, 64), frozen_epochs=0, fine_tune_rate=0.01, augmentation=None)
ABSURD = FitOptions(batch_size=3, crop=(64, 64), frozen_epochs=0, fine_tune_rate=3.0, augmentation=None)


@pytest.fixture(scope="module")
def bright(disc_dataset):
    """Bright discs on a dark ground."""
    return datasets.read(disc_dataset)


@pytest.fixture(scope="module")
def dark(bright):
    """Dark discs on a bright ground."""
    samples = bright.load()
    return datasets.from_arrays([255 - each.image for each in samples], [each.labels for each in samples])


@pytest.fixture(scope="module")
def turned(bright):
    """Other images of the same kind."""
    samples = bright.load()
    return datasets.from_arrays([np.rot90(each.image) for each in samples], [np.rot90(each.labels) for each in samples])


@pytest.fixture(scope="module")
def model(tiny_encoder, bright, tmp_path_factory, compiled_whole):
    """The file of a model that knows bright discs."""
    segmenter = Segmenter(tiny_encoder, None, widths=WIDTHS)
    with compiled_whole():
        segmenter.fit(bright[:4], bright[4:], epochs=20, options=QUICK)
    return segmenter.save(tmp_path_factory.mktemp("model") / "model.keras")


@pytest.fixture
def segmenter(model):
    return Segmenter.load(model)


def content(segmenter, folder):
    """What a saved file holds, member by member."""
    with zipfile.ZipFile(segmenter.save(folder / "saved.keras")) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != "metadata.json"}


# ---- A trained model goes on: its start is epoch 0. ----


def test_a_fit_that_fails_leaves_a_trained_model_as_it_was(segmenter, bright, tmp_path, monkeypatch):
    from nucleiseg.training import faults

    before = content(segmenter, tmp_path)
    monkeypatch.setattr(faults.FiniteLoss, "on_train_batch_end", lambda self, *_, **__: self._check("the loss", np.nan))
    with pytest.raises(TrainingError, match="in epoch 1; no epoch was finished") as raised:
        segmenter.fit(bright[:4], bright[4:], epochs=1, options=ABSURD)
    assert raised.value.rows == ()
    assert content(segmenter, tmp_path) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_fit_that_is_interrupted_has_the_settings_of_the_weights_it_leaves(segmenter, dark, tmp_path, error):
    before, settings, seen = content(segmenter, tmp_path), segmenter._settings, []

    def stop(history):
        seen.append(len(history.rows))
        if len(seen) == 2:
            raise error("the disk is full")

    last = replace(GENTLE, keep="last")
    with pytest.raises(error, match="the disk is full"):
        segmenter.fit(dark[:4], dark[4:], epochs=3, options=last, watch=stop)
    assert content(segmenter, tmp_path) != before
    assert (segmenter.run["epochs"], segmenter.run["kept_epoch"]) == (2, 2)
    assert segmenter._settings.run != settings.run


@pytest.mark.slow
@pytest.mark.parametrize(("keep", "validated"), [("last", True), ("best", False)])
def test_where_nothing_can_be_compared_the_start_does_not_count(segmenter, bright, keep, validated):
    options = FitOptions(batch_size=3, crop=(64, 64), frozen_epochs=0, augmentation=None, keep=keep)
    with contextlib.nullcontext() if validated else pytest.warns(TrainingWarning):
        history = segmenter.fit(bright[:3], bright[4:] if validated else None, epochs=1, options=options)
    assert [row["epoch"] for row in history.rows] == [1]


@pytest.mark.slow
def test_an_interrupted_run_of_a_trained_model_goes_on_exactly(model, dark, tmp_path):
    whole = Segmenter.load(model)
    expected = whole.fit(dark[:4], dark[4:], epochs=3, options=GENTLE)
    assert [row["epoch"] for row in expected.rows] == [0, 1, 2, 3]

    def interrupt(history):
        if len(history.rows) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Segmenter.load(model).fit(
            dark[:4], dark[4:], epochs=3, options=GENTLE, checkpoint=tmp_path / "run", watch=interrupt
        )
    resumed = Segmenter.load(model)
    history = resumed.fit(dark[:4], dark[4:], epochs=3, options=GENTLE, checkpoint=tmp_path / "run", resume=True)
    for row, wanted in zip(history.rows, expected.rows, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**wanted, "seconds": 0}, abs=1e-5)
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


STALE = {"intercept": 9.0}


@pytest.fixture
def calibrated(segmenter):
    """The model as if its thresholds and confidence had been tuned."""
    thresholds = {"probability": 0.45, "min_area": 5, "min_confidence": 0.3}
    segmenter._settings = replace(
        segmenter._settings, thresholds=thresholds, calibration=STALE, scale_calibration=STALE
    )
    return segmenter


def test_new_weights_without_validation_data_are_told_and_lose_the_calibration_of_the_old(calibrated, dark):
    with pytest.warns(TrainingWarning, match="nothing can tell whether it gets worse.*fine_tune") as caught:
        calibrated.fit(dark[:4], epochs=1, options=GENTLE)
    assert [each.filename for each in caught if each.category is TrainingWarning] == [__file__]
    assert (calibrated._settings.calibration, calibrated._settings.scale_calibration) == (None, None)
    assert calibrated.thresholds == {"probability": 0.45, "min_area": 5}


def test_thresholds_that_were_chosen_are_chosen_anew_for_new_weights(calibrated, dark, monkeypatch):
    looked = []
    monkeypatch.setattr(Segmenter, "optimize_thresholds", lambda self, data: looked.append((data, self._settings)))
    calibrated.fit(dark[:4], valid := dark[4:], epochs=1, options=replace(GENTLE, keep="last"))
    ((data, settings),) = looked
    assert data is valid
    assert (settings.calibration, settings.scale_calibration) == (None, None)
    assert settings.thresholds == {"probability": 0.45, "min_area": 5}


def test_weights_that_stay_keep_thresholds_and_calibration(calibrated, bright, monkeypatch):
    monkeypatch.setattr(Segmenter, "optimize_thresholds", lambda *_: pytest.fail("they were chosen anew"))
    before = calibrated._settings
    assert calibrated.fit(bright[:4], bright[4:], epochs=1, options=ABSURD).best_epoch == 0
    assert calibrated._settings == before


def test_thresholds_that_were_never_chosen_stay_those_of_the_head(segmenter, dark, monkeypatch):
    monkeypatch.setattr(Segmenter, "optimize_thresholds", lambda *_: pytest.fail("they were chosen"))
    before = segmenter.thresholds
    segmenter.fit(dark[:4], dark[4:], epochs=1, options=replace(GENTLE, keep="last"))
    assert segmenter.thresholds == before


def test_fine_tuning_looks_at_the_choosing_images_once(calibrated, quick, bright, monkeypatch):
    looked = []
    monkeypatch.setattr(Segmenter, "optimize_thresholds", lambda self, data: looked.append(data.ids))
    found = fine_tune(calibrated, bright)
    assert len(looked) == 1
    assert len(looked[0]) == found.chosen


def test_a_trained_model_has_defaults_of_its_own(segmenter, tiny_segmenter, bright, monkeypatch):
    from nucleiseg import learning

    used = []

    def run_training(model, settings, task, train, validation, epochs, options, *others):
        used.append(options)
        raise ZeroDivisionError

    monkeypatch.setattr(learning, "run_training", run_training)
    for each in (segmenter, tiny_segmenter):
        with pytest.raises(ZeroDivisionError):
            each.fit(bright[:4], bright[4:])
    assert used == [FitOptions.for_few_images(4), FitOptions()]


@given(st.integers(1, 2000))
def test_an_epoch_of_few_images_has_about_80_crops(images):
    crops = images * FitOptions.for_few_images(images).crops_per_image
    assert crops == images if images > 80 else 40 <= crops <= 120


# ---- The whole of it. ----


def test_a_model_that_becomes_better_is_kept(segmenter, bright, turned, tmp_path):
    kernel, bias = segmenter.model.get_layer("maps").weights
    kernel.assign(0 * kernel)
    bias.assign(0 * bias - 1)  # it finds nothing
    before = content(segmenter, tmp_path)
    told = []
    eager = replace(GENTLE, fine_tune_rate=0.05)
    found = fine_tune(segmenter, bright, turned, epochs=6, options=eager, tolerance=0.5, watch=told.append)
    assert found.is_better
    assert found.segmenter is found.tuned is not segmenter
    assert found.own.gain > 0.3
    assert (found.learned, found.chosen, found.own.images, found.reference.images) == (4, 1, 1, 3)
    assert content(segmenter, tmp_path) == before
    assert [len(history.rows) for history in told] == [2, 3, 4, 5, 6, 7]
    assert told[-1] == found.history
    start, *epochs = found.history.rows
    assert (start["epoch"], start["phase"], {row["phase"] for row in epochs}) == (0, "start", {"fine-tune"})
    assert "loss" not in start
    assert {"val_loss", "val_dice", "seconds", "monitor"} <= {*start}
    assert found.history.best_epoch > 0
    assert (found.tuned.run["epochs"], found.tuned.run["kept_epoch"]) == (6, found.history.best_epoch)
    assert "The tuned model is kept" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["kept"] == "tuned"


def test_a_model_that_does_not_become_better_stays(segmenter, bright, tmp_path):
    before = content(segmenter, tmp_path)
    found = fine_tune(segmenter, bright, epochs=2, options=ABSURD)
    assert not found.is_better
    assert found.segmenter is segmenter
    assert content(segmenter, tmp_path) == before
    for words in ("The model stays as it was", "none of 2 epochs, only thresholds", "is not known"):
        assert words in str(found)

    # The fit itself leaves everything as it was; only thresholds and confidence are chosen anew.
    chosen_anew = {"thresholds", "calibration", "scale_calibration"}
    settings = [vars(each._settings) for each in (segmenter, found.tuned)]
    same = [{name: value for name, value in each.items() if name not in chosen_anew} for each in settings]
    assert same[0] == same[1]
    assert content(found.tuned, tmp_path)["model.weights.h5"] == before["model.weights.h5"]
    assert found.history.best_epoch == 0
    assert repr(found.history).startswith("History(2 epochs, none better than the start: val_dice ")
    assert found.history.plot(tmp_path / "curves.png").is_file()
    assert History.from_csv(found.history.to_csv(tmp_path / "history.csv")) == found.history


def untrained(self, train, *_, **__):
    """In place of the training: the more images, the higher the threshold."""
    self._settings = replace(self._settings, thresholds={"probability": len(train) / 10})
    return TrainingRun(self._settings, ({"epoch": 1, "loss": 0.5, "monitor": "loss"},))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(fine_tuning.tuning, "_train", untrained)
    monkeypatch.setattr(Segmenter, "optimize_thresholds", lambda self, data: self.thresholds)


def test_a_learning_curve_comes_with_fine_tuning_if_it_is_asked_for(quick, segmenter, bright):
    found = fine_tune(segmenter, bright, curve=True)
    assert [point.images for point in found.curve.points] == [0, 1, 2, 4]
    assert (found.curve.points[0].score, found.curve.points[-1].score) == found.own.scores
    assert str(found).endswith(str(found.curve))
    assert found.to_dict()["curve"] == found.curve.to_dict()


def test_a_learning_curve_has_the_sizes_that_are_asked_for(quick, segmenter, bright, turned):
    parts = bright[:3], bright[3:4], bright[4:]
    curve = learning_curve(segmenter, parts, turned, sizes=[2, 1])
    assert [point.images for point in curve.points] == [0, 1, 2, 3]
    assert json.loads(json.dumps(curve.to_dict()))["points"][0] == {"images": 0, "ap50": curve.points[0].score}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": 4}, "at least 5 images, .* got 4; label more"),
        ({"data": (0, 1, 2)}, r"\(train\), to choose by \(val\) and to judge by \(test\), got 0, 1, 2; give each part"),
        ({"reference": 2}, "reference images must be at least 3, .* got 2; add some"),
        (
            {"reference": 3, "options": FitOptions(balance="stain")},
            "no metadata to balance by, .*'stain'; leave",
        ),
        ({"tolerance": 2}, "tolerance must be a number from 0 to 1, got 2"),
        ({"epochs": 0}, "epochs must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_it_is_trained(segmenter, bright, monkeypatch, arguments, message):
    monkeypatch.setattr(fine_tuning.tuning, "_train", lambda *_: pytest.fail("it was trained"))
    given = {"data": bright, **arguments}
    for name in ("data", "reference"):
        if isinstance(given.get(name), int):
            given[name] = bright[: given[name]]
        elif isinstance(given.get(name), tuple):
            given[name] = tuple(bright[:count] for count in given[name])
    with pytest.raises(InvalidInputError, match=message):
        fine_tune(segmenter, **given)


def test_a_model_that_has_learned_nothing_is_refused(tiny_encoder, bright):
    with pytest.raises(InvalidInputError, match="goes on from a trained model, got one that has learned nothing yet"):
        fine_tune(Segmenter(tiny_encoder, None, widths=WIDTHS), bright)


def test_sizes_of_a_curve_lie_between_none_and_all(segmenter, bright):
    with pytest.raises(InvalidInputError, match=r"sizes must be from 1 to 3, below the 4 images .* got \[2, 4\]"):
        learning_curve(segmenter, bright, sizes=[4, 2])


# ---- What is compared, and how. ----


def scores(*found, names="abcdefgh"):
    """An evaluation of images with ten nuclei each, of which so many are found."""
    truth = np.arange(1, 11)[np.newaxis]
    return Evaluation(
        [ImageScore(name, "", match(truth, np.where(truth <= count, truth, 0))) for name, count in zip(names, found)]  # noqa: B905
    )


COUNTS = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=8)


@given(COUNTS)
def test_a_gain_is_the_difference_of_the_scores_and_turns_with_them(counts):
    before, after = (scores(*column) for column in zip(*counts, strict=True))
    found, turned = Comparison(before, after), Comparison(after, before)
    assert found.scores == pytest.approx([each.to_dict()["all"]["ap50"] for each in (before, after)])
    assert found.gain == pytest.approx(-turned.gain)
    low, high = found.interval(rounds=200)
    gains = [(b - a) / 10 for a, b in counts]
    assert min(gains) - 1e-9 <= low <= high <= max(gains) + 1e-9
    assert Comparison(before, before).interval(rounds=10) == (0.0, 0.0)


def test_an_image_without_nuclei_counts_as_found():
    nothing = Evaluation([ImageScore("a", "", match([[0, 0]], [[0, 0]]))])
    assert Comparison(nothing, nothing).scores == (1.0, 1.0)


def test_other_images_cannot_be_compared():
    with pytest.raises(InvalidInputError, match="must be scores of the same images, got 2 and 1 that differ"):
        Comparison(scores(1, 2), scores(1))


@given(st.integers(-10, 10), st.one_of(st.none(), st.integers(-10, 10)), st.integers(0, 10))
def test_the_better_one_gains_and_forgets_little(own, reference, tolerance):
    def gaining(tenths):
        return Comparison(scores(max(0, -tenths)), scores(max(0, tenths)))

    remembered = None if reference is None else gaining(reference)
    kept = is_better(gaining(own), remembered, tolerance / 10)
    assert kept == (own > 0 and (reference is None or reference >= -tolerance))


def tuning(own, reference=None):
    rows = ({"epoch": 0, "val_dice": 0.2}, {"epoch": 1, "loss": 0.5, "val_dice": 0.7})
    return FineTuning(None, None, own, reference, History(rows), 0.02, 6, 2)


def test_the_table_says_what_was_compared():
    found = tuning(Comparison(scores(4, 6, 5), scores(8, 8, 8)), Comparison(scores(8), scores(8)))
    assert str(found).splitlines() == [
        "AP at IoU .5         images  before  after    gain",
        "held-out, own             3   0.500  0.800  +0.300  (+0.200 to +0.400 in 95 % of such sets)",
        "reference                 1   0.800  0.800  +0.000",
        "Learned from 6 images, epoch 1 of 1 chosen by 2, judged by 3.",
        "The tuned model is kept: it is better on the held-out images, and on the reference images at most 0.02 worse.",
    ]
    assert found.to_dict()["own_interval"] == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize(("found", "words"), [([8], "of one image"), ([8, 9], "of two images")])
def test_of_one_or_two_images_chance_cannot_be_told(found, words):
    few = tuning(Comparison(scores(*[4] * len(found)), scores(*found)))
    assert str(few).splitlines()[1].endswith(f"  ({words}: chance cannot be told)")
    assert few.to_dict()["own_interval"] is None


def test_a_model_that_forgets_too_much_is_not_kept():
    found = tuning(Comparison(scores(4), scores(8)), Comparison(scores(8), scores(7)))
    assert not found.is_better
    assert found.verdict == (
        "The model stays as it was: on the reference images the tuned one is more than 0.02 worse."
    )
    assert found.to_dict()["reference"] == pytest.approx({"images": 1, "before": 0.8, "after": 0.7, "gain": -0.1})


@pytest.mark.parametrize(
    ("last", "helps", "words"),
    [
        (0.56, True, "More images would probably help: from 3 to 6 the score rose by 0.010."),
        (0.555, False, "More images would hardly help: from 3 to 6 the score rose by 0.005."),
        (0.5, False, "More images would hardly help: from 3 to 6 the score fell by 0.050."),
    ],
)
def test_more_images_help_if_the_last_step_gained(last, helps, words):
    curve = LearningCurve([CurvePoint(0, 0.42), CurvePoint(3, 0.55), CurvePoint(6, last)])
    assert curve.more_would_help == helps
    assert str(curve).splitlines()[-1] == words


def test_a_curve_needs_two_rising_points():
    with pytest.raises(InvalidInputError, match=r"of rising numbers of images, got \[3, 3\]; add images"):
        LearningCurve([CurvePoint(3, 0.5), CurvePoint(3, 0.6)])


def blank(count, *bearing):
    """Images without nuclei, but for those of these numbers."""
    labels = np.zeros((count, 4, 4), int)
    labels[list(bearing), 1, 1] = 1
    return datasets.from_arrays(np.zeros((count, 4, 4), np.uint8), labels)


@given(st.integers(5, 60), st.integers(0, 3), st.data())
def test_each_part_has_an_image_with_nuclei(count, seed, data):
    bearing = data.draw(st.sets(st.integers(0, count - 1), min_size=3))
    images = blank(count, *bearing)
    own = split_own(images, seed)
    parts = own.learn, own.choose, own.held_out
    assert sorted(sum((part.ids for part in parts), ())) == sorted(images.ids)
    assert all(any(sample.labels.any() for sample in part) for part in parts)
    plain = images.split(0.6, 0.2, 0.2, seed=seed)
    assert [*map(len, parts)] == [*map(len, plain)]
    if all(any(sample.labels.any() for sample in part) for part in plain):
        assert [set(part.ids) for part in parts] == [set(part.ids) for part in plain]


def test_images_without_nuclei_are_learned_from_before_they_choose_or_judge():
    for seed in range(10):
        own = split_own(blank(10, 0, 1, 2, 3, 4, 5), seed)
        assert all(any(sample.labels.any() for sample in part) for part in (own.choose, own.held_out))


@pytest.mark.parametrize("bearing", [[], [1, 4]])
def test_too_few_images_with_nuclei_are_refused(bearing):
    with pytest.raises(InvalidInputError, match=f"3 images with nuclei, .* got {len(bearing)} among 6; add images"):
        split_own(blank(6, *bearing))


def test_parts_without_nuclei_are_refused():
    some, none = blank(2, 0), blank(2)
    assert OwnImages(some, some, some)
    with pytest.raises(InvalidInputError, match=r"got none to judge by \(test\); move one there"):
        OwnImages(some, some, none)
    with pytest.raises(InvalidInputError, match=r"none to learn from \(train\) and none to choose by \(val\); move"):
        OwnImages(none, none, some)


@given(st.integers(5, 60), st.integers(0, 3))
def test_a_few_images_are_split_into_parts_that_share_none(count, seed):
    own = split_own(blank(count, *range(count)), seed)
    parts = [own.learn.ids, own.choose.ids, own.held_out.ids]
    assert sorted(sum(parts, ())) == sorted(f"{number:04}" for number in range(count))
    assert all(parts)
    assert len(parts[0]) >= len(parts[1]) + len(parts[2])
    assert isinstance(own, OwnImages)


def noisy(*seeds):
    """Images with a nucleus, of which those of the same seed are copies."""
    images = [np.random.default_rng(seed).integers(0, 99, (8, 8), np.uint8) for seed in seeds]
    return datasets.from_arrays(images, [np.ones((8, 8), int)] * len(seeds))


@pytest.mark.parametrize("seed", range(4))
def test_copies_come_into_one_part(seed):
    data = noisy(0, 1, 2, 3, 4, 5, 0, 0, 1, 5)
    own = split_own(data, seed)
    for parts in ((own.learn, own.choose, own.held_out), split_reference(data, seed)):
        seen = [{sample.image.tobytes() for sample in part} for part in parts]
        assert sum(map(len, parts)) == 10
        assert len(set.union(*seen)) == sum(map(len, seen)) == 6


def test_copies_are_no_further_images():
    with pytest.raises(InvalidInputError, match="at least 5 images, .* got 4 and 2 copies of them; label more"):
        split_own(noisy(0, 1, 2, 3, 0, 1))
    with pytest.raises(InvalidInputError, match="at least 3, .* got 2 and 1 copies of them; add some"):
        split_reference(noisy(0, 1, 1), 0)


def test_no_image_is_both_learned_from_and_held_out(segmenter):
    one, other = "'0001' to learn from (train)", "'0000' to judge by (test)"
    with pytest.raises(InvalidInputError, match=re.escape(f"in two parts, got {one} as {other}; leave each out")):
        fine_tune(segmenter, (noisy(0, 1), noisy(2), noisy(1)))
    with pytest.raises(InvalidInputError, match=re.escape("'0000' to judge by (test) as '0002' to remember (refer")):
        fine_tune(segmenter, (noisy(0), noisy(1), noisy(2)), noisy(3, 4, 2))


@given(st.integers(3, 300), st.integers(0, 3))
def test_reference_images_are_learned_from_or_choose_or_judge(count, seed):
    parts = split_reference(blank(count), seed)
    assert sorted(sum((part.ids for part in parts), ())) == sorted(blank(count).ids)
    learn, choose, judge = map(len, parts)
    assert choose == pytest.approx(min(max(1, count / 5), 20), abs=0.5)
    assert learn == min((count - choose) // 2, 100)
    assert judge >= learn >= 1


def test_thresholds_are_chosen_by_images_that_were_not_learned_from_and_each_counts_once(segmenter, monkeypatch):
    def labelled(count, value):
        images = [np.full((8, 8), value + number, np.uint8) for number in range(count)]
        return datasets.from_arrays(images, [np.ones((8, 8), int)] * count)

    def seen(data):
        return [int(sample.image[0, 0]) for sample in data]

    def fit(self, train, *_, **__):
        learned.extend(seen(train))
        return TrainingRun(self._settings, ({"epoch": 1, "loss": 0.5, "monitor": "loss"},))

    learned, chosen = [], []
    monkeypatch.setattr(fine_tuning.tuning, "_train", fit)
    monkeypatch.setattr(Segmenter, "optimize_thresholds", lambda self, data: chosen.extend(seen(data)))
    found = fine_tune(segmenter, labelled(6, 0), labelled(30, 100))
    judged = {int(image.id) for image in found.own.before.images}
    judged |= {100 + int(image.id) for image in found.reference.before.images}
    assert len(judged) == 1 + 12
    assert len(chosen) == len(set(chosen)) == 1 + 6
    assert not set(chosen) & set(learned)
    assert not judged & {*chosen, *learned}


@given(st.integers(1, 9), st.integers(1, 9))
def test_a_mixture_has_as_many_of_either_kind(one, other):
    mixed = mix(blank(one), blank(other))
    kinds = [name.split("-")[0] for name in mixed.ids]
    assert kinds.count("0") == kinds.count("1") == max(one, other)
    sources = {(name.split("-")[0], name.split("-")[2]) for name in mixed.ids}
    assert len(sources) == one + other


def test_the_passport_is_that_of_the_own_images(segmenter, quick):
    def discs(count, side):
        labels = np.zeros((count, 64, 64), int)
        labels[:, :side, :side] = 1
        return datasets.from_arrays(np.zeros(labels.shape, np.uint8), labels)

    found = fine_tune(segmenter, discs(6, 40), discs(10, 10), options=replace(GENTLE, augmentation=None))
    assert found.tuned._settings.passport == pytest.approx([40 * np.sqrt(4 / np.pi)] * 3, rel=0.01)


@given(st.integers(1, 5), st.integers(1, 5))
def test_of_datasets_that_are_joined_each_sample_comes_once(one, other):
    joined = join(blank(one), blank(other, 0))
    assert len(joined) == len(set(joined.ids)) == one + other
    assert [bool(sample.labels.any()) for sample in joined].index(True) == one


def test_nothing_can_be_mixed_with_nothing():
    with pytest.raises(InvalidInputError, match="both datasets must have samples, got 2 and 0; leave the empty out"):
        mix(blank(2), blank(2)[:0])
