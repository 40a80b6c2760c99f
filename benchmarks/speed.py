"""Seconds for each megapixel as images grow: the bare network, nucleiseg, and a trained StarDist, side by side.

    python benchmarks/speed.py [--stardist FOLDER] [--models nuclei nuclei-fast] [--sides 256 512 1024 2048 4096 8192]

All get the same images of skimage's stained tissue, in turn; printed are medians of seven rounds (three from 2,048
pixels a side, one from 8,192) and ratios to the bare network of the first model, a compiled Keras model, which gets the
scaled tensor, whole. Where a way is left out, the image is larger than it takes within --largest-whole pixels a side:
whole, a compiled Keras model needs 300 bytes a pixel. StarDist's model is a folder that `benchmarks/train_stardist.py`
has written: untrained ones have so many candidates that their time means nothing. Peak memory is that of a process of
its own, above the same process idle with the model loaded (Linux). Import time and the size of the installed packages
come first. With StarDist it all takes some seven minutes on two cores.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import skimage.data
from bare import bare_network
from results import keep
from rounds import compare

from nucleiseg import PredictOptions
from nucleiseg.images import rescale
from nucleiseg.large import load_segmenter

MEMORY_SIDES = (1024, 2048, 4096)


def import_seconds(module: str) -> float:
    """Of a fresh interpreter, less that of one that imports nothing."""

    def run(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
        return time.perf_counter() - start

    return min(run(f"import {module}") for _ in range(3)) - min(run("pass") for _ in range(3))


def installed_megabytes(package: str) -> float:
    """Of one package, without what it depends on; of ours, what is in use of what the wheel holds."""
    if package == "nucleiseg":
        import nucleiseg

        every = Path(nucleiseg.__file__).parent.rglob("*")
        # The wheel leaves out networks in ONNX's format, too.
        files = [path for path in every if "__pycache__" not in path.parts and path.suffix != ".onnx"]
    else:
        files = [Path(file.locate()) for file in importlib.metadata.files(package) or []]
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6


def needed_packages(package: str) -> set[str]:
    """It and all that it depends on, as far as that is installed."""
    found: set[str] = set()
    waiting = [package]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        waiting += [re.match(r"[\w.-]+", line)[0] for line in requirements if "extra ==" not in line]
    return found


def installing(stardist: bool) -> list[dict[str, object]]:
    """Import time and size of packages."""
    # StarDist leaves it to its users to install TensorFlow, without which it can't predict.
    packages = {"nucleiseg": ("nucleiseg.segmenter", ["nucleiseg"])}
    if stardist:
        packages["stardist"] = ("stardist.models", ["stardist", "tensorflow"])
    rows = []
    for package, (module, roots) in packages.items():
        everything = set().union(*(needed_packages(root) for root in roots))
        rows.append(
            {
                "package": package,
                "seconds to import": round(import_seconds(module), 2),
                "MB installed": round(installed_megabytes(package), 1),
                "MB with all that it needs": round(sum(map(installed_megabytes, everything))),
            }
        )
    return rows


def tissue(side: int) -> np.ndarray:
    """Stained tissue, repeated: uint8 (side, side, 3)."""
    repeats = -(-side // 512)
    return np.tile(skimage.data.immunohistochemistry(), (repeats, repeats, 1))[:side, :side].copy()


def stardist_way(folder: Path):
    """From an image to labels by a trained StarDist."""
    from stardist.models import StarDist2D

    model = StarDist2D(None, name=folder.name, basedir=str(folder.parent))

    def predict(image):
        # Larger images in tiles of 2,048 pixels, as its manual says; it scales nothing by itself.
        tiles = (*(-(-length // 2048) for length in image.shape[:2]), 1)
        return model.predict_instances(rescale(image), n_tiles=tiles, show_tile_progress=False)[0]

    return predict


def all_ways(models: list[str], stardist: Path | None, memory: str):
    """By name, what takes an image."""
    segmenters = {Path(model).stem: load_segmenter(model) for model in models}
    bare = bare_network(load_segmenter(models[0]).model)
    ways = {"bare network": lambda image: bare(rescale(image)[np.newaxis])}
    for (name, segmenter), precision in itertools.product(segmenters.items(), ("float32", "mixed_bfloat16")):
        options = PredictOptions(max_memory=memory, precision=precision)
        way = f"nucleiseg, {name}" if precision == "float32" else f"nucleiseg, {name}, {precision}"
        ways[way] = partial(segmenter.predict, options=options)
    if stardist is not None:
        ways["StarDist"] = stardist_way(stardist)
    return ways


def peak_megabytes(way: str, side: int, arguments: list[str]) -> float:
    """Of a process of its own."""
    line = [sys.executable, __file__, *arguments, "--peak", way, "--sides", str(side)]
    printed = subprocess.run(line, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return json.loads(printed.splitlines()[-1])  # StarDist says what it loads


def print_peak(run, side: int) -> None:
    """MiB above what this process needs idle."""

    def status(key: str) -> float:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

    image = tissue(side)
    run(image[:64, :64])
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    idle = status("VmRSS")
    run(image)
    print(round(status("VmHWM") - idle))


def main() -> None:
    """Print a table of packages, one of memory, and one for each side."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096, 8192])
    parser.add_argument(
        "--models", nargs="+", default=["nuclei", "nuclei-fast"], help="shipped models, or .keras files"
    )
    parser.add_argument("--stardist", type=Path, help="folder of a trained StarDist model")
    parser.add_argument("--memory", default="2GB", help="budget of nucleiseg")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--largest-whole", type=int, default=4096, help="for the bare network")
    parser.add_argument("--largest-stardist", type=int, default=8192)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    ways = all_ways(arguments.models, arguments.stardist, arguments.memory)
    if arguments.peak:
        print_peak(ways[arguments.peak], arguments.sides[0])
        return

    tables = {"Packages": installing(arguments.stardist is not None)}
    line = ["--models", *arguments.models, "--memory", arguments.memory]
    line += ["--stardist", str(arguments.stardist)] if arguments.stardist else []
    if Path("/proc/self/clear_refs").exists():
        title = f"Peak memory in MiB above the idle process; nucleiseg's budget is {arguments.memory}"
        sides = [side for side in MEMORY_SIDES if side <= max(arguments.sides)]
        tables[title] = [
            {"way": way, **{f"{side} × {side}": peak_megabytes(way, side, line) for side in sides}} for way in ways
        ]
    for side in arguments.sides:
        image = tissue(side)
        limits = {"bare network": arguments.largest_whole, "StarDist": arguments.largest_stardist}
        chosen = {way: run for way, run in ways.items() if side <= limits.get(way, side)}
        rounds = min(arguments.rounds, 7 if side < 2048 else 3 if side < 8192 else 1)
        runs = {way: lambda run=run, image=image: run(image) for way, run in chosen.items()}
        rows = compare(runs, rounds, warm_up=side < 8192, processor=True)
        for row in rows:
            for seconds in ("seconds", "processor seconds"):
                row[f"{seconds} per megapixel"] = round(row[seconds] / (side**2 / 1e6), 3)
        tables[f"{side} × {side} pixels, {rounds} rounds"] = rows
    keep("speed", "python benchmarks/speed.py --stardist FOLDER", tables)


if __name__ == "__main__":
    main()
