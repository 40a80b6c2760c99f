"""Whether tiles can be seen: labels of tiled images against those of the whole images.

    python benchmarks/seams.py stage1_train.zip splits.csv [model.keras] [--images 12]
        [--precisions float32 --keep seams_avx2]

Takes the largest test images, the largest of all, which is of `train`, and a mosaic of small ones. Windows are 256
pixels, far smaller than `tiling="auto"` has them, so that there are many seams: as for images on disk, each in the
network with as much around it as the network looks far; and as for images in memory, cut from the maps of tiles that
overlap by twice as much. Printed are the pooled average precision at an IoU of .9, the numbers of nuclei, and the
length of label boundary on the lines between windows, against that of whole images on the same lines, and that on lines
half way between them; in each precision; of each kind of image, and of all together.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from functools import reduce
from itertools import product
from operator import add

import numpy as np
from results import add_machine, keep, of_machine
from tqdm import tqdm

from nucleiseg import PredictOptions, Segmenter, Tiling, datasets
from nucleiseg.engines.engine import computing_in
from nucleiseg.images import tiles
from nucleiseg.inference.flowing import make_flow
from nucleiseg.inference.memory import Plan
from nucleiseg.inference.reach import measure_reach
from nucleiseg.inference.segmenting import decoding_of, segment
from nucleiseg.instances import InstanceCounts, match

SIDE = 256
OVERLAP = 128
CUT = 250  # pixels of the mosaic's images, whose edges lie on no line that is looked at: all are at multiples of 32


@dataclass(frozen=True)
class Found:
    """Pooled counts of matches, nuclei of either kind, and boundary on the grid, beside it, and there without tiles."""

    counts: InstanceCounts
    whole: int
    tiled: int
    on_grid: int
    beside: int
    without: int

    def __add__(self, other):
        return Found(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(self)))


def compare(segmenter, precision, images, plan, min_area):
    """What is found in images, with tiles and without."""
    parts = (
        computing_in(segmenter._engine, precision),
        segmenter._settings.scaling,
        decoding_of(segmenter._settings, PredictOptions(min_area=min_area)),
    )
    found = []
    for image in tqdm(images, disable=None):
        whole, tiled = (segment(image, *parts, cut).labels for cut in (Plan(), plan))
        numbers = int(whole.max()), int(tiled.max())
        lines = *boundary_on_lines(tiled, plan), boundary_on_lines(whole, plan)[0]
        found.append(Found(match(whole, tiled), *numbers, *lines))
    return reduce(add, found)


def row(name, precision, way, min_area, found):
    """One line of the table."""
    return {
        "images": name,
        "computed in": precision,
        "windows": way,
        "smallest nucleus": "the model's own" if min_area is None else min_area,
        "AP at IoU .9": round(found.counts.average_precision(0.9), 4),
        "nuclei, whole": found.whole,
        "nuclei, tiled": found.tiled,
        "boundary on the grid": found.on_grid,
        "there without tiles": found.without,
        "boundary beside it": found.beside,
        "ratio": round(found.on_grid / max(found.beside, 1), 3),
    }


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


def pixels(image):
    """How many there are."""
    return image.shape[0] * image.shape[1]


def main() -> None:
    """Print a line for each kind of image."""
    parser = argparse.ArgumentParser()
    parser.add_argument("archive")
    parser.add_argument("splits")
    parser.add_argument("model", nargs="?", help="a .keras file instead of the model in the box")
    parser.add_argument(
        "--images", type=int, default=12, help="large ones; the mosaic has three times as many small ones"
    )
    add_machine(parser, "seams")
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.model) if arguments.model else Segmenter.from_pretrained("nuclei")
    train, _, test = datasets.read(arguments.archive).split_by(arguments.splits)
    images = sorted((sample.image for sample in test), key=pixels, reverse=True)
    largest = max((sample.image for sample in train), key=pixels)
    large = [image for image in images if min(image.shape[:2]) > SIDE + OVERLAP][: arguments.images]
    small = [image for image in images if image.shape[:2] == (256, 256)][: 3 * arguments.images]
    reach = measure_reach(segmenter._engine)
    windows = Tiling(SIDE, OVERLAP)
    plans = {
        "each by itself": Plan(None, windows, reach),
        "from the maps of tiles": Plan(Tiling(SIDE + 2 * reach, 2 * reach), windows, flows=True),
    }
    print(f"the network looks {reach} pixels far; {plans}")
    kinds = {
        f"{len(large)} large images": large,
        f"one of {largest.shape[0]:,} × {largest.shape[1]:,}": [largest],
        "mosaic": [mosaic(small, CUT)],
    }
    rows = []
    for precision, (way, plan), min_area in product(arguments.precisions, plans.items(), (None, 0)):
        found = {name: compare(segmenter, precision, some, plan, min_area) for name, some in kinds.items()}
        found["all together"] = reduce(add, found.values())
        rows += [row(name, precision, way, min_area, one) for name, one in found.items()]
    command = f"python benchmarks/seams.py stage1_train.zip splits.csv{of_machine(arguments, 'seams')}"
    keep(arguments.keep, command, {"": rows})


if __name__ == "__main__":
    main()
