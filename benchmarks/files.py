"""``nucleiseg predict`` of many small files against the bare network on the same pixels; start-up is shown apart.

    python benchmarks/files.py [--files 100] [--side 256] [--rounds 7] [--model FILE] [--profile]
        [--precisions float32 --keep files_avx2]

The files are cut from skimage's stained tissue. All ways run in this process with the model loaded: the bare network, a
compiled Keras model, gets the scaled tensors, one after the other, and so does the network as nucleiseg runs it; the
command reads each file, finds, measures and writes label image, mask, overlay and tables, and does so beside the
network. Each precision has a table of its own. Printed are medians, their ratio, the same of the processor's time, and
the seconds that the command takes for one file in a process of its own, which is the start-up. ``--profile`` prints
where the time goes if the files are dealt with one after the other instead.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import skimage.data
from bare import bare_network
from PIL import Image
from results import add_machine, keep, of_machine
from rounds import compare

from nucleiseg import PredictOptions, ReadOptions, Segmenter
from nucleiseg._precision import Precision
from nucleiseg.cli import predict as command
from nucleiseg.cli.batch import Batch
from nucleiseg.cli.further_files import FurtherFiles
from nucleiseg.cli.journal import Journal
from nucleiseg.cli.main import main as nucleiseg
from nucleiseg.engines.engine import computing_in
from nucleiseg.images import read_image, rescale
from nucleiseg.pretrained import pretrained_path


def make_files(folder: Path, count: int, side: int) -> list[Path]:
    """PNG files, each another part of the tissue."""
    tissue = np.tile(skimage.data.immunohistochemistry(), (-(-side // 512) + 1, -(-side // 512) + 1, 1))
    noise = np.random.default_rng(0)
    folder.mkdir()
    paths = []
    for number in range(count):
        row, column = noise.integers(0, 512, 2)
        paths.append(folder / f"tissue_{number:03}.png")
        Image.fromarray(tissue[row : row + side, column : column + side]).save(paths[-1])
    return paths


def start_up(path: Path, output: Path, model: Path) -> float:
    """Seconds of the command in a process of its own, for one file."""
    start = time.perf_counter()
    line = [sys.executable, "-m", "nucleiseg.cli.main", "predict", "--quiet", str(path), "-o", str(output)]
    subprocess.run([*line, "--model", str(model)], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def run_all(network: Callable[[np.ndarray], np.ndarray], tensors: list[np.ndarray]) -> None:
    """One after the other."""
    for tensor in tensors:
        network(tensor)


def main() -> None:
    """Print a table for each precision."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", type=Path, default=pretrained_path("nuclei"), help="a .keras file")
    add_machine(parser, "files")
    parser.add_argument("--profile", action="store_true", help="print where the time goes, and measure nothing")
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.model)
    command.load_segmenter = lambda _: segmenter  # loading is start-up
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = make_files(root / "in", arguments.files, arguments.side)
        number = itertools.count()
        tensors = [rescale(read_image(path))[np.newaxis] for path in paths]

        def predict(precision: Precision) -> None:
            output = root / f"out_{next(number)}"  # nothing to replace, and nothing to remove while time is taken
            line = ["predict", "--quiet", str(root / "in"), "-o", str(output), "--model", str(arguments.model)]
            if nucleiseg([*line, "--precision", precision]) != 0:
                raise SystemExit("the command failed")

        def in_one_thread() -> None:
            output = root / f"out_{next(number)}"
            journal = Journal(output, {"options": {"reading": asdict(ReadOptions())}})
            batch = Batch(output, journal, FurtherFiles(output, [], False, paths), {}, ReadOptions())
            for path in paths:
                found = batch.segment(segmenter, batch.read(path, path.stem), PredictOptions())
                batch.write(found, path, path.stem)

        if arguments.profile:
            in_one_thread()
            profile = cProfile.Profile()
            profile.runcall(in_one_thread)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(60)
            return
        # Of another object: a segmenter that has given away its model must be ready for other weights.
        model = Segmenter.load(arguments.model).model
        tables = {}
        for precision in arguments.precisions:
            ways = {
                "bare network": partial(run_all, bare_network(model, precision), tensors),
                "network in nucleiseg": partial(run_all, computing_in(segmenter._engine, precision), tensors),
                "nucleiseg predict": partial(predict, precision),
            }
            rows = compare(ways, arguments.rounds, processor=True)
            tables[f"{arguments.files} files of {arguments.side} × {arguments.side} pixels, {precision}"] = rows
        seconds = statistics.median(start_up(paths[0], root / f"one_{n}", arguments.model) for n in range(3))
    tables["One file with start-up"] = [{"seconds": round(seconds, 1)}]
    keep(arguments.keep, f"python benchmarks/files.py{of_machine(arguments, 'files')}", tables)


if __name__ == "__main__":
    main()
