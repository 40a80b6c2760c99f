"""Seconds for each megapixel as images grow: the bare network, nucleiseg, and StarDist if there is a model.

    python benchmarks/speed.py [--sides 256 512 1024 2048] [--model model.keras] [--stardist FOLDER] [--memory 2GB]

All get the same images of skimage's stained tissue, in turn; printed are medians of seven rounds and ratios to the bare
network, which gets the scaled tensor, whole. StarDist's model is a folder that StarDist2D.train and optimize_thresholds
have written: untrained ones have so many candidates that their time means nothing. Import time and the size of the
installed packages are printed first.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import skimage.data
from results import keep
from rounds import compare

from nucleiseg import PredictOptions, Segmenter
from nucleiseg.images import rescale


def import_seconds(module: str) -> float:
    """Of a fresh interpreter, less that of one that imports nothing."""

    def run(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
        return time.perf_counter() - start

    return min(run(f"import {module}") for _ in range(3)) - min(run("pass") for _ in range(3))


def installed_megabytes(package: str) -> float:
    """Of one package, without what it depends on."""
    files = importlib.metadata.files(package) or []
    return sum(Path(file.locate()).stat().st_size for file in files if Path(file.locate()).is_file()) / 1e6


def stardist_way(folder: Path):
    """From an image to labels by a trained StarDist."""
    from stardist.models import StarDist2D

    model = StarDist2D(None, name=folder.name, basedir=str(folder.parent))
    channels = model.config.n_channel_in

    def predict(image):
        scaled = rescale(image)
        return model.predict_instances(scaled if channels > 1 else scaled.mean(axis=-1))[0]

    return predict


def main() -> None:
    """Print a table for each side."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--model", help="a .keras file instead of the model in the box")
    parser.add_argument("--stardist", type=Path, help="folder of a trained StarDist model")
    parser.add_argument("--memory", default="2GB", help="budget of nucleiseg")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()

    print(f"{platform.machine()}, {platform.processor() or platform.platform()}, Python {platform.python_version()}")
    for module in ["nucleiseg.segmenter", "tensorflow", *(["stardist.models"] if arguments.stardist else [])]:
        print(f"import {module}: {import_seconds(module):.1f} s")
    for package in ["nucleiseg", "tensorflow", *(["stardist"] if arguments.stardist else [])]:
        print(f"installed {package}: {installed_megabytes(package):.0f} MB")

    segmenter = Segmenter.load(arguments.model) if arguments.model else Segmenter.from_pretrained("nuclei")
    engine, options = segmenter._engine, PredictOptions(max_memory=arguments.memory)
    stardist = stardist_way(arguments.stardist) if arguments.stardist else None
    tissue = skimage.data.immunohistochemistry()
    tables = {}
    for side in arguments.sides:
        repeats = -(-side // 512)
        image = np.tile(tissue, (repeats, repeats, 1))[:side, :side].copy()
        tensor = rescale(image)[np.newaxis]
        ways = {
            "bare network": lambda tensor=tensor: engine(tensor),
            "nucleiseg": lambda image=image: segmenter.predict(image, options),
        }
        if stardist is not None:
            ways["StarDist"] = lambda image=image: stardist(image)
        tables[f"{side} × {side} pixels"] = compare(ways, arguments.rounds)
    keep("speed", "python benchmarks/speed.py --stardist FOLDER", tables)


if __name__ == "__main__":
    main()
