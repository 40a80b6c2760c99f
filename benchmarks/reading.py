"""Reading a dataset in Kaggle's layout with all its masks, against the plain loop most notebooks have.

    python benchmarks/reading.py stage1_train.zip

Rounds are interleaved, the table holds medians and the median of the ratios within the rounds. Both sides touch every
pixel (they sum them), files are in the system's cache, and ours includes opening the archive.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

from nucleiseg import datasets


def read_plainly(folder: Path) -> int:
    """One file after the other; each mask assigned into a label image."""
    total = 0
    for sample in sorted(folder.iterdir()):
        image = imageio.imread(next((sample / "images").glob("*.png")))
        labels = np.zeros(image.shape[:2], np.int32)
        for label, path in enumerate(sorted((sample / "masks").glob("*.png")), start=1):
            labels[imageio.imread(path) > 0] = label
        total += int(image.sum()) + int(labels.sum())
    return total


def read_ours(archive: Path, cache: bool | Path) -> int:
    """The same through ``datasets.read`` and all cores."""
    samples = datasets.read(archive, cache=cache).load()
    return sum(int(sample.image.sum()) + int(sample.labels.sum()) for sample in samples)


def seconds(function: Callable[[], int], expected: int) -> float:
    """Time of one call, which must give the expected sum."""
    start = time.perf_counter()
    total = function()
    spent = time.perf_counter() - start
    if total != expected:
        raise SystemExit(f"the pixels differ: {total} instead of {expected}")
    return spent


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="a zip in Kaggle's layout, such as stage1_train.zip")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        unpacked, cache = Path(scratch, "unpacked"), Path(scratch, "cache")
        zipfile.ZipFile(arguments.archive).extractall(unpacked)
        expected = read_ours(arguments.archive, cache)
        ways: dict[str, Callable[[], int]] = {
            "imageio, one file after the other": lambda: read_plainly(unpacked),
            "nucleiseg, from the zip, no cache": lambda: read_ours(arguments.archive, False),
            "nucleiseg, from its cache": lambda: read_ours(arguments.archive, cache),
        }
        rounds = [{name: seconds(way, expected) for name, way in ways.items()} for _ in range(arguments.rounds)]
    plain = next(iter(ways))
    print(f"{'way':36} {'seconds':>8} {'times faster':>13}")
    for name in ways:
        median = statistics.median(spent[name] for spent in rounds)
        ratio = statistics.median(spent[plain] / spent[name] for spent in rounds)
        print(f"{name:36} {median:8.2f} {ratio:13.1f}")


if __name__ == "__main__":
    main()
