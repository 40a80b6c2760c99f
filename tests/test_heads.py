"""Every head, built in or registered: its target, network, loss and decoder fit together."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from nucleiseg.errors import InvalidInputError
from nucleiseg.heads import Head, get_head, list_heads, register_head
from nucleiseg.heads.head import _heads
from nucleiseg.instances import get_decoder
from nucleiseg.training import get_target, losses

PLUGIN = Head("plugin", "mask", 1, "sigmoid", "focal_dice", "components", thresholds={"probability": 0.3})


@pytest.fixture(params=[*list_heads(), PLUGIN.name])
def head(request):
    if request.param != PLUGIN.name:
        yield get_head(request.param)
        return
    register_head(PLUGIN)
    yield get_head(PLUGIN.name)
    _heads.unregister(PLUGIN.name)


@pytest.fixture
def labels():
    """Two nuclei that are apart, large enough for any head."""
    labels = np.zeros((32, 48), np.int32)
    labels[4:20, 4:20] = 1
    labels[6:26, 26:44] = 2
    return labels


def test_the_target_has_a_map_for_each_channel(head, labels):
    target = get_target(head.target)(labels)
    assert target.shape == (*labels.shape, head.channels)
    assert target.dtype == np.float32
    assert target.min() >= 0


def test_the_foreground_maps_sum_up_to_the_mask(head, labels):
    target = get_target(head.target)(labels)
    assert np.array_equal(target[..., list(head.foreground)].sum(axis=-1) > 0, labels > 0)


def test_no_nuclei_are_a_target_too(head):
    target = get_target(head.target)(np.zeros((8, 8), np.int32))
    assert np.isfinite(target).all()
    assert not target[..., list(head.foreground)].any()


def test_the_loss_is_least_for_the_target(head, labels):
    target = get_target(head.target)(labels)[np.newaxis]
    maps = target / np.maximum(target.sum(axis=-1, keepdims=True), 1) if head.activation == "softmax" else target
    loss = losses.get(head.loss)
    right, wrong = float(loss(target, maps)), float(loss(target, 1 - maps))
    assert np.isfinite(right)
    assert 0 <= right < wrong


def test_the_decoder_turns_the_target_into_the_nuclei(head, labels):
    target = get_target(head.target)(labels)
    maps = target / np.maximum(target.sum(axis=-1, keepdims=True), 1) if head.activation == "softmax" else target
    probability, found = get_decoder(head.decoder)(maps, head.thresholds, 0)
    assert probability.dtype == np.float32
    assert 0 <= probability.min() <= probability.max() <= 1
    assert found.dtype == np.int32
    assert np.array_equal(found, labels)


def test_the_activation_is_one_of_keras(head):
    assert callable(keras.activations.get(head.activation))


def test_an_unknown_head_is_an_error_that_lists_them():
    with pytest.raises(InvalidInputError, match="semantic"):
        get_head("sematnic")


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(InvalidInputError, match="registered already"):
        register_head(replace(get_head("semantic"), loss="focal"))
