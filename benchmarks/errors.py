"""What keeps the score of a model in the box down: kinds of errors, what each costs, the images that hold most of them.

    python benchmarks/errors.py stage1_train.zip --splits splits.csv [--model nuclei]

What a kind costs is what average precision at IoU .5 and the DSB2018 score would be if the labels were mended in this
one respect by the truth: merged nuclei cut along the true borders, pieces of a split nucleus joined, missed nuclei
drawn, false ones erased, poor outlines replaced. "Specks" are true nuclei of less than a tenth of the median area in
their image; some are debris, some are marks on nothing. "Discs" have 21 pixels, which is what one click of a brush
leaves. Images of doubtful truth are those in which most true nuclei that are missed are discs, and one whose marks are
broken; what the scores are without them is printed by kind of image. Then ways to do better without another training,
on `val` and `test`: averaged flips and turns, other scales, the maps of both models averaged, and, as a bound that
nobody can reach, the thresholds that suit each image best. The last three leave no unsure nuclei out.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt
from exact import EXACT
from intervals import of_counts
from results import keep

from nucleiseg import PredictOptions, Segmenter, datasets
from nucleiseg.heads import get_head
from nucleiseg.inference import predict_maps, resize_maps
from nucleiseg.instances import ErrorCounts, count_overlap, filter_labels, find_errors, get_decoder, match

Labels = npt.NDArray[np.int64]
Pairs = list[tuple[Labels, Labels]]
Maps = npt.NDArray[np.float32]

OTHER_SCALES = (0.75, 1.5)
DISC = 21  # pixels
DOUBTFUL = ("0121d675", "d6a880b1", "f8e74d40")
PROBABILITIES, SEEDS = (0.4, 0.5, 0.6, 0.7, 0.8), (0.1, 0.2, 0.3, 0.5)


def mended(truth: Labels, found: Labels, kind: str) -> Labels:
    """What was found, with one kind of error put right."""
    overlap = count_overlap(truth, found)
    errors = find_errors(overlap)
    first, changed = int(found.max()) + 1, found.copy()
    if kind == "merges":
        inside = np.isin(found, errors.merged)
        changed[inside] = np.where(truth[inside] > 0, first + truth[inside], found[inside])
    elif kind == "splits":
        pieces = 2 * overlap.shared > overlap.predicted_areas[overlap.predicted_index]
        for label in errors.split:
            of_it = pieces & (overlap.truth_labels[overlap.truth_index] == label)
            changed[np.isin(found, overlap.predicted_labels[overlap.predicted_index[of_it]])] = first + label
    elif kind == "false nuclei":
        changed[np.isin(found, errors.false_positive)] = 0
    elif kind == "misses":
        drawn = np.isin(truth, errors.missed)
        changed[drawn] = first + truth[drawn]
    else:
        for label in errors.poorly_outlined:
            rivals = found[truth == label]
            changed[found == np.bincount(rivals[rivals > 0]).argmax()] = 0
        drawn = np.isin(truth, errors.poorly_outlined)
        changed[drawn] = first + truth[drawn]
    return changed


def without_specks(truth: Labels) -> Labels:
    """The true nuclei of at least a tenth of the median area in their image."""
    areas = np.bincount(truth.ravel())[1:]
    areas = areas[areas > 0]
    return truth if not areas.size else filter_labels(truth, int(np.ceil(np.median(areas) / 10))).astype(np.int64)


def without_discs(truth: Labels) -> Labels:
    """The true nuclei of more or fewer pixels than one click of a brush leaves; their shape is not looked at."""
    return np.where(np.isin(truth, np.flatnonzero(np.bincount(truth.ravel()) == DISC)), 0, truth)


def scores(pairs: Pairs) -> dict[str, object]:
    """Of images, with intervals."""
    names = {"ap50": "AP at IoU .5", "dsb": "DSB2018 score", "mean_dice": "mean Dice"}
    found = of_counts([match(truth, labels) for truth, labels in pairs], tuple(names))
    return {title: found[name] for name, title in names.items()}


def costs(pairs: Pairs) -> Iterator[dict[str, object]]:
    """What each kind costs."""
    yield {"labels": "as found", **scores(pairs)}
    for kind in ("misses", "merges", "splits", "false nuclei", "poor outlines"):
        yield {"labels": f"{kind} mended", **scores([(truth, mended(truth, found, kind)) for truth, found in pairs])}
    for name, without in (("specks", without_specks), ("discs", without_discs)):
        cleared = [(without(truth), found) for truth, found in pairs]
        before, after = (sum(len(np.unique(truth)) for truth, _ in some) for some in (pairs, cleared))
        yield {"labels": f"as found, {before - after} {name} taken out of the truth", **scores(cleared)}


def by_kind(samples: datasets.Dataset, pairs: Pairs) -> Iterator[dict[str, object]]:
    """Scores of each kind of image, and without those of doubtful truth."""
    groups = [str(sample["modality"]) for sample in samples.metadata]
    sure = [name[:8] not in DOUBTFUL for name in samples.ids]
    for kind in [*sorted(set(groups)), "all"]:
        mine = [kind in (group, "all") for group in groups]
        yield {"images of": kind, "number": sum(mine), **scores(list(itertools.compress(pairs, mine)))}
        kept = [one and other for one, other in zip(mine, sure, strict=True)]
        if any(kept) and kept != mine:
            some = scores(list(itertools.compress(pairs, kept)))
            yield {"images of": f"{kind}, less doubtful truth", "number": sum(kept), **some}


def counted(errors: ErrorCounts) -> dict[str, object]:
    """One row of kinds."""
    kinds = ("misses", "merges", "splits", "false_positives", "poor_outlines")
    offsets = {"outlines off by, pixels": errors.boundary_offset, "of that outwards": errors.boundary_bias}
    return {**{kind.replace("_", " "): getattr(errors, kind) for kind in kinds}, **offsets}


def total(errors: ErrorCounts) -> int:
    """How many errors there are, outlines that are a little off aside."""
    return errors.misses + errors.merges + errors.splits + errors.false_positives + errors.poor_outlines


def kinds_and_images(samples: datasets.Dataset, pairs: Pairs) -> dict[str, list[dict[str, object]]]:
    """Kinds by modality, and the images with most errors."""
    errors = [match(truth, found).errors for truth, found in pairs]
    groups = [str(sample["modality"]) for sample in samples.metadata]
    by_group = {name: [e for e, group in zip(errors, groups, strict=True) if group == name] for name in set(groups)}
    rows = [{"images of": name, **counted(reduce(add, by_group[name]))} for name in sorted(by_group)]
    order = sorted(range(len(errors)), key=lambda index: -total(errors[index]))[:6]
    share = sum(total(errors[index]) for index in order) / sum(map(total, errors))
    worst = [
        {
            "image": samples.ids[index][:8],
            "kind": groups[index],
            "nuclei": len(np.unique(pairs[index][0])) - 1,
            **counted(errors[index]),
        }
        for index in order
    ]
    title = f"The {len(order)} images with most errors: {share:.0%} of all"
    return {"Kinds": [*rows, {"images of": "all", **counted(reduce(add, errors))}], title: worst}


def other_ways(segmenter: Segmenter, second: Segmenter) -> Mapping[str, Callable[[npt.NDArray[np.generic]], Labels]]:
    """Ways to do better without another training."""
    settings = segmenter._settings
    decode, plain = get_decoder(get_head(settings.head).decoder), PredictOptions(scale=1.0)

    def maps(image: npt.NDArray[np.generic], factor: float, by: Segmenter = segmenter) -> Maps:
        size = image.shape[:2]
        seen = resize_maps(image, (round(size[0] * factor), round(size[1] * factor))) if factor != 1 else image
        found = predict_maps(seen, by._engine, settings.scaling, plain)
        return found if factor == 1 else np.clip(resize_maps(found, size), 0, 1)

    def decoded(found: Maps) -> Labels:
        thresholds = dict(settings.thresholds)
        return decode(found, thresholds, int(thresholds["min_area"])).labels

    return {
        "as shipped": lambda image: segmenter.predict(image, EXACT).labels,
        "flips and turns (tta)": lambda image: segmenter.predict(image, replace(EXACT, tta=True)).labels,
        "enlarged 1.5 times": lambda image: segmenter.predict(image, replace(EXACT, scale=1.5)).labels,
        "three scales averaged": lambda image: decoded(
            np.mean([maps(image, factor) for factor in (1.0, *OTHER_SCALES)], axis=0, dtype=np.float32)
        ),
        "both models averaged": lambda image: decoded((maps(image, 1) + maps(image, 1, second)) / 2),
    }


def bound_of_thresholds(segmenter: Segmenter, data: datasets.Dataset) -> Pairs:
    """The labels that the thresholds give which suit each image best, which only the truth can tell."""
    settings = segmenter._settings
    decode = get_decoder(get_head(settings.head).decoder)
    pairs = []
    for sample in data:
        maps = predict_maps(sample.image, segmenter._engine, settings.scaling, PredictOptions(scale=1.0))
        area = int(settings.thresholds["min_area"])
        tries = [
            decode(maps, {**settings.thresholds, "probability": probability, "seed": seed}, area).labels
            for probability, seed in itertools.product(PROBABILITIES, SEEDS)
        ]
        truth = sample.labels
        best = max(tries, key=lambda labels, truth=truth: match(truth, labels).average_precision(0.5))
        pairs.append((truth, best))
    return pairs


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a dataset that nucleiseg.datasets.read understands, such as stage1_train.zip")
    parser.add_argument("--splits", required=True, help="CSV with image_id, split and modality")
    parser.add_argument("--model", default="nuclei", help="a model in the box")
    parser.add_argument("--second", default="nuclei-fast", help="another, to average with")
    arguments = parser.parse_args()
    _, val, test = datasets.read(arguments.data).prepare().split_by(arguments.splits)
    segmenter = Segmenter.from_pretrained(arguments.model)
    ways = other_ways(segmenter, Segmenter.from_pretrained(arguments.second))
    tables: dict[str, list[dict[str, object]]] = {}
    remedies: dict[str, dict[str, object]] = {way: {"way": way} for way in ways}
    bound: dict[str, object] = {"way": "bound: the best thresholds for each image"}
    for name, data in (("val", val), ("test", test)):
        for way, find in ways.items():
            pairs = [(sample.labels.astype(np.int64), find(sample.image).astype(np.int64)) for sample in data]
            remedies[way] |= {f"{score}, {name}": value for score, value in scores(pairs).items()}
            if name == "test" and way == "as shipped":
                tables = kinds_and_images(test, pairs) | {
                    "Images of doubtful truth": list(by_kind(test, pairs)),
                    "What each kind costs": list(costs(pairs)),
                }
        found = bound_of_thresholds(segmenter, data)
        bound |= {f"{score}, {name}": value for score, value in scores(found).items()}
    tables["Ways to do better without another training"] = [*remedies.values(), bound]
    keep("errors", "python benchmarks/errors.py stage1_train.zip --splits splits.csv", tables)


if __name__ == "__main__":
    main()
