"""Count the nuclei in a folder of images: one CSV with a row for each image.

    python examples/count_folder.py plate7 -o counts.csv

Open the CSV in Excel, R or pandas. The density is nuclei in a million pixels, and per mm² too where the size of a pixel
is known, from the file or from --pixel-size. A file that can't be read gets a row with the reason; the others go on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from nucleiseg import PredictOptions, ReadOptions, Segmenter
from nucleiseg.errors import NucleisegError
from nucleiseg.images import find_images

COLUMNS = ["count", "density", "density_mm2", "covered", "median_area", "touching_edge", "quality"]


def count(segmenter: Segmenter, path: Path, options: PredictOptions) -> dict[str, object]:
    """One row of the table: what was found in an image, or why nothing could be."""
    try:
        summary = segmenter.predict(path, options).summary().iloc[0].to_dict()
    except NucleisegError as error:
        return {"image": path.name, "error": str(error)}
    return {"image": path.name, **{name: summary.get(name) for name in COLUMNS}, "error": ""}


def main() -> None:
    """Count in one image after the other, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", help="folders, files, or patterns such as 'plate7/*.tif'")
    parser.add_argument("-o", "--output", type=Path, default=Path("counts.csv"))
    parser.add_argument("--model", default="nuclei", help="a .keras file of your own, or a model in the box [nuclei]")
    parser.add_argument("--channel", help="which channel shows the nuclei: its name, or its number from 0")
    parser.add_argument("--pixel-size", type=float, help="height and width of a pixel in µm, if the files do not say")
    parser.add_argument("--min-area", type=int, help="smallest nucleus, in pixels [the model's own]")
    arguments = parser.parse_args()

    channel = int(arguments.channel) if (arguments.channel or "").isdigit() else arguments.channel
    reading = ReadOptions(channel=channel, pixel_size=arguments.pixel_size)
    options = PredictOptions(min_area=arguments.min_area, reading=reading)
    own = arguments.model.endswith(".keras")
    segmenter = Segmenter.load(arguments.model) if own else Segmenter.from_pretrained(arguments.model)

    rows = []
    for path in find_images(arguments.images):
        rows.append(count(segmenter, path, options))
        print(f"{path}: {rows[-1]['error'] or str(rows[-1]['count']) + ' nuclei'}")
    table = pd.DataFrame(rows, columns=["image", *COLUMNS, "error"])
    table = table.astype({"count": "Int64", "touching_edge": "Int64"})  # whole numbers beside the gaps of failed files
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.output, index=False)
    print(f"{table['count'].sum()} nuclei in {table['count'].count()} of {len(table)} images: {arguments.output}")


if __name__ == "__main__":
    main()
