"""`nucleiseg.instances.match` against `stardist.matching.matching` on 2048 x 2048 pixels with 3,000 nuclei each.

    python benchmarks/matching.py        # needs stardist: pip install stardist

StarDist counts matches at the thresholds it is given. `match` does so too, and counts for AJI, AJI+, masks and kinds of
errors besides. Both must find the same number of matches.
"""

from __future__ import annotations

import argparse

import numpy as np
from results import keep
from rounds import compare
from scipy.spatial import cKDTree
from stardist.matching import matching

from nucleiseg.instances import THRESHOLDS, match

Labels = np.typing.NDArray[np.int32]


def draw(centres: np.typing.NDArray[np.float64], radii: np.typing.NDArray[np.float64], size: int) -> Labels:
    """Discs, cut where they would overlap, numbered from 1."""
    pixels = np.stack(np.mgrid[:size, :size], axis=-1).reshape(-1, 2)
    distance, nearest = cKDTree(centres).query(pixels)
    return np.where(distance <= radii[nearest], nearest + 1, 0).reshape(size, size).astype(np.int32)


def label_pair(size: int, count: int) -> tuple[Labels, Labels]:
    """Nuclei, half of them touching, and the same ones moved, resized and renumbered at random."""
    random = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(count)))
    grid = (np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 2) + 0.5) * size / side
    centres = random.permutation(grid)[:count] + random.normal(0, 6, (count, 2))
    radii = random.uniform(10, 18, count)
    order = random.permutation(count)
    moved, resized = centres + random.normal(0, 2, centres.shape), radii * random.uniform(0.85, 1.15, count)
    return draw(centres, radii, size), draw(moved[order], resized[order], size)


def main() -> None:
    """Print a table for one threshold and one for the ten of the Data Science Bowl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--nuclei", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    truth, predicted = label_pair(arguments.size, arguments.nuclei)
    print(f"{np.unique(truth).size - 1} true and {np.unique(predicted).size - 1} predicted nuclei")
    tables = {}
    for thresholds in ((0.5,), THRESHOLDS):
        theirs = [result.tp for result in matching(truth, predicted, thresh=thresholds)]
        ours = [counts.tp for counts in match(truth, predicted, thresholds).matches]
        if ours != theirs:
            raise SystemExit(f"the matches differ: {ours} instead of {theirs}")
        ways = {
            "stardist.matching.matching": lambda levels=thresholds: matching(truth, predicted, thresh=levels),
            "nucleiseg.instances.match": lambda levels=thresholds: match(truth, predicted, levels),
        }
        tables[f"{len(thresholds)} threshold{'s' if len(thresholds) > 1 else ''}"] = compare(ways, arguments.rounds)
    keep("matching", "python benchmarks/matching.py", tables)


if __name__ == "__main__":
    main()
