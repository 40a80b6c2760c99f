"""Windows that are cut from the maps of tiles; and that they are decoded while the next tile is in the network."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from stubs import Echo

from nucleiseg import PredictOptions, Tiling
from nucleiseg.images import tiles
from nucleiseg.inference.flowing import decoded_flow, make_flow
from nucleiseg.inference.maps import Network
from nucleiseg.inference.memory import Plan
from nucleiseg.inference.segmenting import Decoding, segment
from nucleiseg.inference.windows import decoded_windows
from nucleiseg.instances import get_decoder, split_components
from nucleiseg.instances.decoders import Decoded

SECONDS = 20  # that a test waits for what should happen at once


@st.composite
def cuts(draw):
    shape = draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
    strip = draw(st.integers(1, 8))
    overlap = draw(st.sampled_from([0, 4, 8]))
    network = tuple(Tiling(overlap + strip + draw(st.integers(4, 40)), overlap) for _ in range(2))
    return shape, network, Tiling(strip + draw(st.integers(4, 20)), strip)


NARROW = (Tiling(15, 4), Tiling(15, 4)), Tiling(8, 7)  # of 27 pixels, the second of three tiles keeps six


@settings(max_examples=150, deadline=None)
@given(cuts(), st.integers(0, 1000))
@example(((1, 27), *NARROW), 0)
@example(((27, 1), *NARROW), 0)
@example(((27, 27), *NARROW), 0)
def test_windows_hold_the_maps_that_belong_there(cut, seed):
    shape, network, windows = cut
    image = np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)
    flow = make_flow(shape, network, windows)
    kept = np.zeros(shape, int)
    echo = Echo()
    found = decoded_flow(image, flow, Network(echo, (0.0, 255.0)), lambda maps: Decoded(maps[..., 0], None))
    for window, part in found:
        np.testing.assert_allclose(part.probability, image[window.read] / 255, atol=1e-6)
        assert max(part.probability.shape) <= windows.tile
        np.testing.assert_array_equal(part.probability[window.inner], part.probability[_within(window)])
        kept[window.keep] += 1
    assert (kept == 1).all()
    # Each tile goes through the network once, whatever the windows.
    seen = sum(height * width for height, width in echo.seen)
    assert seen == sum(image[tile.read].size for tile in tiles(shape, network))


def _within(window):
    return tuple(
        slice(keep.start - read.start, keep.stop - read.start)
        for keep, read in zip(window.keep, window.read, strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(cuts(), st.integers(0, 1000), st.floats(0.3, 0.9))
@example(((27, 27), *NARROW), 0, 0.6)
def test_the_labels_are_those_of_the_whole_image(cut, seed, share):
    """Exactly, for connected components: also of those that are larger than a window, and in the same order."""
    shape, network, windows = cut
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 1.5)
    image = (255 * (smooth > np.quantile(smooth, share))).astype(np.uint8)
    decoding = Decoding(get_decoder("components"), {"probability": 0.5}, PredictOptions(min_area=0))
    found = segment(image, Echo(), "dtype", decoding, Plan(network, windows, flows=True))
    np.testing.assert_array_equal(found.labels, split_components(image > 0))
    np.testing.assert_array_equal(found.probability > 0.5, image > 0)


def test_neighbouring_windows_share_what_they_should():
    flow = make_flow((100, 3000), (Tiling(100, 0), Tiling(800, 100)), Tiling(300, 60), 10)
    reads = [window.read[1] for window in flow.every]
    shared = [left.stop - right.start for left, right in pairwise(reads)]
    assert min(shared) >= 60
    assert max(read.stop - read.start for read in reads) <= 300


class Watched:
    """A network that tells when something enters it, and a decoder that waits until something else does."""

    multiple = 1

    def __init__(self):
        self.entered = [threading.Event() for _ in range(20)]
        self.calls = 0
        self.decoded = 0
        self.met = []

    def __call__(self, images):
        self.entered[self.calls].set()
        self.calls += 1
        return images[..., :1]

    def decode(self, maps):
        self.decoded += 1
        if self.decoded == 1:  # of the first tile: the second one enters meanwhile
            self.met.append(self.entered[1].wait(SECONDS))
        return Decoded(maps[..., 0], split_components(maps[..., 0] > 0.5))


IMAGE = np.zeros((20, 60), np.uint8)


def test_a_tile_is_decoded_while_the_next_one_is_in_the_network():
    watched = Watched()
    flow = make_flow(IMAGE.shape, Tiling(20, 4), Tiling(20, 4))
    found = list(decoded_flow(IMAGE, flow, Network(watched, (0.0, 255.0)), watched.decode))
    assert watched.met == [True]
    assert len(found) == len(flow.every) == 5
    assert watched.calls == len(flow.tiles) == 4


def test_a_window_is_decoded_while_the_next_one_is_in_the_network():
    watched = Watched()
    windows = tiles(IMAGE.shape, Tiling(20, 4))
    found = list(decoded_windows(IMAGE, windows, Network(watched, (0.0, 255.0)), watched.decode, 4))
    assert watched.met == [True]
    assert len(found) == 4


@pytest.mark.parametrize("where", ["network", "decoder"])
def test_errors_are_raised(where):
    def fail(_):
        raise RuntimeError("broken")

    fail.multiple = 1
    network = Network(fail if where == "network" else Echo(), (0.0, 255.0))
    flow = make_flow(IMAGE.shape, Tiling(20, 4), Tiling(20, 4))
    with pytest.raises(RuntimeError, match="broken"):
        list(decoded_flow(IMAGE, flow, network, fail if where == "decoder" else lambda maps: maps))
