r"""Who finds the nuclei: classical image analysis, the founding set-up, StarDist and the models in the box, one scorer.

    python benchmarks/accuracy.py stage1_train.zip --splits splits.csv --folder trained [--stardist FOLDER]

Otsu and watershed need no training; their smoothing and smallest area are chosen on `val`. The founding set-up, a
pix2pix U-Net on MobileNetV2 whose ImageNet weights stay as they are, with connected components, is the model that
`benchmarks/initialisation.py` keeps in the folder (trained now if it isn't there). StarDist's models are what
`benchmarks/train_stardist.py` left, with the thresholds that it chose on `val`. What costs how much time is measured by
`benchmarks/speed.py`.

With --only, those ways are measured whose names hold one of the words, such as `nuclei` or `StarDist`. The rows of the
others stay as an earlier run left them: their models need not be at hand.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from exact import EXACT
from initialisation import FOUNDING, MINUTES, trained
from intervals import by_group
from results import keep, kept
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

from nucleiseg import Segmenter, datasets
from nucleiseg.images import rescale, to_rgb
from nucleiseg.inference import Evaluation, ImageScore, PredictOptions
from nucleiseg.instances import filter_labels, match

Labels = npt.NDArray[np.int32]
Way = Callable[[npt.NDArray[np.generic]], Labels]
Row = dict[str, object]
Tables = dict[str, list[Row]]

GREY = np.array([0.2126, 0.7152, 0.0722], np.float32)
SMOOTHINGS, AREAS = (1.0, 2.0, 3.0), (10, 30, 60)
GROUPS = ("all", "fluorescence", "histology", "brightfield")
LAST_OF_OTHERS = "founding set-up"  # after which StarDist's models stand
SCORES = {"AP at IoU .5": "ap50", "DSB2018 score": "dsb", "mean Dice of the mask": "mean_dice"}


def otsu(image: npt.NDArray[np.generic], smoothing: float, area: int) -> Labels:
    """Otsu's threshold, and a watershed of the distance to the background; nuclei are what covers less of the image."""
    grey = to_rgb(rescale(image)) @ GREY
    if np.ptp(grey) == 0:
        return np.zeros(grey.shape, np.int32)
    grey = gaussian(grey, smoothing)
    bright = grey > threshold_otsu(grey)
    mask = bright if bright.mean() <= 0.5 else ~bright
    distance = gaussian(ndimage.distance_transform_edt(mask), smoothing)
    peaks = peak_local_max(distance, min_distance=5, labels=ndimage.label(mask)[0])
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return filter_labels(watershed(-distance, seeds, mask=mask), area, fill_holes=True)


def tuned_otsu(val: datasets.Dataset) -> Way:
    """Otsu's way, with what does best on validation images."""

    def score(chosen: tuple[float, int]) -> float:
        counts = [match(sample.labels, otsu(sample.image, *chosen)) for sample in val]
        return Evaluation([ImageScore("", "", count) for count in counts]).to_dict()["all"]["dsb"]

    smoothing, area = max(itertools.product(SMOOTHINGS, AREAS), key=score)
    return lambda image: otsu(image, smoothing, area)


def by(segmenter: Segmenter, options: PredictOptions | None = None) -> Way:
    """What a model finds."""
    return lambda image: segmenter.predict(image, options).labels


def stardist(folder: Path) -> Way:
    """A trained StarDist; `match` decides for it as for the others."""
    from stardist.models import StarDist2D

    model = StarDist2D(None, name=folder.name, basedir=str(folder.parent))
    return lambda image: model.predict_instances(to_rgb(rescale(image)).astype(np.float32))[0].astype(np.int32)


def evaluated(way: Way, data: datasets.Dataset) -> Evaluation:
    """Scores by modality."""
    return Evaluation(
        [
            ImageScore(sample.id, str(sample.metadata["modality"]), match(sample.labels, way(sample.image)))
            for sample in data
        ]
    )


def tables_of(found: Mapping[str, Evaluation], split: str) -> Tables:
    """One table a score: a row a way, a column a kind of image, with 95 % confidence intervals."""
    cells = {way: by_group(scores, list(SCORES.values())) for way, scores in found.items()}
    return {
        f"{title} on {split}": [{"way": way, **{group: cells[way][group][key] for group in GROUPS}} for way in found]
        for title, key in SCORES.items()
    }


def completed(tables: Tables, order: Sequence[str]) -> Tables:
    """With the stored rows of ways that were not measured now."""
    before = kept("accuracy")

    def merged(title: str, rows: Sequence[Row]) -> list[Row]:
        by_way = {row["way"]: row for row in (*before[title], *rows)}
        ways = list(dict.fromkeys([*by_way, *order]))
        ways.sort(key=lambda way: order.index(way) if way in order else order.index(LAST_OF_OTHERS) + 0.5)
        return [by_way[way] for way in ways if way in by_way]

    return {title: merged(title, rows) for title, rows in tables.items()}


def main() -> None:
    """Train what is not trained yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a dataset that nucleiseg.datasets.read understands, such as stage1_train.zip")
    parser.add_argument("--splits", required=True, help="CSV with image_id, split and modality")
    parser.add_argument("--folder", type=Path, required=True, help="where the founding set-up's model is kept")
    parser.add_argument("--stardist", type=Path, nargs="+", default=[], help="models of benchmarks/train_stardist.py")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="measure ways of such names")
    arguments = parser.parse_args()
    train, val, test = datasets.read(arguments.data).prepare().split_by(arguments.splits)
    shipped = Segmenter.from_pretrained("nuclei")
    ways: Mapping[str, Callable[[], Way]] = {
        "Otsu, watershed (scikit-image)": lambda: tuned_otsu(val),
        "founding set-up": lambda: by(trained(FOUNDING, arguments.folder, train, val, MINUTES)[0], EXACT),
        **{f"StarDist, {folder.name}": partial(stardist, folder) for folder in arguments.stardist},
        "nucleiseg, nuclei-fast": lambda: by(Segmenter.from_pretrained("nuclei-fast"), EXACT),
        "nucleiseg, nuclei-fast, mixed_bfloat16": lambda: by(
            Segmenter.from_pretrained("nuclei-fast"), PredictOptions(precision="mixed_bfloat16")
        ),
        "nucleiseg, nuclei": lambda: by(shipped, EXACT),
        "nucleiseg, nuclei, mixed_bfloat16": lambda: by(shipped, PredictOptions(precision="mixed_bfloat16")),
        "nucleiseg, nuclei, tta": lambda: by(shipped, replace(EXACT, tta=True)),
    }
    # A whole name means this way alone, though others' begin like it.
    asked = {way for way in ways for word in arguments.only if word == way or (word not in ways and word in way)}
    wanted = {way: make() for way, make in ways.items() if way in asked}
    tables: Tables = {}
    for name, data in (("test", test), ("val", val)):
        tables |= tables_of({way: evaluated(find, data) for way, find in wanted.items()}, name)
    if arguments.only != [""]:
        tables = completed(tables, list(ways))
    command = "python benchmarks/accuracy.py stage1_train.zip --splits splits.csv --folder trained"
    keep("accuracy", command + (" --stardist FOLDER" if arguments.stardist else ""), tables)


if __name__ == "__main__":
    main()
