"""Score two folders of label images, whoever made them: no model, no TensorFlow.

    python examples/metrics_only.py truth/ predicted/ -o scores.csv

Files belong together where their names are the same, less their suffixes. 0 is background, every nucleus has a number,
whichever. `docs/metrics.md` says what each score means and what it hides.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nucleiseg.images import find_images, read_image
from nucleiseg.inference import Evaluation, ImageScore
from nucleiseg.instances import count_overlap, find_errors, match


def find_pairs(truth: Path, predicted: Path) -> dict[str, tuple[Path, Path]]:
    """The files of two folders by what they have in common, their stem."""
    true_files, predicted_files = ({path.stem: path for path in find_images([folder])} for folder in (truth, predicted))
    if true_files.keys() != predicted_files.keys():
        lonely = sorted(true_files.keys() ^ predicted_files.keys())
        raise SystemExit(f"each file needs one of the same name in the other folder; alone: {', '.join(lonely)}")
    return {stem: (path, predicted_files[stem]) for stem, path in true_files.items()}


def main() -> None:
    """Match the nuclei of every pair, then score all of them together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("truth", type=Path, help="folder of true labels, PNG or TIFF")
    parser.add_argument("predicted", type=Path, help="folder of predicted labels")
    parser.add_argument("-o", "--output", type=Path, default=Path("scores.csv"), help="scores of each image")
    arguments = parser.parse_args()

    scores = []
    for stem, paths in find_pairs(arguments.truth, arguments.predicted).items():
        truth, predicted = (read_image(path) for path in paths)
        counts = match(truth, predicted)  # counts add up over images; scores are derived from them in the end
        scores.append(ImageScore(stem, "", counts))
        missed = find_errors(count_overlap(truth, predicted)).missed
        print(f"{stem}: AP at an IoU of .5 is {counts.average_precision(0.5):.3f}; missed {list(map(int, missed))}")

    evaluation = Evaluation(scores)
    print(f"\n{evaluation}\n")
    if len(scores) > 1:
        low, high = evaluation.intervals(["ap50"])["all"]["ap50"]
        print(f"95 % of the draws of other images of this kind have an ap50 from {low:.3f} to {high:.3f}")
    evaluation.write_per_image(arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
