"""Make the gallery: real images, truth, outlines of what the model in the box finds, and the score.

    python docs/gallery.py stage1_train.zip --splits splits.csv

Test images are taken at fixed quantiles of the average precision at IoU .5, the worst one included, so that nobody
chooses. Writes docs/gallery.md and small pictures in docs/images/gallery.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import skimage.data
from PIL import Image

from nucleiseg import PredictOptions, Segmenter, datasets
from nucleiseg.images import overlay, rescale, to_rgb
from nucleiseg.inference import Prediction

DOCS = Path(__file__).parent
FOLDER = DOCS / "images" / "gallery"
QUANTILES = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1, 0.0)
NAMES = ("best", "upper tenth", "upper quartile", "median", "lower quartile", "lower tenth", "worst")
LONGEST = 360  # pixels of a picture's longer side
GAP = 6
EXACT = PredictOptions(precision="float32")  # as on machines that know no other

HEAD = """# Gallery

What the model in the box makes of images that it has never seen: one page, nothing chosen by hand. Each picture shows
the image, the true nuclei and those that were found. `python docs/gallery.py stage1_train.zip --splits splits.csv`
makes this page.

## Test images, from best to worst

The {number} images of `test` with nuclei in them, sorted by their average precision at an IoU of .5; these stand at
fixed quantiles.

"""

CREDIT = """
*Small pictures derived from the 2018 Data Science Bowl's images (Broad Institute, BBBC038, CC0; masks corrected by
the community, CC0).*

## Colon tissue

scikit-image's immunohistochemistry picture, for which there are no true labels: the image, and the {count} nuclei
found with the model's own thresholds (in float32). Brown nuclei lie in blue ones' company, some out of focus: look for
what is missed.

![Colon tissue, and the same with outlines](images/gallery/tissue.jpg)

*Center for Microscopy and Molecular Imaging; no known copyright restrictions.*
"""


def side_by_side(pictures: Sequence[npt.NDArray[np.uint8]]) -> Image.Image:
    """RGB pictures of one size in a row, made small."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)][:-1]
    row = Image.fromarray(np.concatenate(parts, axis=1))
    factor = min(1.0, LONGEST / max(pictures[0].shape[:2]))
    if factor < 1:
        row = row.resize((round(row.width * factor), round(row.height * factor)), Image.Resampling.LANCZOS)
    return row


def as_rgb(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """As bright as the network sees it."""
    scaled = to_rgb(rescale(image))
    return (scaled * 255).round().astype(np.uint8)


def main() -> None:
    """Write the page and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the DSB2018 stage1_train.zip")
    parser.add_argument("--splits", required=True)
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    segmenter = Segmenter.from_pretrained("nuclei")
    *_, test = datasets.read(arguments.data).split_by(arguments.splits)
    found: dict[str, tuple[datasets.Sample, Prediction]] = {}
    evaluation = segmenter.evaluate(
        test, EXACT, watch=lambda sample, result: found.update({sample.id: (sample, result)})
    )
    table = evaluation.per_image().query("nuclei > 0").sort_values(["ap50", "id"]).reset_index(drop=True)

    text = HEAD.format(number=len(table))
    for quantile, name in zip(QUANTILES, NAMES, strict=True):
        chosen = table.iloc[round(quantile * (len(table) - 1))]
        sample, result = found[chosen["id"]]
        image = as_rgb(sample.image)
        pictures = [image, overlay(image, sample.labels), overlay(image, result.labels)]
        file = FOLDER / f"{name.replace(' ', '_')}.jpg"
        side_by_side(pictures).save(file, quality=88)
        text += (
            f"**{name}**: AP {chosen['ap50']:.2f}, Dice {chosen['dice']:.2f}; {chosen['nuclei']} nuclei, "
            f"{result.count} found; `{chosen['id'][:8]}`\n\n"
            f"![The image, its true nuclei, and the nuclei found]({file.relative_to(DOCS).as_posix()})\n\n"
        )
    tissue = skimage.data.immunohistochemistry()
    result = segmenter.predict(tissue, EXACT)
    side_by_side([tissue, result.overlay()]).save(FOLDER / "tissue.jpg", quality=88)
    (DOCS / "gallery.md").write_text(text.rstrip() + "\n" + CREDIT.format(count=result.count), encoding="utf-8")


if __name__ == "__main__":
    main()
