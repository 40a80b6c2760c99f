"""Segment an image that need not fit into memory, from Zarr to Zarr, within a budget.

    pip install "nucleiseg[zarr]"
    python examples/huge_image.py --side 8192 --max-memory 1GB -o huge

Makes a mosaic of scikit-image's stained tissue, since no package ships a whole slide; pass --image to segment a Zarr or
a tiled TIFF of yours. Stop it whenever you like (Ctrl-C, kill -9): the same command goes on with what is not finished.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import skimage.data
import zarr

from nucleiseg import PredictOptions, Segmenter, predict_large
from nucleiseg.images import open_lazy

STEP = 512


def make_mosaic(path: Path, side: int) -> Path:
    """A Zarr array (side, side, 3) of the tissue, turned and shifted so that no part repeats the last."""
    if path.exists():
        return path
    tissue, chance = skimage.data.immunohistochemistry(), np.random.default_rng(0)
    unfinished = path.with_suffix(".part")
    shape, chunks = (side, side, 3), (STEP, STEP, 3)
    array = zarr.create_array(str(unfinished), shape=shape, dtype="u1", chunks=chunks, overwrite=True)
    for row in range(0, side, STEP):
        for column in range(0, side, STEP):
            part = np.rot90(np.roll(tissue, chance.integers(0, STEP, 2), (0, 1)), int(chance.integers(4)))
            array[row : row + STEP, column : column + STEP] = part[: side - row, : side - column]
    return unfinished.rename(path)


def memory(key: str) -> float:
    """MiB of this process, now (VmRSS) or at most (VmHWM); where there is no Linux, not known."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(key)), float("nan"))


def main() -> None:
    """Make the image, label it, and say what that needed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("huge"), help="folder of the mosaic and the labels")
    parser.add_argument("--side", type=int, default=8192, help="height and width of the mosaic")
    parser.add_argument("--image", type=Path, help="a Zarr or tiled TIFF instead of the mosaic")
    parser.add_argument("--max-memory", default="1GB", help="what a prediction may use on top of the program")
    arguments = parser.parse_args()
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)

    source = arguments.image or make_mosaic(output / f"mosaic_{arguments.side}.zarr", arguments.side)
    labels = output / f"{source.stem}_labels.zarr"
    image = open_lazy(source)  # reads no pixels yet
    print(f"{source}: {image.shape[0]:,} × {image.shape[1]:,} pixels")
    if labels.exists():
        print(f"{labels} is there already; delete it to begin anew")
        return

    segmenter = Segmenter.from_pretrained("nuclei")
    segmenter.predict(np.zeros((64, 64), np.uint8))  # loads what TensorFlow needs, which is not the image's share
    idle, start = memory("VmRSS"), time.perf_counter()
    count = predict_large(segmenter, source, labels, PredictOptions(max_memory=arguments.max_memory))
    print(f"{count:,} nuclei in {time.perf_counter() - start:.0f} s: {labels}")
    print(f"peak memory {memory('VmHWM'):,.0f} MiB, of which {idle:,.0f} MiB before the image was read")

    # The labels are read part by part as well: here, one corner.
    corner = zarr.open_array(str(labels), mode="r")[:STEP, :STEP]
    print(f"{len(np.unique(corner)) - 1} of them in the first {STEP} × {STEP} pixels")


if __name__ == "__main__":
    main()
