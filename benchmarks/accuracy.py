r"""Who finds the nuclei: classical image analysis, the founding set-up, StarDist and the models in the box, one scorer.

    python benchmarks/accuracy.py stage1_train.zip --splits splits.csv --folder trained [--stardist FOLDER]

Otsu and watershed need no training; their smoothing and smallest area are chosen on `val`. The founding set-up, a
pix2pix U-Net on MobileNetV2 whose ImageNet weights stay as they are, with connected components, is the model that
`benchmarks/initialisation.py` keeps in the folder (trained now if it isn't there). StarDist's models are what
`benchmarks/train_stardist.py` left, with the thresholds that it chose on `val`. Seconds are those of this run, one way
after the other: they say what costs several times as much.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from initialisation import FOUNDING, MINUTES, trained
from results import keep
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

GREY = np.array([0.2126, 0.7152, 0.0722], np.float32)
SMOOTHINGS, AREAS = (1.0, 2.0, 3.0), (10, 30, 60)
GROUPS = ("all", "fluorescence", "histology", "brightfield")
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


def evaluated(way: Way, data: datasets.Dataset) -> tuple[Evaluation, float]:
    """Scores by modality, and seconds per megapixel."""
    samples = list(data)
    way(samples[0].image)  # compiling is no part of it
    begin = time.perf_counter()
    found = [way(sample.image) for sample in samples]
    seconds = time.perf_counter() - begin
    scores = [
        ImageScore(sample.id, str(sample.metadata["modality"]), match(sample.labels, labels))
        for sample, labels in zip(samples, found, strict=True)
    ]
    return Evaluation(scores), seconds / sum(sample.labels.size for sample in samples) * 1e6


def tables_of(found: Mapping[str, tuple[Evaluation, float]], split: str) -> dict[str, list[dict[str, object]]]:
    """One table a score: a row a way, a column a kind of image, with 95 % confidence intervals."""
    measured = {way: (scores.to_dict(), scores.intervals()) for way, (scores, _) in found.items()}

    def cell(way: str, group: str, score: str) -> str:
        scores, intervals = measured[way]
        low, high = intervals[group][score]
        return f"{scores[group][score]:.3f} ({low:.2f}-{high:.2f})"

    tables: dict[str, list[dict[str, object]]] = {
        f"{title} on {split}": [{"way": way, **{group: cell(way, group, key) for group in GROUPS}} for way in found]
        for title, key in SCORES.items()
    }
    for row, (_, seconds) in zip(next(iter(tables.values())), found.values(), strict=True):
        row["seconds per megapixel"] = seconds
    return tables


def main() -> None:
    """Train what is not trained yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a dataset that nucleiseg.datasets.read understands, such as stage1_train.zip")
    parser.add_argument("--splits", required=True, help="CSV with image_id, split and modality")
    parser.add_argument("--folder", type=Path, required=True, help="where the founding set-up's model is kept")
    parser.add_argument("--stardist", type=Path, nargs="+", default=[], help="models of benchmarks/train_stardist.py")
    arguments = parser.parse_args()
    train, val, test = datasets.read(arguments.data).prepare().split_by(arguments.splits)
    shipped = Segmenter.from_pretrained("nuclei")
    founding, _ = trained(FOUNDING, arguments.folder, train, val, MINUTES)
    ways: Mapping[str, Way] = {
        "Otsu, watershed (scikit-image)": tuned_otsu(val),
        "founding set-up": by(founding),
        **{f"StarDist, {folder.name}": stardist(folder) for folder in arguments.stardist},
        "nucleiseg, nuclei-fast": by(Segmenter.from_pretrained("nuclei-fast")),
        "nucleiseg, nuclei": by(shipped),
        "nucleiseg, nuclei, tta": by(shipped, PredictOptions(tta=True)),
    }
    tables: dict[str, list[dict[str, object]]] = {}
    for name, data in (("test", test), ("val", val)):
        tables |= tables_of({way: evaluated(find, data) for way, find in ways.items()}, name)
    command = "python benchmarks/accuracy.py stage1_train.zip --splits splits.csv --folder trained"
    keep("accuracy", command + (" --stardist FOLDER" if arguments.stardist else ""), tables)


if __name__ == "__main__":
    main()
