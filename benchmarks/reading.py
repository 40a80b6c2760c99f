"""Reading a dataset in Kaggle's layout with all its masks, against the plain loop most notebooks have.

    python benchmarks/reading.py stage1_train.zip

Both sides touch every pixel (they sum them), files are in the system's cache, and ours includes opening the archive.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from results import keep
from rounds import compare

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
        if read_plainly(unpacked) != expected:
            raise SystemExit("the two ways of reading give different pixels")
        ways = {
            "imageio, one file after the other": lambda: read_plainly(unpacked),
            "nucleiseg, from the zip, no cache": lambda: read_ours(arguments.archive, False),
            "nucleiseg, from its cache": lambda: read_ours(arguments.archive, cache),
        }
        rows = compare(ways, arguments.rounds)
    keep("reading", f"python benchmarks/reading.py stage1_train.zip --rounds {arguments.rounds}", {"": rows})


if __name__ == "__main__":
    main()
