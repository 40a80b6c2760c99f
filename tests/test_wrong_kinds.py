"""What is of another kind than it must be is refused in one line, with the remedy, before any work is done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nucleiseg import Segmenter, datasets, predict_large, predict_many
from nucleiseg.adopting import adopt
from nucleiseg.engines.formats import find_format
from nucleiseg.errors import FailedImagesError, InvalidInputError, ModelFileError
from nucleiseg.fine_tuning import fine_tune, learning_curve
from nucleiseg.growing import grow
from nucleiseg.images.tiling import Tiling, tiles
from nucleiseg.inference import Evaluation, Prediction, PredictOptions
from nucleiseg.inference.evaluation import ImageScore
from nucleiseg.inference.options import exact_options
from nucleiseg.inference.parts import usable_settings
from nucleiseg.instances import match
from nucleiseg.learning import train_network
from nucleiseg.pretrained import pretrained_path
from nucleiseg.teaching import teach
from nucleiseg.training import Augmentation, FitOptions, as_tf_dataset

IMAGE = np.zeros((32, 32), np.uint8)
DATA = datasets.from_arrays(IMAGE[np.newaxis], np.zeros((1, 32, 32), int))
BARE = Segmenter.__new__(Segmenter)  # has neither network nor settings: nothing may be done with it
READ = r"make one by nucleiseg.datasets.read\(path\)"


def fit(**arguments):
    rest = {"epochs": 1, "options": None, "checkpoint": None, "resume": False, **arguments}
    train_network(None, None, DATA, None, **rest)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BARE.evaluate(list(DATA)), f"data must be a dataset, got list; {READ}"),
        (lambda: BARE.evaluate("mini"), f"data must be a dataset, got str; {READ}"),
        (lambda: BARE.optimize_thresholds("mini"), f"data must be a dataset, or a sequence .*, got str; {READ}"),
        (lambda: datasets.check("mini"), f"dataset must be a dataset, got str; {READ}"),
        (lambda: datasets.check(DATA, {"a": 1}), r"settings must be CheckSettings, got {'a': 1}; use CheckSettings"),
        (lambda: fine_tune(BARE, "mini"), f"data must be a dataset, got str; {READ}"),
        (lambda: fine_tune(BARE, list(DATA)), f"data must be a dataset, got list; {READ}"),
        (lambda: fine_tune(BARE, (DATA, DATA, "c")), f"data must be a dataset, got str; {READ}"),
        (lambda: fine_tune(BARE, DATA, "mini"), f"reference must be a dataset, got str; {READ}"),
        (lambda: fine_tune(BARE, DATA, options={}), r"options must be FitOptions, got {}; use FitOptions\("),
        (lambda: fine_tune("nuclei", DATA), r"segmenter must be a Segmenter, got 'nuclei'; use Segmenter.from_pretr"),
        (lambda: learning_curve("nuclei", DATA), r"segmenter must be a Segmenter, got 'nuclei'; use Segmenter.from_p"),
        (lambda: teach(DATA, "nuclei"), r"teacher must be a Segmenter, got 'nuclei'; use Segmenter.from_pretrained"),
        (lambda: teach("mini", BARE), f"data must be a dataset, or a sequence .*, got str; {READ}"),
        (lambda: grow("nuclei", refine=True), r"segmenter must be a Segmenter, got 'nuclei'; use Segmenter.from_pre"),
        (lambda: adopt("nuclei"), "model must be a functional Keras model of one image, got str"),
        (lambda: BARE.predict(IMAGE, {"tta": True}), r"options must be PredictOptions, got {'tta': True}; use Predict"),
        (
            lambda: BARE.predict(IMAGE, True),
            r"options must be PredictOptions, got True; use PredictOptions",
        ),
        (lambda: predict_large("nuclei", IMAGE, "a.tif", {}), "options must be PredictOptions, got {}; use"),
        (lambda: next(predict_many("nuclei", [], {})), "options must be PredictOptions, got {}; use"),
        (lambda: fit(options={"epochs": 3}), r"options must be FitOptions, got {'epochs': 3}; use FitOptions\("),
        (lambda: fit(resume="no"), "resume must be true or false, got 'no'"),
        (lambda: fit(resume=True), "resume goes on from the folder that checkpoint names, got none; pass checkpoint"),
        (lambda: FitOptions(augmentation=True), r"augmentation must be an Augmentation, got True; use Augmentation\("),
        (lambda: FitOptions(balance=["modality"]), r"balance must be a str, got \['modality'\]; use one column"),
        (lambda: as_tf_dataset(DATA, augmentation=True), "augmentation must be an Augmentation, got True"),
        (lambda: as_tf_dataset(DATA, shuffle="no"), "shuffle must be true or false, got 'no'"),
        (lambda: tiles((64, 64), 32), r"tiling must be a Tiling, got 32; use Tiling\(tile=256\)"),
        (lambda: BARE.predict(IMAGE.tolist()), r"make an array of nested lists by numpy.asarray\(image\)"),
        (lambda: BARE.predict(DATA[0]), "image must be an image, got a Sample with labels; give its .image"),
        (
            lambda: BARE.predict(DATA),
            r"image must be an image, got a Dataset; look at it by segmenter.evaluate",
        ),
    ],
)
def test_it_is_told_what_to_give_instead(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_what_is_right_passes():
    assert FitOptions(augmentation=Augmentation(), balance="modality").balance == "modality"
    assert len(tiles((8, 8), (Tiling(6, 2), Tiling(8, 2)))) == 2


def test_thresholds_are_chosen_in_float32_unless_another_precision_is_named():
    assert exact_options(None).precision == "float32"
    assert exact_options(PredictOptions(diameter=20)) == PredictOptions(diameter=20, precision="float32")
    assert exact_options(PredictOptions(precision="mixed_bfloat16")).precision == "mixed_bfloat16"


def test_one_text_stands_for_a_list_of_one(tmp_path):
    found = Prediction(np.zeros((1, 3)), np.zeros((1, 3), np.float32), np.array([[1, 0, 2]], np.int32))
    assert list(found.export(tmp_path, "a", "geojson")) == ["geojson"]
    evaluation = Evaluation([ImageScore("a", "", match([[1]], [[1]]))])
    assert list(evaluation.intervals("ap50", rounds=2)["all"]) == ["ap50"]
    with pytest.raises(InvalidInputError, match="unknown export 'geo'; did you mean 'geojson'"):
        predict_large("nuclei", IMAGE, tmp_path / "labels.tif", export="geo")


def test_a_path_that_fails_twice_counts_twice(monkeypatch):
    monkeypatch.setattr("nucleiseg.clusters.load_segmenter", lambda model: BARE)
    with pytest.raises(FailedImagesError, match=r"^1 of 1 images could not be segmented: no\.png"):
        list(predict_many("any", "no.png"))
    with pytest.raises(FailedImagesError, match=r"^2 of 2 images could not be segmented: no\.png[^;]*; [^;]*$"):
        list(predict_many("any", ["no.png", "no.png"]))


@pytest.mark.parametrize("kind", ["scaling", "head", "decoder"])
def test_a_part_that_a_model_needs_and_that_is_not_installed_is_named_when_it_is_loaded(kind, monkeypatch):
    known = find_format("a.keras")
    path = pretrained_path("nuclei")
    stored = {name: dict(part) for name, part in known.read_settings(path).items() if name == "segmenter"}
    if kind == "decoder":
        monkeypatch.setattr("nucleiseg.inference.parts.list_decoders", lambda: ["components"])
    else:
        stored["segmenter"][kind] = "mine"
    changed = replace(known, read_settings=lambda path: stored)
    name = stored["segmenter"].get(kind, "contact")
    with pytest.raises(ModelFileError, match=rf"a.keras needs the {kind} '{name}', which is not registered; .* import"):
        usable_settings(changed, "a.keras")
