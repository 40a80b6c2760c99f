r"""A model that has never seen stained tissue, fine-tuned on ten images of it: what is gained, and what is forgotten.

    python benchmarks/fine_tuning.py stage1_train.zip --splits splits.csv --folder trained

The model is trained by the recipe `nuclei-fast-first`, in 20 epochs, on the images of `train` that show no histology,
unless it is in the folder as ``base.keras``. Of the ten histology images, a fixed choice from `train`, seven are
learned from and three choose epoch and thresholds; the histology of `val` is held out for the verdict. Two hundred
fluorescence images of `train` are the reference: ninety of them are learned from too, twenty help to choose thresholds,
ninety judge. The options of
`FitOptions.for_few_images` were chosen on `val` alone.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from exact import EXACT
from intervals import by_group
from results import keep

from nucleiseg import Segmenter, datasets, fine_tune
from nucleiseg.datasets import Dataset
from nucleiseg.inference import Evaluation
from nucleiseg.pretrained import pretrained_recipe
from nucleiseg.training import read_recipe

EPOCHS = 20
OWN, CHOOSING, REFERENCE = 10, 3, 200
SIZES = (10, 5, 2)


@dataclass(frozen=True)
class Images:
    """The parts of the data, by the kind of image."""

    train: Dataset
    val: Dataset
    test: Dataset
    both: Dataset
    """`val` and `test` together."""

    def of(self, split: str, modality: str, others: bool = False) -> Dataset:
        """The images of a modality, or all others."""
        data: Dataset = getattr(self, split)
        kinds = zip(data.ids, data.metadata, strict=True)
        return data.select([name for name, known in kinds if (known["modality"] == modality) != others])


def read(data: str, splits: str) -> Images:
    """The images as a table splits them."""
    everything = datasets.read(data).prepare().with_metadata(splits)
    train, val, test = everything.split_by(splits)
    return Images(train, val, test, everything.select([*val.ids, *test.ids]))


def base_model(folder: Path, images: Images) -> Segmenter:
    """The model that has never seen histology, trained now unless it is in the folder."""
    path = folder / "base.keras"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        recipe = read_recipe(pretrained_recipe("nuclei-fast-first"))
        segmenter = Segmenter(**recipe.network)
        train, val = (images.of(split, "histology", others=True) for split in ("train", "val"))
        segmenter.fit(train, val, EPOCHS, recipe.options, folder / "base_checkpoint", resume=True)
        segmenter.optimize_thresholds(val)
        segmenter.save(path, half=True)
    return Segmenter.load(path)


def chosen(data: Dataset, count: int, seed: int) -> Dataset:
    """A fixed choice of images, a larger one holding the smaller."""
    ids = sorted(data.ids)
    order = np.random.default_rng(seed).permutation(len(ids))
    return data.select([ids[index] for index in order[:count]])


def tuned_on(base: Segmenter, images: Images, count: int) -> Segmenter:
    """The base fine-tuned on so many histology images, three tenths of which, at least one, choose; better or not."""
    own = chosen(images.of("train", "histology"), count, 0)
    choosing = max(1, count * CHOOSING // OWN)
    parts = own[choosing:], own[:choosing], images.of("val", "histology")
    return fine_tune(base, parts, chosen(images.of("train", "fluorescence"), REFERENCE, 0)).tuned


def evaluated(segmenter: Segmenter, images: Images) -> dict[str, Evaluation]:
    """What the learning curve shows, by its columns."""
    columns = {f"{modality}, val and test": ("both", modality) for modality in ("histology", "fluorescence")}
    columns |= {f"histology, {split}": (split, "histology") for split in ("val", "test")}
    return {name: segmenter.evaluate(images.of(*part), EXACT) for name, part in columns.items()}


def row(count: int, segmenter: Segmenter, images: Images) -> dict[str, object]:
    """One line of the learning curve: AP at IoU .5."""
    found = evaluated(segmenter, images)
    scores = {name: by_group(part, ["ap50"])["all"]["ap50"] for name, part in found.items()}
    return {"histology images": count, **scores}


def main() -> None:
    """Fine-tune, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a dataset that nucleiseg.datasets.read understands, such as stage1_train.zip")
    parser.add_argument("--splits", required=True, help="CSV with image_id, split and modality")
    parser.add_argument("--folder", type=Path, required=True, help="where the model without histology is kept")
    arguments = parser.parse_args()
    images = read(arguments.data, arguments.splits)
    base = base_model(arguments.folder, images)
    rows = [row(0, base, images)]
    for count in SIZES:
        rows.insert(1, row(count, tuned_on(base, images, count), images))
        print(rows[0], rows[1], sep="\n", flush=True)
    command = "python benchmarks/fine_tuning.py stage1_train.zip --splits splits.csv --folder trained"
    keep("fine_tuning", command, {"AP at IoU .5": rows})


if __name__ == "__main__":
    main()
