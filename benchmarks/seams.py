"""Whether tiles can be seen: labels of tiled images against those of the whole images.

    python benchmarks/seams.py stage1_train.zip splits.csv [model.keras] [--images 12]

Takes the largest test images and a mosaic of small ones. Windows are 256 pixels, far smaller than `tiling="auto"` has
them, so that there are many seams: as for images on disk, each in the network with as much around it as the network
looks far; and as for images in memory, cut from the maps of tiles that overlap by twice as much.
Printed are the pooled average precision at an IoU of .9, the numbers of nuclei, and the length of label boundary on the
lines between windows, against that of whole images on the same lines, and that on lines half way between them; in
single precision, and in bfloat16.
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import get_args

import numpy as np
from results import keep
from tqdm import tqdm

from nucleiseg import PredictOptions, Segmenter, Tiling, datasets
from nucleiseg._precision import Precision
from nucleiseg.engines.engine import computing_in
from nucleiseg.images import tiles
from nucleiseg.inference.flowing import make_flow
from nucleiseg.inference.memory import Plan
from nucleiseg.inference.reach import measure_reach
from nucleiseg.inference.segmenting import decoding_of, segment
from nucleiseg.instances import match

SIDE = 256
OVERLAP = 128
CUT = 250  # pixels of the mosaic's images, whose edges lie on no line that is looked at: all are at multiples of 32


def compare(segmenter, precision, images, plan, min_area):
    """Pooled counts of matches, nuclei of either kind, and boundary on the grid, beside it, and there without tiles."""
    parts = (
        computing_in(segmenter._engine, precision),
        segmenter._settings.scaling,
        decoding_of(segmenter._settings, PredictOptions(min_area=min_area)),
    )
    total, whole_count, tiled_count, on_grid, beside, without = None, 0, 0, 0, 0, 0
    for image in tqdm(images, disable=None):
        whole = segment(image, *parts, Plan()).labels
        tiled = segment(image, *parts, plan).labels
        counts = match(whole, tiled)
        total = counts if total is None else total + counts
        whole_count += int(whole.max())
        tiled_count += int(tiled.max())
        on, off = boundary_on_lines(tiled, plan)
        on_grid, beside = on_grid + on, beside + off
        without += boundary_on_lines(whole, plan)[0]
    return total, whole_count, tiled_count, on_grid, beside, without


def boundary_on_lines(labels, plan):
    """Pixels of label boundary that lie on the lines between windows, and on lines half a window away."""
    windows = make_flow(labels.shape, plan.network, plan.windows, 32).every if plan.flows else None
    kept = [tile.keep for tile in windows or tiles(labels.shape, plan.windows)]
    result = []
    for shift in (0, plan.windows.tile // 4):
        length = 0
        for axis in (0, 1):
            turned = np.moveaxis(labels, axis, 0)
            for line in sorted({part[axis].start + shift for part in kept if part[axis].start}):
                length += int((turned[line - 1] != turned[line]).sum())
        result.append(length)
    return tuple(result)


def mosaic(images, side):
    """RGB images side by side, each cut to the same square."""
    count = int(len(images) ** 0.5)
    rows = [np.concatenate([i[:side, :side, :3] for i in images[n * count : (n + 1) * count]], 1) for n in range(count)]
    return np.concatenate(rows)


def main() -> None:
    """Print a line for each kind of image."""
    parser = argparse.ArgumentParser()
    parser.add_argument("archive")
    parser.add_argument("splits")
    parser.add_argument("model", nargs="?", help="a .keras file instead of the model in the box")
    parser.add_argument(
        "--images", type=int, default=12, help="large ones; the mosaic has three times as many small ones"
    )
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.model) if arguments.model else Segmenter.from_pretrained("nuclei")
    data = datasets.read(arguments.archive).split_by(arguments.splits)[2]
    images = sorted((sample.image for sample in data), key=lambda image: -image.shape[0] * image.shape[1])
    large = [image for image in images if min(image.shape[:2]) > SIDE + OVERLAP][: arguments.images]
    small = [image for image in images if image.shape[:2] == (256, 256)][: 3 * arguments.images]
    reach = measure_reach(segmenter._engine)
    windows = Tiling(SIDE, OVERLAP)
    plans = {
        "each by itself": Plan(None, windows, reach),
        "from the maps of tiles": Plan(Tiling(SIDE + 2 * reach, 2 * reach), windows, flows=True),
    }
    print(f"the network looks {reach} pixels far; {plans}")
    rows = []
    for name, chosen in (("large images", large), ("mosaic", [mosaic(small, CUT)])):
        for precision, (way, plan), min_area in product(get_args(Precision), plans.items(), (None, 0)):
            counts, whole, tiled, on_grid, beside, without = compare(segmenter, precision, chosen, plan, min_area)
            rows.append(
                {
                    "images": f"{len(chosen)} {name}" if len(chosen) > 1 else name,
                    "computed in": precision,
                    "windows": way,
                    "smallest nucleus": "the model's own" if min_area is None else min_area,
                    "AP at IoU .9": round(counts.average_precision(0.9), 4),
                    "nuclei, whole": whole,
                    "nuclei, tiled": tiled,
                    "boundary on the grid": on_grid,
                    "there without tiles": without,
                    "boundary beside it": beside,
                    "ratio": round(on_grid / max(beside, 1), 3),
                }
            )
    keep("seams", "python benchmarks/seams.py stage1_train.zip splits.csv", {"": rows})


if __name__ == "__main__":
    main()
