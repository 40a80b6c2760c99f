"""One contract for every engine: image batch in, maps out, the same as the network gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from nucleiseg import engines
from nucleiseg.networks import get_encoder, unet

ENGINES = [name for name in engines.__all__ if name.endswith("Engine") and name != "Engine"]


@pytest.fixture(scope="module")
def model(tiny_encoder):
    keras.utils.set_random_seed(5)
    return unet(get_encoder(tiny_encoder), channels=2, widths=(4, 4, 4, 4, 4))


@pytest.fixture(params=ENGINES)
def engine(request, model):
    return getattr(engines, request.param)(model)


def batch(number, height, width, seed=0):
    return np.random.default_rng(seed).random((number, height, width, 3), np.float32)


def test_there_are_engines():
    assert "KerasEngine" in ENGINES


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 32), (2, 32, 160)])
def test_maps_are_what_the_network_gives_at_any_size(engine, model, shape):
    images = batch(*shape)
    before = images.copy()
    maps = engine(images)
    assert isinstance(maps, np.ndarray)
    assert maps.dtype == np.float32
    assert maps.shape == (*shape, 2)
    np.testing.assert_allclose(maps, np.asarray(model(images, training=False)), atol=1e-5)
    np.testing.assert_array_equal(images, before)


def test_multiples_are_enough(engine):
    side = engine.multiple
    assert engine(batch(1, side, 2 * side)).shape == (1, side, 2 * side, 2)


def test_images_of_a_batch_do_not_mix(engine):
    images = batch(4, 32, 64)
    together = engine(images)
    alone = np.concatenate([engine(images[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_new_weights_count_at_once(model):
    engine = engines.KerasEngine(model)
    images = batch(1, 32, 32)
    before = engine(images)
    old = model.get_weights()
    model.set_weights([weight * 0 for weight in old])
    try:
        np.testing.assert_allclose(engine(images), 0.5)
    finally:
        model.set_weights(old)
    np.testing.assert_array_equal(engine(images), before)


def test_many_threads_may_call_it(engine):
    images = [batch(1, 32 * (1 + seed % 3), 64, seed) for seed in range(12)]
    expected = [engine(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(engine, images), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_one_function_serves_all_sizes(model):
    engine = engines.KerasEngine(model)
    for side in (32, 64, 96):
        engine(batch(1, side, side))
    assert engine._call.experimental_get_tracing_count() == 1
