"""`nucleiseg.datasets.check` on a dataset, against reading it, both without the cache.

    python benchmarks/checking.py stage1_train.zip --splits splits.csv

Reading decodes every image and mask with all cores and does nothing else; the check reads them in the same way.
"""

from __future__ import annotations

import argparse

from results import keep
from rounds import compare

from nucleiseg import datasets


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a dataset that nucleiseg.datasets.read understands, such as stage1_train.zip")
    parser.add_argument("--splits", help="a table with the columns image_id and split")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    data = datasets.read(arguments.data, cache=False)
    if arguments.splits:
        data = data.with_metadata(arguments.splits)
    ways = {"reading": lambda: len(data.load()), "checking": lambda: datasets.check(data)}
    print(datasets.check(data).summary)
    keep(
        "checking",
        f"python benchmarks/checking.py stage1_train.zip --rounds {arguments.rounds}",
        {"": compare(ways, arguments.rounds)},
    )


if __name__ == "__main__":
    main()
