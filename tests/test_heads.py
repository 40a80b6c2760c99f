"""One contract for every head: its target, loss and decoder exist and belong together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nucleiseg import PredictOptions, Segmenter, datasets
from nucleiseg.errors import InvalidInputError
from nucleiseg.heads import Head, get_head, list_heads, register_head
from nucleiseg.inference.segmenting import Decoding
from nucleiseg.instances import get_decoder, list_decoders
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
