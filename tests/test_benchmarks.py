"""The scripts in benchmarks/ that score models, on a few small images and with a stub in place of a model."""

import importlib
import json
import re
import sys
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from scipy import ndimage

from nucleiseg import datasets
from nucleiseg.inference import Prediction
from nucleiseg.inference.bootstrap import Bootstrap
from nucleiseg.inference.evaluation import Evaluation, ImageScore, evaluate_images
from nucleiseg.instances import match
from nucleiseg.pretrained import list_pretrained, model_card

ROOT = Path(__file__).parents[1]
SCORE = re.compile(r"\d\.\d{3} \(\d\.\d\d-\d\.\d\d\)")


@pytest.fixture
def script(monkeypatch):
    """Gives a script as a module; what was imported from the folder is forgotten after the test."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.syspath_prepend(ROOT / "docs")
    known = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith((str(ROOT / "benchmarks"), str(ROOT / "docs"))):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    """Images are drawn a few times instead of a thousand: no test asks how wide an interval is."""
    draws = Bootstrap.draws
    monkeypatch.setattr(Bootstrap, "draws", lambda self, sizes: (drawn[:30] for drawn in draws(self, sizes)))


class Bright:
    """In place of a model: nuclei are what is bright, and those that touch are one."""

    thresholds = MappingProxyType({"min_confidence": 0.3})

    def predict(self, image, options=None):
        bright = image > 100
        probability = np.where(bright, image / 255, 0).astype(np.float32)
        return Prediction(image, probability, ndimage.label(bright)[0].astype(np.int32))

    def evaluate(self, data, options, watch=None):
        assert options.precision == "float32"  # as on machines that know no other
        return evaluate_images(data, lambda sample: self.predict(sample.image), "modality", watch)

    def optimize_thresholds(self, data):
        pass


@pytest.fixture
def data():
    """Six images of five nuclei, of which three touch, and in half of them something bright that is none."""
    labels = np.zeros((6, 40, 40), np.int64)
    for label, corner in enumerate([(2, 2), (2, 12), (2, 22), (15, 2), (28, 28)], start=1):
        labels[:, corner[0] : corner[0] + 10, corner[1] : corner[1] + 10] = label
    images = np.where(labels > 0, 230, 20).astype(np.uint8)
    images[:3, 15:25, 28:38] = 120
    return datasets.from_arrays(images, labels, ids=[f"{number}" for number in range(6)])


@pytest.fixture
def split(data, tmp_path):
    """A table of splits, two images in each, one of them fluorescence; and the data that know their modality."""
    table = tmp_path / "splits.csv"
    rows = [f"{n},{('train', 'val', 'test')[n % 3]},{('fluorescence', 'histology')[n // 3]}" for n in range(6)]
    table.write_text("\n".join(["image_id,split,modality", *rows, ""]))
    return data, table


def run(module, monkeypatch, split, folder, *arguments, **stubs):
    """Run a script's main with stubs; gives the tables that it would keep."""
    kept = {}
    for name, stub in stubs.items():
        monkeypatch.setattr(module, name, stub)
    monkeypatch.setattr(module.datasets, "read", lambda path: split[0])
    monkeypatch.setattr(module, "keep", lambda name, command, tables: kept.update({name: tables}))
    monkeypatch.setattr(sys, "argv", [module.__name__, str(folder), "--splits", str(split[1]), *map(str, arguments)])
    module.main()
    return kept[module.__name__]


def test_an_interval_of_any_score_is_that_of_the_evaluation(script, data):
    intervals = script("intervals")
    counts = [match(sample.labels, Bright().predict(sample.image).labels) for sample in data]
    tp, nuclei = (np.array([part(count.at(0.5)) for count in counts]) for part in (lambda c: c.tp, sum_of_all))
    text = intervals.of_images(lambda drawn: tp[drawn].sum() / nuclei[drawn].sum(), len(counts))
    assert text == intervals.of_counts(counts)["ap50"]
    assert SCORE.fullmatch(text)
    assert text.startswith(f"{12 / 39:.3f} (0.")  # in each image 2 match, 3 are one, and in half of them 1 is false


def sum_of_all(count):
    return count.tp + count.fp + count.fn


def test_an_interval_says_so_many_digits(script):
    assert script("intervals").with_interval(0.01, (0.0081, 0.0123), digits=3) == "0.010 (0.008-0.012)"


def test_scores_of_confidence(script):
    confidence = script("confidence")
    sure, matched = np.array([0.9, 0.8, 0.2]), np.array([True, True, False])
    assert confidence.area_under_curve(sure, matched) == 1
    assert confidence.area_under_curve(1 - sure, matched) == 0
    assert np.isnan(confidence.area_under_curve(sure, matched | True))
    assert confidence.calibration_error(sure, matched) == pytest.approx((0.1 + 0.2 + 0.2) / 3)
    assert np.isnan(confidence.calibration_error(sure[:0], matched[:0]))


def test_confidence_of_images_has_intervals(script, monkeypatch, split, tmp_path):
    confidence = script("confidence")
    model = type("Model", (), {"load": staticmethod(lambda path: Bright())})
    tables = run(confidence, monkeypatch, split, tmp_path, "--model", "stub.keras", Segmenter=model)
    assert [row["found"] for row in tables[""]] == [7, 7, 7, 7]  # one of two images has a false one
    for name in ("matched", "AP at IoU .5", "AUROC"):
        assert all(SCORE.fullmatch(row[name]) for row in tables[""])
    assert all(re.fullmatch(r"0\.\d{3} \(0\.\d{3}-0\.\d{3}\)", row["expected calibration error"]) for row in tables[""])


def test_a_ratio_compares_the_same_images(script, data):
    scales = script("scales")
    counts = [match(sample.labels, Bright().predict(sample.image).labels) for sample in data]
    assert scales.ratio(counts, counts, lambda count: count.average_precision) == "1.000 (1.00-1.00)"
    none = [match(sample.labels, sample.labels * 0) for sample in data]
    assert scales.ratio(none, counts, lambda count: count.tp + count.fp) == "0.000 (0.00-0.00)"
    assert scales.ratio(counts, none, lambda count: count.tp) == "nan (nan-nan)"


def test_scales_have_intervals(script, monkeypatch, data):
    scales = script("scales")
    monkeypatch.setattr(scales, "FACTORS", (1.0, 2.0))
    one, two = scales.compared(Bright(), data)
    assert one["found"] == two["found"] == 21
    assert one["AP at IoU .5"] == two["AP at IoU .5"]
    assert two["of those at 1"] == two["of that at 1"] == "1.000 (1.00-1.00)"


def test_costs_of_errors_have_intervals(script, data):
    errors = script("errors")
    pairs = [(sample.labels, Bright().predict(sample.image).labels.astype(np.int64)) for sample in data]
    costs = {row["labels"]: row for row in errors.costs(pairs)}
    assert all(SCORE.fullmatch(row[name]) for row in costs.values() for name in ("AP at IoU .5", "DSB2018 score"))
    assert costs["as found"]["AP at IoU .5"].startswith(f"{12 / 39:.3f}")
    assert costs["merges mended"]["AP at IoU .5"].startswith(f"{30 / 33:.3f}")


def test_specks_and_discs_are_told_from_nuclei(script):
    errors = script("errors")
    truth = np.zeros((40, 40), np.int64)
    truth[:20, :20], truth[30:33, :7], truth[38, 38], truth[25:40, 20:35] = 1, 2, 3, 4  # the second has 21 pixels
    assert np.unique(errors.without_discs(truth)).tolist() == [0, 1, 3, 4]
    assert np.bincount(errors.without_specks(truth).ravel())[1:].tolist() == [400, 21, 225]


def test_images_of_doubtful_truth_are_left_out_once(script, monkeypatch, data, split):
    errors = script("errors")
    monkeypatch.setattr(errors, "DOUBTFUL", ("0",))
    pairs = [(sample.labels, Bright().predict(sample.image).labels.astype(np.int64)) for sample in data]
    rows = {row["images of"]: row for row in errors.by_kind(data.with_metadata(split[1]), pairs)}
    assert {kind: row["number"] for kind, row in rows.items()} == {
        "fluorescence": 3,
        "fluorescence, less doubtful truth": 2,
        "histology": 3,
        "all": 6,
        "all, less doubtful truth": 5,
    }
    assert rows["all"]["AP at IoU .5"].startswith(f"{12 / 39:.3f}")
    assert rows["all, less doubtful truth"]["AP at IoU .5"].startswith(f"{10 / 32:.3f}")


def test_heads_have_intervals(script, monkeypatch, split, tmp_path):
    heads = script("heads")
    for head in heads.HEADS:
        (tmp_path / f"{head}.csv").write_text("epoch,seconds\n1,90\n")
    stubs = {"trained": lambda *_: Bright()}
    rows = run(heads, monkeypatch, split, tmp_path, "--folder", tmp_path, **stubs)[""]
    found = {row["on test"]: row["contact"] for row in rows}
    assert (found["… fluorescence (1)"], found["… histology (1)"]) == ("0.286 (0.29-0.29)", "0.333 (0.33-0.33)")
    assert found["merges in these images"] == 2
    assert found["minutes of training"] == "1.5"
    assert found["AP at IoU .5, their 6 touching nuclei alone"] == "0.000 (0.00-0.00)"
    scores = [value for name, value in found.items() if "AP" in name or "…" in name or "all" in name]
    assert len(scores) == 7
    assert all(SCORE.fullmatch(score) for score in scores)


def test_columns_of_heads_that_were_not_measured_stay(script, monkeypatch, split, tmp_path):
    heads, results = script("heads"), script("results")
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    for head in heads.HEADS:
        (tmp_path / f"{head}.csv").write_text("epoch,seconds\n1,90\n")
    stubs = {"trained": lambda *_: Bright()}
    rows = run(heads, monkeypatch, split, tmp_path, "--folder", tmp_path, **stubs)[""]
    older = [{key: value for key, value in row.items() if key != "contact"} for row in rows]
    results.keep("heads", "", {"": [{**row, "boundary": "older"} for row in older]})
    only = ("--folder", tmp_path, "--only", "contact")
    again = run(heads, monkeypatch, split, tmp_path, *only, **stubs)[""]
    assert again == [{**row, "boundary": "older"} for row in rows]
    assert list(again[0]) == ["on test", *heads.HEADS]


def test_ways_to_draw_crops_have_intervals_and_gains(script, monkeypatch, split, tmp_path):
    sampling = script("sampling")
    stubs = {"trained": lambda *_: {"last": Bright(), "averaged": Bright()}}
    tables = run(sampling, monkeypatch, split, tmp_path, "--folder", tmp_path, **stubs)
    rows, gains = tables["On val"], tables["Gains, means over the seeds"]
    assert len(rows) == 2 * 2 * len(sampling.WAYS)
    assert all(SCORE.fullmatch(row[name]) for row in rows for name in sampling.SCORES.values())
    assert {row["AP at IoU .5"] for row in gains} == {"0.000 (0.000-0.000)"}


def test_a_gain_is_the_mean_over_seeds_on_the_same_images(script, data):
    sampling = script("sampling")
    truth = [ImageScore(sample.id, "", match(sample.labels, sample.labels)) for sample in data]
    nothing = [ImageScore(sample.id, "", match(sample.labels, sample.labels * 0)) for sample in data]
    none, perfect = Evaluation(nothing), Evaluation(truth)
    assert sampling.gain([none], [perfect])["AP at IoU .5"] == "1.000 (1.000-1.000)"
    assert sampling.gain([none, perfect], [perfect, none])["mean Dice"] == "0.000 (0.000-0.000)"
    assert sampling.gain([none, none], [perfect, none])["DSB2018 score"] == "0.500 (0.500-0.500)"


@pytest.mark.parametrize("name", ["fine_tuning", "sampling"])
def test_trainings_of_benchmarks_begin_with_a_small_network(script, monkeypatch, name, tmp_path):
    module, asked = script(name), {}

    def build(**network):
        asked.update(network)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "Segmenter", build)
    train = {
        "fine_tuning": lambda: module.base_model(tmp_path, None),
        "sampling": lambda: module.trained("anywhere", 3, tmp_path, None, None, 1),
    }
    with pytest.raises(KeyboardInterrupt):
        train[name]()
    assert (asked["encoder"], asked["head"], asked["weights"]) == ("residual_small", "contact", None)


def test_fine_tuning_has_intervals(script, split):
    tuning = script("fine_tuning")
    everything = split[0].with_metadata(split[1])
    train, val, test = everything.split_by(split[1])
    images = tuning.Images(train, val, test, everything.select([*val.ids, *test.ids]))
    row = tuning.row(2, Bright(), images)
    assert row.pop("histology images") == 2
    assert row["histology, val and test"] == row["histology, val"] == "0.333 (0.33-0.33)"
    assert row["fluorescence, val and test"] == "0.286 (0.29-0.29)"


@pytest.mark.parametrize("name", list_pretrained())
def test_cards_say_of_use_and_limits_what_the_script_writes(script, name):
    source, card = script("model_card"), model_card(name)
    assert card["intended_use"] == source.INTENDED_USE
    assert card["limits"] == [*source.LIMITS, *source.OWN_LIMITS[name]]


def test_results_tell_the_machine_and_its_memory(script, monkeypatch, tmp_path, capsys):
    results, fill = script("results"), script("fill")
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(fill, "RESULTS", tmp_path)
    monkeypatch.setattr(results, "total_memory", lambda: 16 * 2**30 - 2**28)
    results.keep("tried", "python tried.py", {"": [{"score": 0.5}]})
    assert "0.500" in capsys.readouterr().out
    cores = f"{results.os.cpu_count()} cores, "
    assert f"{cores}16 GiB of memory, Python 3." in fill.benchmark("tried")

    record = json.loads((tmp_path / "tried.json").read_text())
    del record["machine"]["memory"]  # as results from before are
    (tmp_path / "tried.json").write_text(json.dumps(record))
    assert f"{cores}Python 3." in fill.benchmark("tried")

    monkeypatch.setattr(results, "total_memory", lambda: None)
    results.keep("tried", "python tried.py", {"": [{"score": 0.5}]})
    assert f"{cores}memory unknown, Python 3." in fill.benchmark("tried")


def test_an_encoder_that_costs_twice_as_much_gets_half_of_the_epochs(script, monkeypatch, data, tmp_path):
    initialisation = script("initialisation")
    spent = iter([20, 10, 90, 10, 30, 15])  # seconds of EfficientNet-Lite0 and of MobileNetV2 in turns
    monkeypatch.setattr(initialisation, "processor_seconds", lambda start, train, val: next(spent))
    (tmp_path / "MobileNetV2_random.epochs").write_text("16")
    name = "EfficientNet-Lite0, random"
    assert [initialisation.planned(name, tmp_path, data, data, 3.5) for _ in range(2)] == [8, 8]  # measured once


def test_rows_of_starts_that_were_not_measured_stay(script, monkeypatch, tmp_path):
    initialisation = script("initialisation")
    monkeypatch.setattr(script("results"), "FOLDER", tmp_path)
    first, second, *_, last = initialisation.STARTS
    stored = [{"start": name, "epochs": 1} for name in (first, second, "none of them any more")]
    (tmp_path / "initialisation.json").write_text(json.dumps({"tables": [{"title": "", "rows": stored}]}))
    rows = initialisation.completed([{"start": name, "epochs": 2} for name in (last, first)])
    assert [(row["start"], row["epochs"]) for row in rows] == [(first, 2), (second, 1), (last, 2)]
