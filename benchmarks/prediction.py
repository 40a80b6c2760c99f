"""`Segmenter.predict` against the bare compiled network on the same tensor.

    python benchmarks/prediction.py [--models nuclei nuclei-fast] [--precisions float32 --keep prediction_avx2]

`predict` also scales, pads, crops and finds the nuclei; the bare network gets the scaled tensor, whole, and computes in
the same precision. `predict` keeps to its default budget of 2 GB, which is enough for 2,048 x 2,048 pixels without
tiles; of 600 MB, which is not in float32, it has a row of its own there. So has the average over flips and turns, on
1,024 x 1,024 pixels.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace

import numpy as np
import skimage.data
from bare import bare_network
from results import add_machine, keep, of_machine
from rounds import compare

from nucleiseg import PredictOptions, Segmenter
from nucleiseg.images import rescale


def main() -> None:
    """Print a table for each model and image size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=["nuclei", "nuclei-fast"], help="shipped models")
    add_machine(parser, "prediction")
    arguments = parser.parse_args()
    tables = {}
    for name, precision in itertools.product(arguments.models, arguments.precisions):
        tables |= tables_of(name, PredictOptions(precision=precision))
    keep(arguments.keep, f"python benchmarks/prediction.py{of_machine(arguments, 'prediction')}", tables)


def tables_of(name: str, options: PredictOptions) -> dict[str, list[dict[str, object]]]:
    """A table for each image size."""
    segmenter = Segmenter.from_pretrained(name)
    # Of another object: a segmenter that has given away its model must be ready for other weights.
    bare = bare_network(Segmenter.from_pretrained(name).model, options.precision)
    tissue = skimage.data.immunohistochemistry()
    tables = {}
    for repeats in (1, 2, 4, 8):
        image = np.tile(tissue, (repeats, repeats, 1))[: 256 * repeats, : 256 * repeats]
        tensor = rescale(image)[np.newaxis]
        calls = max(1, 16 // repeats**2)
        ways = {
            "bare network": lambda tensor=tensor, calls=calls: [bare(tensor) for _ in range(calls)],
            "Segmenter.predict": lambda image=image, calls=calls: [
                segmenter.predict(image, options) for _ in range(calls)
            ],
        }
        if repeats == 4:
            turned = replace(options, tta=True)
            ways["Segmenter.predict with tta"] = lambda image=image, turned=turned: segmenter.predict(image, turned)
        if repeats == 8:
            frugal = replace(options, max_memory="600MB")
            ways["Segmenter.predict in tiles"] = lambda image=image, frugal=frugal: segmenter.predict(image, frugal)
        tables[f"{name}, {options.precision}, {calls} of {image.shape[0]} × {image.shape[1]} pixels"] = compare(ways)
    return tables


if __name__ == "__main__":
    main()
