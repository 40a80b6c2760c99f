"""One contract for every head: its target, loss and decoder exist and belong together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from stubs import MODEL, Echo

from nucleiseg import PredictOptions, Segmenter, datasets
from nucleiseg.errors import InvalidInputError
from nucleiseg.heads import Head, get_head, list_heads, register_head
from nucleiseg.heads.head import _heads
from nucleiseg.images import Tiling
from nucleiseg.inference.segmenting import Decoding, decoding_of, segment
from nucleiseg.instances import Decoded, get_decoder, list_decoders
from nucleiseg.training import FitOptions, get_target, list_targets, losses


@pytest.fixture(params=[*list_heads(), "core"])
def head(request, plugin):
    """Every registered head, and one of another package."""
    return get_head(request.param)


@pytest.fixture
def labels():
    """Three nuclei that do not touch, one of them small."""
    labels = np.zeros((32, 40), np.int32)
    labels[2:12, 3:14], labels[16:28, 20:36], labels[4:6, 30:33] = 4, 7, 9
    return labels


def as_maps(head, target):
    """What a network would put out that knows the target: where classes exclude each other, weights become 1."""
    return target / np.maximum(target.sum(axis=-1, keepdims=True), 1) if head.activation == "softmax" else target


def test_its_parts_are_registered(head):
    assert head.name in list_heads()
    assert head.target in list_targets()
    assert head.loss in losses.list_losses()
    assert head.decoder in list_decoders()
    assert head.channels >= 1
    assert all(0 <= threshold <= 1 for threshold in head.thresholds.values())


def test_the_target_is_what_the_network_puts_out(head, labels):
    maps = get_target(head.target)(labels)
    assert maps.shape == (*labels.shape, head.channels)
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    nucleus = maps[..., list(head.foreground)].sum(axis=-1)
    np.testing.assert_array_equal(nucleus > 0, labels > 0)


def test_the_loss_is_lowest_where_the_maps_are_right(head, labels):
    loss = losses.get(head.loss)
    target = get_target(head.target)(labels)[np.newaxis]
    right = as_maps(head, target)
    wrong = np.roll(right, 9, axis=1)
    assert np.isfinite(float(loss(target, wrong)))
    assert float(loss(target, right)) < float(loss(target, wrong))


def test_the_decoder_undoes_the_target(head, labels):
    maps = as_maps(head, get_target(head.target)(labels))
    probability, found = get_decoder(head.decoder)(maps, head.thresholds, 0)
    assert (probability.shape, probability.dtype) == (labels.shape, np.float32)
    assert 0 <= probability.min() <= probability.max() <= 1
    assert (found.shape, found.dtype) == (labels.shape, np.int32)
    assert len({*zip(labels.ravel().tolist(), found.ravel().tolist(), strict=True)}) == 4  # one to one
    assert np.unique(found).tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(found > 0, labels > 0)


def test_the_decoder_leaves_small_nuclei_out(head, labels):
    maps = as_maps(head, get_target(head.target)(labels))
    found = get_decoder(head.decoder)(maps, head.thresholds, 7).labels
    assert found.max() == 2
    assert not found[4:6, 30:33].any()


def test_the_decoder_takes_whatever_the_network_puts_out(head):
    import keras

    noise = np.random.default_rng(0).normal(size=(20, 30, head.channels)).astype(np.float32)
    maps = np.asarray(keras.activations.get(head.activation)(noise))
    probability, found = get_decoder(head.decoder)(maps, head.thresholds, 0)
    assert 0 <= probability.min() <= probability.max() <= 1
    assert found.max() == len(np.unique(found)) - 1


@pytest.mark.usefixtures("eager_steps")
def test_a_segmenter_learns_predicts_and_comes_back(head, labels, tiny_encoder, tmp_path):
    data = datasets.from_arrays([(labels > 0) * np.uint8(200)] * 2, [labels] * 2)
    segmenter = Segmenter(tiny_encoder, None, head.name, widths=(4, 4, 4, 4, 4))
    history = segmenter.fit(data, epochs=1, options=FitOptions(batch_size=2, crop=(32, 32)))
    assert np.isfinite(history.column("loss")).all()
    again = Segmenter.load(segmenter.save(tmp_path / "model.keras"))
    assert again.thresholds == dict(head.thresholds)
    for one in (segmenter, again):
        assert one.predict(data[0].image).labels.shape == labels.shape


# ---- The table of heads. ----


def test_a_head_is_frozen_and_hides_nothing():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_head("semantic").loss = "dice"
    assert get_head("semantic") == Head(
        "semantic", "mask", 1, "sigmoid", "bce_dice", "components", {"probability": 0.5}
    )


@pytest.mark.parametrize("name", ["semantic", "two words", "", "9"])
def test_names_are_taken_once_and_are_identifiers(name):
    with pytest.raises(InvalidInputError, match="registered already" if name == "semantic" else "must be identifiers"):
        register_head(dataclasses.replace(get_head("semantic"), name=name))


@pytest.mark.parametrize(("name", "needed"), [("semantic", "probability"), ("contact", "probability and seed")])
def test_a_threshold_that_the_decoder_needs_is_missed_when_the_head_is_made(name, needed):
    with pytest.raises(InvalidInputError, match=rf"cuts maps at {needed}, got no such .*; pass thresholds=\{{'prob"):
        dataclasses.replace(get_head(name), thresholds={})


def test_what_is_no_head_is_refused(monkeypatch):
    with pytest.raises(InvalidInputError, match=r"head must be a Head, got 'semantic'; use register_head\(Head"):
        register_head("semantic")
    monkeypatch.setitem(_heads._items, "plugged", "semantic")
    with pytest.raises(InvalidInputError, match=r"the head 'plugged' must be a Head, got 'semantic'; use the name of"):
        get_head("plugged")


def test_an_unknown_head():
    with pytest.raises(InvalidInputError, match=r"unknown head 'semantics'; did you mean 'semantic'\?"):
        get_head("semantics")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": -1}, "channels must be a whole number of at least 1, got -1"),
        ({"foreground": (0, 1)}, r"foreground must name some of 1 channels, from 0, got \(0, 1\)"),
        ({"foreground": (-1,)}, "foreground must be a whole number of at least 0"),
        ({"monitor": "val_iou"}, "unknown monitor 'val_iou'"),
        ({"thresholds": {"probability": 50}}, "threshold 'probability' must be a number from 0 to 1, got 50"),
    ],
)
def test_numbers_out_of_their_range_are_told_when_a_head_is_made(change, message):
    with pytest.raises(InvalidInputError, match=message):
        dataclasses.replace(get_head("semantic"), **change)


@pytest.mark.parametrize("way", ["whole", "part"])
def test_a_decoder_that_gives_something_else_is_told(way):
    decoding = Decoding(lambda maps, thresholds, area: maps[..., 0], {}, PredictOptions(min_area=0))
    with pytest.raises(InvalidInputError, match=r"must give probability and labels, got ndarray; return .*Decoded\("):
        getattr(decoding, way)(np.zeros((4, 5, 1), np.float32))


ALSO_RIGHT = {
    "float64 and int64": lambda maps: (maps[..., 0].astype(np.float64), (maps[..., 0] > 0.5).astype(np.int64)),
    "float16 and bool": lambda maps: (maps[..., 0].astype(np.float16), maps[..., 0] > 0.5),
    "lists": lambda maps: (maps[..., 0].tolist(), (maps[..., 0] > 0.5).astype(int).tolist()),
}


@pytest.mark.parametrize("given", ALSO_RIGHT)
@pytest.mark.parametrize("options", [{"tiling": None}, {"tiling": Tiling(16, 8)}, {"fill_holes": True}])
def test_what_a_decoder_gives_is_brought_to_the_types_that_are_promised(given, options):
    def decode(maps, thresholds, area):
        return Decoded(*ALSO_RIGHT[given](maps))

    image = np.zeros((32, 40), np.float32)
    image[4:9, 6:30] = 1
    found = segment(image, Echo(), "minmax", Decoding(decode, {}, PredictOptions(min_area=0, **options)))
    assert (found.probability.dtype, found.labels.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(found.probability, image)
    np.testing.assert_array_equal(found.labels, image)


@pytest.mark.parametrize("way", ["whole", "part"])
def test_what_a_decoder_gives_is_not_copied_if_it_is_right(way):
    given = Decoded(np.zeros((4, 5), np.float32), np.zeros((4, 5), np.int32))
    decoding = Decoding(lambda maps, thresholds, area: given, {}, PredictOptions(min_area=0))
    found = getattr(decoding, way)(np.zeros((4, 5, 1), np.float32))
    assert found.probability is given.probability
    assert found.labels is given.labels


@pytest.mark.parametrize("way", ["whole", "part"])
@pytest.mark.parametrize(
    ("probability", "labels", "message"),
    [
        (
            np.zeros((4, 5, 1)),
            np.zeros((4, 5), int),
            r"give probability \(H, W\) .* real numbers, here \(4, 5\), got shape",
        ),
        (np.zeros((5, 4)), np.zeros((4, 5), int), r"got shape \(5, 4\), dtype float64 from 'mine'; return "),
        (np.zeros((4, 5), complex), np.zeros((4, 5), int), r"got shape \(4, 5\), dtype complex128 from 'mine'"),
        (
            np.zeros((4, 5)),
            np.zeros((3, 5), int),
            r"give labels .* integers, here \(4, 5\), got shape \(3, 5\), dtype int64",
        ),
        (np.zeros((4, 5)), np.zeros((4, 5)), r"give labels .* got shape \(4, 5\), dtype float64 from 'mine'"),
        (np.zeros((4, 5)), None, r"give labels .* got shape \(\), dtype object from 'mine'"),
    ],
)
def test_a_decoder_that_gives_other_shapes_or_kinds_is_named(way, probability, labels, message):
    def mine(maps, thresholds, area):
        return Decoded(probability, labels)

    with pytest.raises(InvalidInputError, match=message):
        getattr(Decoding(mine, {}, PredictOptions(min_area=0)), way)(np.zeros((4, 5, 1), np.float32))


@pytest.mark.parametrize(("thresholds", "named"), [({"level": 0.5, "seed": 0.2}, "'level', 'seed'"), ({}, "none")])
def test_a_threshold_is_refused_where_a_head_has_none_of_that_name(thresholds, named, monkeypatch):
    monkeypatch.setattr("nucleiseg.heads.head.THRESHOLDS", {})  # as with a decoder of one's own
    register_head(dataclasses.replace(get_head("semantic"), name="levels", thresholds=thresholds))
    try:
        model = dataclasses.replace(MODEL, head="levels", thresholds={**thresholds, "min_area": 4})
        assert decoding_of(model, PredictOptions()).thresholds == model.thresholds
        message = f"named 'probability', got 0.9 for the head 'levels', which has {named}; leave threshold"
        with pytest.raises(InvalidInputError, match=message):
            decoding_of(model, PredictOptions(threshold=0.9))
    finally:
        _heads.unregister("levels")


@pytest.mark.parametrize("known", [{}, {"probability": 0.2, "min_area": 30}])
def test_a_threshold_takes_the_place_of_the_models_own(known):
    model = dataclasses.replace(MODEL, thresholds=known)
    assert decoding_of(model, PredictOptions(threshold=0.9)).thresholds == {**known, "probability": 0.9}
