"""Peak memory of a prediction above the idle process, on Linux.

    python benchmarks/memory.py SIDE MAX_MEMORY [model.keras]

The image is skimage's stained tissue, repeated. `idle` is the process with the model loaded and run once on a small
image, and with the image in memory. With MAX_MEMORY `network` the bare network is measured on the whole image: bytes
for each pixel.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import skimage.data

from nucleiseg import PredictOptions, Segmenter


def status(key: str) -> int:
    """A number of bytes from the kernel's record of this process."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def main() -> None:
    """Print one line."""
    side, budget, *model = sys.argv[1:]
    length = int(side)
    segmenter = Segmenter.load(model[0]) if model else Segmenter.from_pretrained("nuclei")
    tissue = skimage.data.immunohistochemistry()
    repeats = -(-length // 512)
    image = np.tile(tissue, (repeats, repeats, 1))[:length, :length].copy()
    segmenter.predict(tissue[:64, :64])
    if budget == "network":
        image = image[np.newaxis].astype(np.float32) / 255
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    idle, start = status("VmRSS"), time.perf_counter()
    if budget == "network":
        segmenter._engine(image)
    else:
        segmenter.predict(image, PredictOptions(max_memory=budget))
    seconds, peak = time.perf_counter() - start, status("VmHWM") - idle
    print(
        f"{length} x {length}, {budget}: idle {idle / 2**20:.0f} MiB, peak {peak / 2**20:.0f} MiB above it "
        f"({peak / length**2:.0f} bytes a pixel), {seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
