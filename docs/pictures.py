"""Make the pictures of README and documentation from the models in the box.

    python docs/pictures.py stage1_train.zip --splits splits.csv [--history nuclei_history.csv]
    python docs/pictures.py stage1_train.zip --splits splits.csv --model nuclei-fast

The second makes those of the page of `nuclei-fast` alone. Without a history, the curves of the training stay as they
are. The test images on the contact sheet are at fixed quantiles of the Dice coefficient, the worst one included. The
picture of failures shows the images with most errors, but for those whose truth is in doubt.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import skimage.data
from gallery import EXACT, as_rgb
from PIL import Image

from nucleiseg import Segmenter, datasets
from nucleiseg.datasets.doctor import Report
from nucleiseg.inference import Prediction
from nucleiseg.plotting import History, Row, draw_errors, plot_predictions
from nucleiseg.plotting._finding_pictures import picture_of
from nucleiseg.pretrained import list_pretrained

STRIP = 200  # pixels of height of a strip of findings
WIDE, GAP = 440, 8  # pixels of a picture's width, and between pictures, where failures are shown
FAILURES = 3
KINDS = ["misses", "merges", "splits", "false_positives", "poor_outlines"]
Case = tuple[datasets.Sample, Prediction]
IMAGES = Path(__file__).parent / "images"
DOUBTFUL = {"d6a880b1": "marks on nothing", "0121d675": "broken marks"}  # test images whose truth is in doubt, and why
QUANTILES = {"best": 1.0, "upper quartile": 0.75, "median": 0.5, "lower quartile": 0.25, "worst": 0.0}


def judged(segmenter: Segmenter, test: datasets.Dataset) -> tuple[pd.DataFrame, dict[str, Case]]:
    """The scores of each image, and by its id the image and what was found in it."""
    found: dict[str, Case] = {}
    evaluation = segmenter.evaluate(
        test, EXACT, watch=lambda sample, result: found.update({sample.id: (sample, result)})
    )
    return evaluation.per_image(), found


def contact_sheet(scores: pd.DataFrame, found: Mapping[str, Case]) -> list[Row]:
    """Rows of image, true and predicted mask, from best to worst."""
    table = scores.sort_values(["dice", "id"]).reset_index(drop=True)
    rows = []
    for caption, quantile in QUANTILES.items():
        chosen = table.iloc[round(quantile * (len(table) - 1))]
        sample, result = found[chosen["id"]]
        rows.append(Row(f"{caption}: Dice {chosen['dice']:.3f}", sample.image, sample.labels, result.labels))
    return rows


def failures(scores: pd.DataFrame, found: Mapping[str, Case]) -> Image.Image:
    """The images with most errors, each beside what was found, false and missed in it."""
    sure = scores[~scores["id"].str[:8].isin(list(DOUBTFUL))]
    worst = sure.assign(errors=sure[KINDS].sum(axis=1)).sort_values(["errors", "id"], ascending=[False, True])
    rows = []
    for chosen in worst["id"][:FAILURES]:
        sample, result = found[chosen]
        errors = draw_errors(sample.image, sample.labels, result.labels)
        rows.append([as_wide(as_rgb(sample.image)), as_wide(errors.pixels)])
    sheet = Image.new("RGB", (2 * WIDE + GAP, sum(row[0].height + GAP for row in rows) - GAP), "white")
    top = 0
    for row in rows:
        for number, picture in enumerate(row):
            sheet.paste(picture, (number * (WIDE + GAP), top))
        top += row[0].height + GAP
    return sheet


def as_wide(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """A picture of the width that all have."""
    size = WIDE, round(WIDE * pixels.shape[0] / pixels.shape[1])
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)


def doubtful_truth(segmenter: Segmenter, test: datasets.Dataset) -> list[Row]:
    """Rows of image, true and predicted nuclei where the truth is in doubt."""
    chosen = {name[:8]: test.select([name])[0] for name in test.ids if name[:8] in DOUBTFUL}
    return [
        Row(caption, chosen[name].image, chosen[name].labels, segmenter.predict(chosen[name].image, EXACT).labels)
        for name, caption in DOUBTFUL.items()
    ]


def finding_strip(report: Report, data: datasets.Dataset, kind: str) -> Image.Image:
    """The first cases of a finding, as the report of ``nucleiseg check`` shows them, in a row."""
    finding = next(finding for finding in report.findings if finding.kind == kind)
    pictures = [picture_of(finding, case, data) for case in finding.cases[:4]]
    small = [
        Image.fromarray(picture).resize(
            (round(STRIP * picture.shape[1] / picture.shape[0]), STRIP), Image.Resampling.BOX
        )
        for picture in pictures
        if picture is not None
    ]
    strip = Image.new("RGB", (sum(picture.width for picture in small) + 4 * (len(small) - 1), STRIP), "white")
    left = 0
    for picture in small:
        strip.paste(picture, (left, 0))
        left += picture.width + 4
    return strip


def main() -> None:
    """Write all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the DSB2018 stage1_train.zip")
    parser.add_argument("--splits", required=True)
    parser.add_argument("--model", default="nuclei", choices=list_pretrained())
    parser.add_argument("--history", help="the CSV of the last training of the model nuclei")
    arguments = parser.parse_args()

    segmenter = Segmenter.from_pretrained(arguments.model)
    data = datasets.read(arguments.data)
    *_, test = data.with_metadata(arguments.splits).split_by(arguments.splits)
    ending = "" if arguments.model == "nuclei" else f"_{arguments.model}"
    scores, found = judged(segmenter, test)
    plot_predictions(contact_sheet(scores, found), IMAGES / f"deployment{ending}.png")
    failures(scores, found).save(IMAGES / f"failures{ending}.jpg", quality=85)
    if arguments.model == "nuclei":
        pictures_of_default(segmenter, data, test, arguments.history)


def pictures_of_default(
    segmenter: Segmenter, data: datasets.Dataset, test: datasets.Dataset, history: str | None
) -> None:
    """Those of the default model and of the data that no other model needs anew."""
    tissue = skimage.data.immunohistochemistry()
    overlay = segmenter.predict(tissue, replace(EXACT, scale=2, tta=True)).overlay()  # as nucleiseg demo does
    both = np.concatenate([tissue, np.full_like(tissue[:, :8], 255), overlay], axis=1)
    Image.fromarray(both).save(IMAGES / "demo_overlay.jpg", quality=92)
    transferred = Segmenter("mobilenet_v2", "imagenet")  # what the page on training explains
    transferred.plot_architecture(IMAGES / "unet.png")
    transferred.plot_architecture(IMAGES / "base_model.png", part="encoder")
    segmenter.plot_architecture(IMAGES / "nuclei_unet.png")
    if history:
        History.from_csv(history).plot(IMAGES / "curves.png")
    report = datasets.check(data)
    for kind in ("holes", "small_labels"):
        finding_strip(report, data, kind).save(IMAGES / f"check_{kind}.png")
    plot_predictions(doubtful_truth(segmenter, test), IMAGES / "doubtful_truth.png")


if __name__ == "__main__":
    main()
