"""The same images, smaller and larger: do the models in the box find the same nuclei?

    python benchmarks/scales.py stage1_train.zip --splits splits.csv [--only nuclei-fast]

Each image of `test` is resized by a factor where its median nucleus stays at least 8 pixels wide; the labels are
resized to the nearest pixel. Found at a factor is compared with found at factor 1 on the same images, and in the
intervals each image that is drawn brings both.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from exact import EXACT
from intervals import Indices, of_counts, of_images
from results import keep, kept
from skimage.transform import resize

from nucleiseg import Segmenter, datasets
from nucleiseg.datasets import Sample
from nucleiseg.inference.scale import usual_diameter
from nucleiseg.instances import InstanceCounts, MatchCounts, match
from nucleiseg.pretrained import list_pretrained, pretrained_path

FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
SMALLEST = 8.0


def resized(sample: Sample, factor: float) -> Sample:
    """An image and its labels at another size."""
    if factor == 1:
        return sample
    size = tuple(max(1, round(side * factor)) for side in sample.labels.shape)
    image = resize(sample.image, (*size, *sample.image.shape[2:]), 1, anti_aliasing=factor < 1, preserve_range=True)
    labels = resize(sample.labels, size, 0, anti_aliasing=False, preserve_range=True)
    return Sample(sample.id, image.round().astype(sample.image.dtype), labels.astype(np.int32), sample.metadata)


def counted(segmenter: Segmenter, sample: Sample, factor: float) -> InstanceCounts:
    """What is found in a resized image."""
    changed = resized(sample, factor)
    return match(changed.labels, segmenter.predict(changed.image, EXACT).labels)


def ratio(
    after: Sequence[InstanceCounts], before: Sequence[InstanceCounts], number: Callable[[MatchCounts], float]
) -> str:
    """What a number of all images together, at IoU .5, is to the same number before."""
    matches, matches_before = ([image.at(0.5) for image in counts] for counts in (after, before))

    def of_drawn(drawn: Indices) -> float:
        found, first = (number(reduce(add, (some[index] for index in drawn))) for some in (matches, matches_before))
        return found / first if first else math.nan

    return of_images(of_drawn, len(matches))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a dataset that nucleiseg.datasets.read understands, such as stage1_train.zip")
    parser.add_argument("--splits", required=True, help="CSV with image_id, split and modality")
    parser.add_argument("--model", type=Path, help="a .keras file instead of the models in the box")
    parser.add_argument("--only", nargs="+", choices=list_pretrained(), help="keep the stored tables of others")
    arguments = parser.parse_args()
    _, _, test = datasets.read(arguments.data).prepare().split_by(arguments.splits)
    shipped = [pretrained_path(name) for name in arguments.only or list_pretrained()]
    models = [arguments.model] if arguments.model else shipped
    tables = {model.stem: compared(Segmenter.load(model), test) for model in models}
    tables = {**kept("scales"), **tables} if arguments.only else tables
    command = "python benchmarks/scales.py stage1_train.zip --splits splits.csv"
    keep("scales", command + (" --model MODEL" if arguments.model else ""), tables)


def compared(segmenter: Segmenter, test: datasets.Dataset) -> list[dict[str, object]]:
    """A row a factor."""
    samples = [sample for sample in test if sample.labels.any()]
    plain = {sample.id: counted(segmenter, sample, 1.0) for sample in samples}
    rows = []
    for factor in FACTORS:
        chosen = [sample for sample in samples if (usual_diameter(sample.labels) or 0) * factor >= SMALLEST]
        before = [plain[sample.id] for sample in chosen]
        after = before if factor == 1 else [counted(segmenter, sample, factor) for sample in chosen]
        rows.append(
            {
                "factor": factor,
                "images": len(chosen),
                "found": sum(image.found for image in after),
                "of those at 1": ratio(after, before, lambda count: count.tp + count.fp),
                "AP at IoU .5": of_counts(after)["ap50"],
                "of that at 1": ratio(after, before, lambda count: count.average_precision),
            }
        )
    return rows


if __name__ == "__main__":
    main()
