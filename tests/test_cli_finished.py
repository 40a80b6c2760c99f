"""Trainings of a chain that are finished: which are, and that none of another recipe or of other images is taken."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace

import numpy as np
import pytest

from nucleiseg import datasets
from nucleiseg.cli.finished import check_images, check_recipes, is_finished
from nucleiseg.cli.stages import Stage
from nucleiseg.errors import InvalidInputError
from nucleiseg.training import Augmentation, FitOptions
from nucleiseg.training.fingerprints import fingerprint
from nucleiseg.training.recipe import Recipe

RECIPE = Recipe(
    network={"encoder": "tiny", "weights": None, "widths": (8, 8, 8, 8, 8), "seed": 1},
    epochs=2,
    options=FitOptions(crop=(32, 32), augmentation=Augmentation(invert=0.25)),
)


def blank(size):
    return datasets.from_arrays(np.zeros((2, size, size), np.uint8), np.zeros((2, size, size), int))


def save(segmenter, path, run):
    """A model that tells of this training."""
    told = copy.copy(segmenter)
    told._settings = replace(segmenter._settings, trained=True, run=run)
    told.save(path)


@pytest.fixture(scope="module")
def stage(tiny_segmenter, tmp_path_factory):
    """A training that ended as it should."""
    made = Stage(RECIPE, tmp_path_factory.mktemp("finished") / "m_start.keras")
    run = {
        "most_epochs": RECIPE.epochs,
        "options": asdict(RECIPE.options),
        "data": {"train": fingerprint(blank(8)), "validation": None},
        "checkpoint": f"elsewhere/{made.checkpoint.name}",
    }
    save(tiny_segmenter, made.output, run)
    return made


def test_a_model_without_a_checkpoint_is_finished(tmp_path):
    stage = Stage(RECIPE, tmp_path / "m_start.keras")
    assert not is_finished(stage)
    stage.output.touch()
    assert is_finished(stage)
    stage.checkpoint.mkdir()
    assert not is_finished(stage)


def test_the_same_recipe_and_images_are_taken(stage):
    check_recipes([stage])
    check_images([stage], blank(8), None)
    check_images([], blank(9), None)  # nothing is finished


@pytest.mark.parametrize(
    ("recipe", "change"),
    [
        (replace(RECIPE, epochs=3), "most_epochs was 2, is 3"),
        (replace(RECIPE, options=replace(RECIPE.options, seed=4)), "options.seed was None, is 4"),
        (replace(RECIPE, options=replace(RECIPE.options, crop=(64, 32))), "options.crop was [32, 32], is [64, 32]"),
        (
            replace(RECIPE, options=replace(RECIPE.options, augmentation=Augmentation(invert=0.5))),
            "options.augmentation.invert was 0.25, is 0.5",
        ),
        (replace(RECIPE, network={**RECIPE.network, "seed": 2}), "seed was 1, is 2"),
        (replace(RECIPE, network={**RECIPE.network, "loss": "dice"}), "loss was 'bce_dice', is 'dice'"),
        (
            replace(RECIPE, network={name: value for name, value in RECIPE.network.items() if name != "encoder"}),
            "encoder was 'tiny', is 'mobilenet_v2'",
        ),
        (replace(RECIPE, start="nuclei", network={"refine": True}), "refine was False, is True"),
    ],
)
def test_another_recipe_is_refused(stage, recipe, change):
    with pytest.raises(InvalidInputError) as refused:
        check_recipes([replace(stage, recipe=recipe)])
    assert str(refused.value) == (
        f"{stage.output} was trained with other settings ({change}); use the same, or delete it to train it anew"
    )


def test_a_training_with_a_teacher_is_told_from_one_without(stage, tiny_segmenter, tmp_path):
    taught = replace(RECIPE, teacher="nuclei", teaching=0.25)
    with pytest.raises(InvalidInputError, match=r"teaching was None, is 0.25"):
        check_recipes([replace(stage, recipe=taught)])
    made = Stage(taught, tmp_path / "m_start.keras")
    facts = {**fingerprint(blank(8)), "teacher": "1234", "share": 0.25}
    save(tiny_segmenter, made.output, {"data": {"train": facts, "validation": None}})
    check_recipes([made])
    check_images([made], blank(8), None)
    with pytest.raises(InvalidInputError, match=r"teaching was 0.25, is None"):
        check_recipes([replace(made, recipe=RECIPE)])


@pytest.mark.parametrize(("train", "val", "change"), [(9, None, "train was '2"), (8, 9, "validation was None, is '2")])
def test_other_images_are_refused(stage, train, val, change):
    with pytest.raises(InvalidInputError) as refused:
        check_images([stage], blank(train), None if val is None else blank(val))
    assert f"({change} images with the" in str(refused.value) or f"({change}" in str(refused.value)


def test_where_no_epoch_was_better_the_model_tells_of_its_start(stage, tiny_segmenter, tmp_path):
    kept = Stage(replace(RECIPE, start="m_start_start.keras", network={}), tmp_path / "m_start.keras")
    earlier = {"most_epochs": 9, "options": {}, "data": {"train": None}, "checkpoint": "m_start_start_checkpoint"}
    save(tiny_segmenter, kept.output, earlier)
    check_recipes([kept])
    check_images([kept], blank(8), None)


def test_what_an_older_version_did_not_tell_is_taken_as_the_same(tiny_segmenter, tmp_path):
    older = Stage(RECIPE, tmp_path / "m_start.keras")
    save(tiny_segmenter, older.output, {"options": {"crop": [32, 32]}})
    check_recipes([older])
    check_images([older], blank(8), None)
