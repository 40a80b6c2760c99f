"""From counts of images to tables: per group, over all, and for each image."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nucleiseg.datasets import from_arrays
from nucleiseg.errors import InvalidInputError
from nucleiseg.inference import Evaluation, ImageScore, Prediction, PredictOptions
from nucleiseg.inference.evaluation import evaluate_images
from nucleiseg.instances import match, score_images

ONE, OTHER = np.array([[1, 1, 0, 0]]), np.array([[0, 0, 7, 7]])
GOOD, BAD, HALF = match(ONE, ONE), match(ONE, OTHER), match(ONE + OTHER, ONE)


@pytest.fixture
def evaluation():
    return Evaluation(
        [ImageScore("a", "tissue", GOOD), ImageScore("b", "culture", BAD), ImageScore("c", "tissue", HALF)]
    )


def test_groups_are_pooled_from_counts(evaluation):
    scores = evaluation.to_dict()
    assert list(scores) == ["culture", "tissue", "all"]
    assert scores["tissue"] == score_images([GOOD, HALF])
    assert scores["all"] == score_images([GOOD, BAD, HALF])
    assert scores["tissue"]["ap50"] == (1 + 1) / (1 + 2)
    assert scores["tissue"]["dsb"] == pytest.approx((1 + 0.5) / 2)
    assert scores["all"]["recall_50"] == 2 / 4


def test_without_groups_there_is_only_one_row():
    assert list(Evaluation([ImageScore("a", "", GOOD)]).to_dict()) == ["all"]


def test_the_table_has_a_row_for_each_group(evaluation):
    table = evaluation.table()
    assert table.loc["culture", "misses"] == table.loc["culture", "false_positives"] == 1
    pd.testing.assert_series_equal(table.loc["all"], pd.Series(evaluation.to_dict()["all"], name="all", dtype=float))


def test_it_prints_what_people_look_for(evaluation):
    tables = str(evaluation).split("\n\n")
    assert [table.split()[0] for table in tables] == ["nuclei", "areas", "errors"]
    assert all([row.split()[0] for row in table.splitlines()[1:]] == ["culture", "tissue", "all"] for table in tables)
    assert max(map(len, str(evaluation).splitlines())) <= 120
    printed = {name for table in tables for name in table.splitlines()[0].split()}
    detail = {f"ap{level}" for level in range(55, 100, 5)} - {"ap75", "ap90"}
    assert printed >= set(evaluation.to_dict()["all"]) - detail


def test_each_image_has_a_row_of_its_own_scores(evaluation, tmp_path):
    table = evaluation.per_image()
    assert table["id"].tolist() == ["a", "b", "c"]
    assert table["group"].tolist() == ["tissue", "culture", "tissue"]
    assert table["ap50"].tolist() == [1, 0, 0.5]
    assert table["dsb"].tolist() == pytest.approx([1, 0, 0.5])
    assert set(table.columns) == {"id", "group", *evaluation.to_dict()["all"]} - {"images", "mean_dice"}
    evaluation.write_per_image(tmp_path / "images.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "images.csv"), table, check_dtype=False)


def test_no_image_is_no_evaluation():
    with pytest.raises(InvalidInputError, match="at least one image, got none"):
        Evaluation([])


def test_no_group_takes_the_name_of_all_images(evaluation):
    with pytest.raises(InvalidInputError, match="a group must not be called 'all'.*; rename it"):
        Evaluation([*evaluation.images, ImageScore("d", "all", GOOD)])


def test_such_a_group_is_refused_before_anything_is_predicted(tmp_path):
    (tmp_path / "kinds.csv").write_text("id,kind\na,tissue\nb,all\n")
    data = from_arrays(np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4), int), ids=["a", "b"])
    with pytest.raises(InvalidInputError, match="a group must not be called 'all'"):
        evaluate_images(data.with_metadata(tmp_path / "kinds.csv"), lambda sample: pytest.fail("predicted"), "kind")


def test_intervals_hold_the_score_and_narrow_with_images(evaluation):
    scores, intervals = evaluation.to_dict(), evaluation.intervals(rounds=200)
    assert intervals.keys() == scores.keys()
    for group, found in intervals.items():
        for name, (low, high) in found.items():
            assert low <= scores[group][name] <= high
    assert intervals["culture"]["ap50"] == (0, 0)  # one image

    few = Evaluation([ImageScore("x", "", counts) for counts in (GOOD, BAD)] * 2)
    many = Evaluation([*few.images] * 20)
    (low, high), (lower, higher) = (each.intervals(rounds=200)["all"]["ap50"] for each in (many, few))
    assert lower < low < high < higher


def test_scores_of_each_image_replace_no_file_of_another_kind(evaluation, tmp_path):
    with pytest.raises(InvalidInputError, match=r"path must end in .csv, got '.*a.tif'"):
        evaluation.write_per_image(tmp_path / "new" / "a.tif")
    assert not (tmp_path / "new").exists()


def test_the_seed_decides_the_intervals(evaluation):
    assert evaluation.intervals(rounds=20, seed=1) == evaluation.intervals(rounds=20, seed=1)
    wide, narrow = (evaluation.intervals(["dsb"], level, 200)["all"]["dsb"] for level in (0.95, 0.5))
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scores": ["ap5"]}, "unknown score 'ap5'; did you mean 'ap"),
        ({"level": 95}, "level must be a number from 0 to 1, got 95"),
        ({"rounds": 0}, "rounds must be a whole number of at least 1"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
    ],
)
def test_intervals_need_known_scores_and_sound_numbers(evaluation, options, message):
    with pytest.raises(InvalidInputError, match=message):
        evaluation.intervals(**options)


def test_where_nuclei_at_the_edge_are_left_out_true_ones_do_not_count_either():
    labels = np.zeros((30, 30), np.int32)
    labels[0:8, 4:12], labels[10:18, 10:18], labels[22:29, 20:30] = 4, 5, 9
    found = labels.copy()
    found[0:8, 4:12] = 0  # as it is left out
    found[22:29, 29] = 0  # is not, as its last column was not found
    found[20:23, 2:5] = 7  # false
    data = from_arrays([np.zeros((30, 30), np.uint8)], [labels])

    def scores(options):
        found_there = Prediction(np.zeros((30, 30)), np.zeros((30, 30), np.float32), found)
        return evaluate_images(data, lambda sample: found_there, "modality", options=options).to_dict()["all"]

    whole, every = scores(PredictOptions(remove_edge=True)), scores(PredictOptions())
    assert (whole["nuclei"], whole["found"], whole["ap50"], whole["false_positives"]) == (1, 2, 0.5, 1)
    assert (every["nuclei"], every["found"], every["misses"]) == (3, 3, 1)
