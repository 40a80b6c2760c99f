"""Scores of predicted masks: from counts, pooled over images, by group and over all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg.errors import InvalidInputError
from nucleiseg.inference import Evaluation, ImageScore
from nucleiseg.instances import PixelCounts, count_pixels

COLUMNS = ["images", "mean_dice", "dice", "iou", "pixel_accuracy", "nuclei", "found"]
counts = st.builds(PixelCounts, *[st.integers(0, 10**9)] * 4)
scores = st.builds(ImageScore, st.text(max_size=3), st.sampled_from(["", "a", "b"]), counts, *[st.integers(0, 99)] * 2)


def score(name="a", group="", tp=8, fp=2, fn=2, tn=88, nuclei=3, found=4):
    return ImageScore(name, group, PixelCounts(tp=tp, fp=fp, fn=fn, tn=tn), nuclei, found)


@settings(max_examples=100, deadline=None)
@given(st.lists(scores, min_size=1, max_size=8))
def test_groups_are_evaluations_of_their_own(images):
    result = Evaluation(images).to_dict()
    groups = {image.group for image in images} - {""}
    assert list(result) == [*sorted(groups), "all"]
    for group in groups:
        assert result[group] == Evaluation([image for image in images if image.group == group]).to_dict()["all"]
    for row in result.values():
        assert list(row) == COLUMNS
        assert all(0 <= row[name] <= 1 for name in COLUMNS[1:5])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.lists(st.booleans(), min_size=4, max_size=4)] * 2), min_size=1, max_size=5))
def test_pooled_scores_are_those_of_all_pixels_together(pairs):
    images = [ImageScore("", "", count_pixels([true], [found]), 0, 0) for true, found in pairs]
    true, found = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    both, either = np.sum(true & found), np.sum(true | found)
    row = Evaluation(images).to_dict()["all"]
    assert row["pixel_accuracy"] == pytest.approx(np.mean(true == found))
    assert row["iou"] == pytest.approx(both / either if either else 1)
    assert row["dice"] == pytest.approx(2 * both / (both + either) if either else 1)
    assert row["mean_dice"] == pytest.approx(np.mean([image.counts.dice for image in images]))


def test_nuclei_are_summed():
    row = Evaluation([score(nuclei=3, found=4), score(nuclei=10, found=0)]).to_dict()["all"]
    assert (row["images"], row["nuclei"], row["found"]) == (2, 13, 4)


def test_large_images_weigh_more_in_pooled_scores_only():
    small, large = score(tp=1, fp=0, fn=0), score(tp=0, fp=500, fn=500)
    row = Evaluation([small, large]).to_dict()["all"]
    assert row["mean_dice"] == 0.5
    assert row["dice"] < 0.01


def test_it_prints_as_a_table():
    header, *rows = str(Evaluation([score("x", "tissue"), score("y", "cells")])).splitlines()
    assert header.split() == COLUMNS
    assert [row.split()[0] for row in rows] == ["cells", "tissue", "all"]
    assert rows[1].split()[2:5] == ["0.8", "0.8", "0.6667"]


def test_it_is_json():
    evaluation = Evaluation([score(group="tissue")])
    assert json.loads(json.dumps(evaluation.to_dict())) == evaluation.to_dict()


def test_tables_hold_the_same_numbers():
    evaluation = Evaluation([score("x", "tissue"), score("y")])
    assert evaluation.table().to_dict(orient="index") == evaluation.to_dict()
    table = evaluation.per_image()
    assert table["id"].tolist() == ["x", "y"]
    assert table["group"].tolist() == ["tissue", ""]
    assert table.loc[0, ["dice", "nuclei", "found"]].tolist() == [0.8, 3, 4]


def test_no_images_are_no_evaluation():
    with pytest.raises(InvalidInputError, match="at least one image, got none; check the split"):
        Evaluation([])
