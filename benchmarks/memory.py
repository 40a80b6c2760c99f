"""Peak memory of a prediction above the idle process, on Linux.

    python benchmarks/memory.py [--model model.keras] [--one SIDE MAX_MEMORY PRECISION]
        [--precisions float32 --keep memory_avx2]

The image is skimage's stained tissue, repeated. `idle` is the process with the model loaded and run once on a small
image, and with the image in memory. Each row is a process of its own; --one is such a row. With MAX_MEMORY `network`
the bare network is measured on the whole image: bytes for each pixel. Each row comes in each precision.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import skimage.data
from results import add_machine, keep, of_machine

from nucleiseg import PredictOptions
from nucleiseg._precision import Precision
from nucleiseg.engines.engine import computing_in
from nucleiseg.large import load_segmenter

ROWS = ((1024, "network"), (1024, "2GB"), (2048, "2GB"), (4000, "2GB"), (4000, "600MiB"))


def status(key: str) -> int:
    """A number of bytes from the kernel's record of this process."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def measure(length: int, budget: str, precision: Precision, model: str) -> dict[str, object]:
    """A row of the table, of this process."""
    segmenter = load_segmenter(model)
    tissue = skimage.data.immunohistochemistry()
    repeats = -(-length // 512)
    image = np.tile(tissue, (repeats, repeats, 1))[:length, :length].copy()
    options = PredictOptions(precision=precision)
    segmenter.predict(tissue[:64, :64], options)
    if budget == "network":
        image = image[np.newaxis].astype(np.float32) / 255
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    idle = status("VmRSS")
    if budget == "network":
        computing_in(segmenter._engine, precision)(image)
    else:
        segmenter.predict(image, replace(options, max_memory=budget))
    peak = status("VmHWM") - idle
    return {
        "pixels": f"{length} × {length}",
        "budget": budget,
        "computed in": precision,
        "idle, MiB": round(idle / 2**20),
        "peak above it, MiB": round(peak / 2**20),
        "bytes a pixel": round(peak / length**2),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="nuclei", help="a shipped model or a .keras file")
    parser.add_argument(
        "--one", nargs=3, metavar=("SIDE", "MAX_MEMORY", "PRECISION"), help="measure this alone, as JSON"
    )
    add_machine(parser, "memory")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(int(arguments.one[0]), *arguments.one[1:], arguments.model)))
        return
    rows = []
    for precision, (side, budget) in product(arguments.precisions, ROWS):
        line = [sys.executable, __file__, "--model", arguments.model, "--one", str(side), budget, precision]
        rows.append(json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout))
    keep(arguments.keep, f"python benchmarks/memory.py{of_machine(arguments, 'memory')}", {"": rows})


if __name__ == "__main__":
    main()
