"""Tiles and windows by a memory budget."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg import PredictOptions, Tiling
from nucleiseg.errors import InvalidInputError
from nucleiseg.images import tiles
from nucleiseg.inference.flowing import make_flow
from nucleiseg.inference.memory import (
    DECODING_BYTES,
    FIXED_BYTES,
    NETWORK_BYTES,
    RESULT_BYTES,
    TILE_BYTES,
    WINDOW_BYTES,
    Plan,
    make_plan,
    parse_memory,
    usable,
)
from nucleiseg.inference.reach import measure_reach

MIB = 2**20


@pytest.mark.parametrize(
    ("text", "value"), [("2GB", 2 * 10**9), ("600 MiB", 600 * MIB), ("1.5gib", 3 * 2**29), ("7", 7), (12, 12)]
)
def test_memory_in_words(text, value):
    assert parse_memory(text) == value


@pytest.mark.parametrize("wrong", ["", "GB", "2 XB", "-1GB", "0", 0, -5, 2.5, None, True])
def test_what_is_no_memory(wrong):
    with pytest.raises(InvalidInputError, match="max_memory must be a positive number of bytes"):
        parse_memory(wrong)


def must_not_be_called():
    raise AssertionError("the network was measured for nothing")


@pytest.mark.parametrize("shape", [(1, 1), (520, 696), (1040, 1388), (1536, 1536)])
def test_small_images_are_not_cut(shape):
    assert make_plan(shape, "auto", parse_memory("2GB"), must_not_be_called) == Plan()


def test_without_tiling_no_image_is_cut():
    assert make_plan((90_000, 90_000), None, 1, must_not_be_called) == Plan()


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.integers(1, 60_000), st.integers(1, 60_000)),
    st.sampled_from([32, 64, 96, 128]),
    st.integers(300, 20_000),
    st.booleans(),
)
def test_plans_stay_within_the_budget(shape, reach, mebibytes, in_memory):
    try:
        plan = make_plan(shape, "auto", mebibytes * MIB, lambda: reach, in_memory)
    except InvalidInputError:  # that it is right is tested below
        return
    pixels = shape[0] * shape[1]
    if plan.flows:
        row, column = plan.network
        assert row.overlap == column.overlap == 2 * reach
        assert row.tile % 32 == column.tile % 32 == 0
        parts = make_flow(shape, plan.network, plan.windows, 32)
        assert max(keep.stop - keep.start for tile in parts.tiles[:1] for keep in tile.keep) >= plan.windows.overlap
        network = max(math.prod(part.stop - part.start for part in tile.read) for tile in parts.tiles)
        assert in_memory
        window = plan.windows.tile
        beside = 10 * shape[1] * window + 80 * window**2 + DECODING_BYTES + FIXED_BYTES + 8 * pixels
        assert network * (NETWORK_BYTES + TILE_BYTES) + beside <= usable(mebibytes * MIB)
        return
    window = pixels if plan.windows is None else (plan.windows.tile + 2 * plan.context) ** 2
    used = FIXED_BYTES + WINDOW_BYTES * min(window, pixels) + RESULT_BYTES * pixels * in_memory
    used += NETWORK_BYTES * min(window, (shape[0] + 31) * (shape[1] + 31)) * (plan != Plan())
    assert used <= mebibytes * MIB
    if plan.windows is not None:
        assert plan.windows.tile % 32 == plan.context % 32 == 0


@pytest.mark.parametrize(("side", "most"), [(3000, 1.1), (4096, 1.15), (6000, 1.2), (8192, 1.25)])
def test_few_pixels_go_through_the_network_twice(side, most):
    """As it is for the model in the box; more would be seen in the seconds a megapixel."""
    plan = make_plan((side, side), "auto", parse_memory("2GB"), lambda: 128, network_bytes=204)
    parts = tiles((side, side), plan.network, 32)
    assert sum(math.prod(part.stop - part.start for part in tile.read) for tile in parts) <= most * side**2


def test_windows_are_smaller_only_where_that_spares_the_network_something():
    plan = make_plan((2048, 2048), "auto", 600_000_000, lambda: 128, network_bytes=357)
    assert ([one.tile for one in plan.network], plan.windows.tile) == ([864, 1152], 512)
    plan = make_plan((4096, 4096), "auto", 2 * 10**9, lambda: 128, network_bytes=204)
    assert plan.windows.tile == 896


def test_images_on_disk_get_windows_by_the_networks_own_need():
    sides = []
    for needed in (204, 430, 1024):
        plan = make_plan((20_000, 20_000), "auto", parse_memory("2GB"), lambda: 128, False, needed)
        side = plan.windows.tile + 2 * plan.context
        assert side**2 * (needed + WINDOW_BYTES) <= usable(parse_memory("2GB"))
        assert not plan.flows
        sides.append(side)
    assert sides[0] > 1.2 * sides[1] > 1.44 * sides[2]


def test_a_network_that_needs_little_gets_larger_images_whole():
    """It is done when the nuclei are looked for, so that the larger of the two counts."""
    budget = parse_memory("2GB")
    assert make_plan((2048, 2048), "auto", budget, lambda: 64, network_bytes=430).network is not None
    assert make_plan((2048, 2048), "auto", budget, must_not_be_called, network_bytes=300) == Plan()
    assert make_plan((2600, 2600), "auto", budget, lambda: 64, network_bytes=300).network is not None
    assert make_plan((4000, 4000), "auto", budget, lambda: 64, network_bytes=1) != Plan()


def test_tiles_that_are_given_are_kept():
    plan = make_plan((9000, 9000), Tiling(512, 128), parse_memory("2GB"), must_not_be_called)
    assert plan.network == Tiling(512, 128)
    assert plan.context == 64
    assert plan.windows is not None


def test_a_budget_that_is_too_small_says_how_much_is_needed():
    with pytest.raises(InvalidInputError, match="max_memory is too small.*give at least") as caught:
        make_plan((4000, 4000), "auto", 300 * MIB, lambda: 64)
    enough = str(caught.value).rpartition(" ")[2]
    with pytest.raises(InvalidInputError, match="too small for tiles of"):
        make_plan((4000, 4000), Tiling(900, 64), parse_memory(enough), lambda: 64)
    make_plan((4000, 4000), "auto", parse_memory(enough), lambda: 64)


class Blur:
    """Looks so many pixels to the left."""

    multiple = 32

    def __init__(self, distance):
        self.distance = distance

    def __call__(self, images):
        return np.maximum(images, np.roll(images, -self.distance, axis=2))[..., :1]


@pytest.mark.parametrize(("distance", "reach"), [(0, 32), (20, 32), (40, 64), (90, 96), (150, 160), (250, 224)])
def test_the_reach_is_measured(distance, reach):
    assert measure_reach(Blur(distance)) == reach


class Hint(Blur):
    """What lies so far to the left is hardly seen."""

    def __init__(self, distance, strength):
        super().__init__(distance)
        self.strength = strength

    def __call__(self, images):
        there = np.roll(images, -self.distance, axis=2) > 0.5
        return (self.strength * there)[..., :1].astype(np.float32)


@pytest.mark.parametrize(("strength", "reach"), [(0.025, 32), (0.035, 96)])
def test_what_moves_no_map_by_more_than_three_hundredths_is_not_seen(strength, reach):
    """Which leaves no seam, see `benchmarks/seams.py`."""
    assert measure_reach(Hint(90, strength)) == reach


class FarSight(Blur):
    """Looks far in one row alone, which moves no mean."""

    def __call__(self, images):
        maps = images[..., :1].copy()
        maps[:, 300] = super().__call__(images)[:, 300]
        return maps


def test_the_reach_is_that_of_the_worst_pixel():
    """Maps that agree on average may still join two nuclei at a cut."""
    assert measure_reach(FarSight(90)) == 96


class Counting(Blur):
    """Counts how often it is run."""

    model = None
    calls = 0

    def __call__(self, images):
        self.calls += 1
        return super().__call__(images)


def test_the_reach_is_measured_once_until_the_weights_change():
    engine = Counting(40)
    reaches = {measure_reach(engine) for _ in range(3)}
    once = engine.calls
    weights = [np.zeros(3)]
    engine.model = SimpleNamespace(weights=weights)
    measure_reach(engine)
    assert engine.calls == 2 * once
    weights[0] = np.ones(3)
    engine.distance = 90
    assert (reaches, measure_reach(engine), measure_reach(engine)) == ({64}, 96, 96)
    assert engine.calls == 3 * once


STATUS = """
import sys
from pathlib import Path

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
"""

PEAK = """
import numpy as np
import skimage.data
import tifffile
from nucleiseg.cli.main import main

def predict(image, folder):
    tifffile.imwrite(f"{folder}.tif", image)
    size = image.nbytes
    del image
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    idle = status("VmRSS")
    options = ["--model", sys.argv[1], "--max-memory", "600MiB", "--quiet"]
    assert main(["predict", f"{folder}.tif", "-o", folder, *options]) == 0
    return status("VmHWM") - idle - size

tissue = skimage.data.immunohistochemistry()
predict(tissue[:64, :64], "small")  # so that all of the program is there
used = predict(np.tile(tissue, (8, 8, 1))[:4000, :4000], "large")
assert len(Path("large/measurements.csv").read_text().splitlines()) > 1000
assert {path.name for path in Path("large").glob("large_*")} == {
    "large_labels.tif", "large_mask.png", "large_overlay.png"
}
print(used)
"""


LARGE = """
import numpy as np
import skimage.data
import zarr
from nucleiseg.cli.main import main

def predict(image, name):
    stored = zarr.create_array(f"{name}.zarr", shape=image.shape, dtype=image.dtype, chunks=(512, 512, 3))
    stored[...] = image
    del image, stored
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    idle = status("VmRSS")
    options = ["--model", "nuclei-fast", "--max-memory", "600MiB", "--quiet"]
    assert main(["predict", f"{name}.zarr", "-o", f"{name}_labels.zarr", *options]) == 0
    return status("VmHWM") - idle

tissue = skimage.data.immunohistochemistry()
predict(tissue[:64, :64], "small")  # so that all of the program is there
print(predict(np.tile(tissue, (8, 8, 1))[:4000, :4000], "large"))

labels = zarr.open_array("large_labels.zarr", mode="r")[...]
assert labels.shape == (4000, 4000)
areas = np.bincount(labels.ravel())[1:]
assert areas.size > 1000 and areas.min() > 0 and 20 < np.median(areas) < 500
mask = labels[512:3584, 512:3584].reshape(6, 512, 6, 512) > 0  # of the 36 repetitions that are far from the sides
share = mask.mean((0, 2))
assert np.minimum(share, 1 - share).mean() < 0.002
blue = tissue[..., 2] - tissue[..., 0].astype(int)
assert blue[share > 0.5].mean() > blue[share < 0.5].mean() + 20
"""

kept_record = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the kernel keeps no record of the peak"
)


@kept_record
@pytest.mark.parametrize("model", ["nuclei-fast", pytest.param("nuclei", marks=pytest.mark.weekly)])
def test_a_prediction_stays_within_its_budget(model, run_python):
    """Measured: 4,000 × 4,000 pixels, of which the result takes 122 MiB alone.

    Judging, measuring and drawing, as the command does, need no more than the network, whose memory is free by then.
    """
    process = run_python(STATUS + PEAK, model, timeout=400)
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) <= 600 * MIB


@kept_record
@pytest.mark.weekly  # half a minute
def test_from_zarr_to_zarr_a_prediction_stays_within_its_budget(run_python):
    """Measured, too; the tissue repeats itself, and so do its nuclei, which are blue, wherever windows end."""
    pytest.importorskip("zarr")
    process = run_python(STATUS + LARGE, timeout=400)
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) <= 600 * MIB


def test_options_know_their_memory():
    assert PredictOptions(max_memory="3MB").memory_bytes == 3 * 10**6
