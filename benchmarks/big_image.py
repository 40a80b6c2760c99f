"""An image larger than memory: peak memory, time, and going on after `kill -9`.

    python benchmarks/big_image.py SIDE FOLDER [MAX_MEMORY] [model.keras]

Makes a Zarr of SIDE x SIDE pixels RGB from skimage's stained tissue, turned and shifted so that no tile repeats the
last. Then labels it twice into Zarr, by the same call in processes of their own: the first is killed when it has
finished about a third of its windows, the second goes on. Printed are windows that were done again, seconds, the peak
of the second process above the same process idle with the model loaded, and the number of nuclei; a file of results is
kept for images of at least 10,000 pixels a side. Needs Linux.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import skimage.data
import zarr
from results import as_text, keep
from tqdm import trange

STEP = 512

PREDICT = """
import json, sys, time
from pathlib import Path
import skimage.data
from nucleiseg import PredictOptions, Segmenter
from nucleiseg.large import load_segmenter, predict_large

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

image, output, budget, model = sys.argv[1:]
segmenter = load_segmenter(model)
segmenter.predict(skimage.data.immunohistochemistry()[:64, :64])
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
idle, start = status("VmRSS"), time.perf_counter()
count = predict_large(segmenter, image, output, PredictOptions(max_memory=budget))
print(json.dumps([count, time.perf_counter() - start, idle, status("VmHWM") - idle]))
"""


def make_mosaic(path: Path, side: int) -> None:
    """A Zarr array (side, side, 3) uint8, written row by row of tiles."""
    if path.exists():
        return
    tissue = skimage.data.immunohistochemistry()
    array = zarr.create_array(str(path), shape=(side, side, 3), dtype="u1", chunks=(STEP, STEP, 3))
    noise = np.random.default_rng(0)
    for row in trange(0, side, STEP, desc="mosaic", disable=None):
        for column in range(0, side, STEP):
            turned = np.rot90(np.roll(tissue, noise.integers(0, STEP, 2), (0, 1)), int(noise.integers(4)))
            part = array[row : row + STEP, column : column + STEP].shape
            array[row : row + STEP, column : column + STEP] = turned[: part[0], : part[1]]


def finished(output: Path) -> int:
    """Windows that are on disk."""
    return len(list(output.with_name(f"{output.name}.part").glob("window_*.npz")))


def main() -> None:
    """Print a table."""
    side, folder, *rest = sys.argv[1:]
    budget, model = ([*rest, "2GB", "nuclei"][:2]) if len(rest) != 1 else (rest[0], "nuclei")
    image, output = Path(folder) / f"mosaic_{side}.zarr", Path(folder) / "labels.zarr"
    Path(folder).mkdir(parents=True, exist_ok=True)
    make_mosaic(image, int(side))
    command = [sys.executable, "-c", PREDICT, str(image), str(output), budget, model]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    start = time.perf_counter()
    while finished(output) < max(2, (int(side) / 1500) ** 2 / 3) and first.poll() is None:
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept, until_killed = finished(output), time.perf_counter() - start
    print(f"{side} x {side}: killed after {until_killed:.0f} s with {kept} windows finished", flush=True)
    marks = {path: path.stat().st_mtime_ns for path in output.with_name(f"{output.name}.part").glob("window_*.npz")}
    second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    again = 0
    while second.poll() is None:
        again = max(again, sum(path.exists() and path.stat().st_mtime_ns != mark for path, mark in marks.items()))
        time.sleep(0.5)
    count, seconds, idle, peak = json.loads(second.communicate()[0])
    rows = [
        {"what": "budget (`max_memory`)", "value": budget},
        {"what": "nuclei", "value": count},
        {"what": "windows finished before `kill -9`", "value": kept},
        {"what": "of these done again", "value": again},
        {"what": "seconds until killed, start-up included", "value": round(until_killed)},
        {"what": "seconds of the second process, from reading to the last label written", "value": round(seconds)},
        {"what": "MiB of the idle process", "value": round(idle)},
        {"what": "MiB above it at the peak", "value": round(peak)},
    ]
    command_line = f"python benchmarks/big_image.py {side} FOLDER {budget}"
    if int(side) < 10_000:
        print(as_text(rows))
    else:
        keep("big_image", command_line, {f"{int(side):,} × {int(side):,} pixels RGB": rows})


if __name__ == "__main__":
    main()
