"""Real images of nuclei and real ImageNet weights, where they are at hand."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage import measure
from skimage.transform import resize

from nucleiseg import PredictOptions, Segmenter, Tiling, datasets
from nucleiseg.images import judge_image
from nucleiseg.inference import Comparison
from nucleiseg.inference.memory import Plan
from nucleiseg.inference.reach import measure_reach
from nucleiseg.inference.scale import usual_diameter
from nucleiseg.inference.segmenting import decoding_of, segment
from nucleiseg.instances import match
from nucleiseg.pretrained import list_pretrained, model_card
from nucleiseg.training import FitOptions


@pytest.fixture(scope="module")
def splits(dsb2018, tmp_path_factory):
    """Train, val and test; decoded once for this module."""
    data = datasets.read(dsb2018 / "stage1_train.zip", cache=tmp_path_factory.mktemp("decoded"))
    return data.split_by(dsb2018 / "splits.csv")


@pytest.mark.weekly
@pytest.mark.usefixtures("keras_home", "eager_steps")
def test_a_few_steps_on_imagenet_weights_teach_it(splits):
    train, val, _ = splits
    options = FitOptions(batch_size=8, crop=(96, 96), augmentation=None, frozen_epochs=2, learning_rate=3e-3)
    history = Segmenter(weights="imagenet").fit(train[:24], validation_data=val[:4], epochs=3, options=options)
    assert [row["phase"] for row in history.rows] == ["frozen", "frozen", "fine-tune"]
    assert history.column("loss")[-1] < 0.8 * history.column("loss")[0]
    assert max(history.column("val_dice")) > 0.25


@pytest.mark.weekly
def test_the_same_process_predicts_identically_after_reloading(splits, tmp_path):
    _, _, test = splits
    segmenter = Segmenter.from_pretrained("nuclei")
    again = Segmenter.load(segmenter.save(tmp_path / "model.keras"))
    for sample in test[:2]:
        np.testing.assert_array_equal(
            again.predict(sample.image).probability, segmenter.predict(sample.image).probability
        )


@pytest.mark.parametrize("name", list_pretrained())
def test_the_models_in_the_box_are_as_good_as_their_cards_say(splits, name, monkeypatch):
    """And as sure of each nucleus as they may be."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    benchmark = importlib.import_module("confidence")
    _, _, test = splits
    judged = []
    found = (
        Segmenter.from_pretrained(name)
        .evaluate(
            test.prepare(),
            PredictOptions(precision="float32"),
            watch=lambda sample, result: judged.append(benchmark.judged(sample, result)),
        )
        .to_dict()
    )
    confidence, matched = benchmark.pooled(judged)
    assert benchmark.calibration_error(confidence, matched) <= 0.05
    assert benchmark.area_under_curve(confidence, matched) >= 0.8
    told = model_card(name)["test"]
    for kind, scores in told.items():
        assert found[kind]["images"] == scores["images"]
        for score in ("ap50", "dsb", "mean_dice", "pixel_accuracy"):
            assert found[kind][score] == pytest.approx(scores[score], abs=0.005), (kind, score)


def test_the_same_nuclei_are_found_at_any_size(splits):
    """As benchmarks/scales.py, on a few small images whose nuclei stay wide enough at half their size."""
    _, _, test = splits
    small = [s for s in test if s.labels.shape == (256, 256) and 16 <= (usual_diameter(s.labels) or 0) <= 40][:3]
    segmenter = Segmenter.from_pretrained("nuclei")

    def found(factor):
        counts = []
        for sample in small:
            size = tuple(round(factor * length) for length in sample.labels.shape)
            image = resize(sample.image, (*size, *sample.image.shape[2:]), 1, anti_aliasing=factor < 1)
            labels = resize(sample.labels, size, 0, anti_aliasing=False, preserve_range=True).astype(np.int32)
            counts.append(match(labels, segmenter.predict(np.round(255 * image).astype(np.uint8)).labels))
        return sum(counts[1:], counts[0])

    plain = found(1)
    assert plain.nuclei > 20
    for factor in (0.5, 2, 4):
        resized = found(factor)
        assert abs(resized.found / plain.found - 1) <= 0.1
        assert resized.average_precision(0.5) >= 0.9 * plain.average_precision(0.5)


@pytest.mark.parametrize("id_start", ["14004203", pytest.param("29ea4f6e", marks=pytest.mark.weekly)])
def test_pieces_of_large_nuclei_are_not_taken_for_nuclei(splits, id_start):
    """Four times as large, these come out in hundreds of pieces, few of which lie where half the size shows nuclei.

    The second is one of few, dim nuclei: its pieces are grain.
    """
    (sample,) = [sample for part in splits[1:] for sample in part if sample.id.startswith(id_start)]
    size = tuple(4 * length for length in sample.labels.shape)
    image = resize(sample.image, size, order=1, preserve_range=True).round().astype(np.uint8)
    segmenter = Segmenter.from_pretrained("nuclei-fast")
    found, plain = segmenter.predict(image), segmenter.predict(sample.image)
    assert found.scale <= 0.25
    assert found.count == pytest.approx(plain.count, rel=0.35)


def test_blurred_images_are_told_from_sharp_ones(splits):
    _, val, _ = splits
    for sample in val[::3]:
        assert "blurred" not in judge_image(sample.image, sample.labels)
        colours = sample.image[..., :3].astype(np.float32)
        assert "blurred" in judge_image(gaussian_filter(colours, (3, 3, 0)), sample.labels)


@pytest.mark.weekly
@pytest.mark.usefixtures("eager_steps")
def test_it_can_be_trained_further(splits):
    train, val, _ = splits
    segmenter = Segmenter.from_pretrained("nuclei")
    before = segmenter.evaluate(val[:4]).to_dict()["all"]["dice"]
    options = FitOptions(batch_size=4, crop=(128, 128), frozen_epochs=0, fine_tune_rate=1e-5)
    history = segmenter.fit(train[:8], val[:4], epochs=1, options=options)
    assert [row["phase"] for row in history.rows] == ["start", "fine-tune"]
    assert segmenter.evaluate(val[:4]).to_dict()["all"]["dice"] == pytest.approx(before, abs=0.05)


@pytest.mark.parametrize(
    ("name", "flows", "tta"),
    [
        ("nuclei", True, False),
        pytest.param("nuclei", False, False, marks=pytest.mark.weekly),
        pytest.param("nuclei-fast", False, True, marks=pytest.mark.weekly),
    ],
)
def test_tiles_cannot_be_seen(splits, monkeypatch, name, flows, tta):
    """Tiles and windows of 256 pixels, far smaller than would be chosen; specks hang on the last digit of a float."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    boundary_on_lines = importlib.import_module("seams").boundary_on_lines
    _, _, test = splits
    images = [sample.image for sample in test if sample.image.shape[:2] == (520, 696)][:2]
    segmenter = Segmenter.from_pretrained(name)
    reach, windows = measure_reach(segmenter._engine), Tiling(256, 128)
    network = Tiling(256 + 2 * reach, 2 * reach) if flows else None
    plan = Plan(network, windows, 0 if flows else reach, flows)
    parts = (
        segmenter._engine,
        segmenter._settings.scaling,
        decoding_of(segmenter._settings, PredictOptions(min_area=20, tta=tta)),
    )
    counts, numbers, lengths = [], np.zeros(2, int), np.zeros(2, int)
    for image in images:
        whole, tiled = (segment(image, *parts, chosen).labels for chosen in (Plan(), plan))
        counts.append(match(whole, tiled))
        numbers += whole.max(), tiled.max()
        assert np.unique(tiled).tolist() == list(range(tiled.max() + 1))
        assert measure.label(tiled, connectivity=1).max() == tiled.max()  # each is in one piece
        lengths += [boundary_on_lines(labels, plan)[0] for labels in (whole, tiled)]
    np.testing.assert_array_equal(segment(images[-1], *parts, plan).labels, tiled)
    assert sum(counts[1:], counts[0]).average_precision(0.9) >= 0.99
    assert numbers[0] > 100
    assert abs(numbers[1] / numbers[0] - 1) <= 0.005
    assert 0 < lengths[1] <= 1.02 * lengths[0]


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_ten_images_of_histology_teach_it_and_fluorescence_is_not_forgotten(dsb2018, tmp_path, monkeypatch):
    """What benchmarks/fine_tuning.py measures; ``base.keras`` from the folder in NUCLEISEG_TRAINED spares 20 epochs."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    benchmark = importlib.import_module("fine_tuning")
    images = benchmark.read(dsb2018 / "stage1_train.zip", dsb2018 / "splits.csv")
    base = benchmark.base_model(Path(os.environ.get("NUCLEISEG_TRAINED", tmp_path)), images)
    tuned = benchmark.tuned_on(base, images, 10)
    before, after = (benchmark.evaluated(each, images) for each in (base, tuned))
    assert Comparison(*(found["histology, val and test"] for found in (before, after))).gain >= 0.10
    assert Comparison(*(found["fluorescence, val and test"] for found in (before, after))).gain > -0.02
