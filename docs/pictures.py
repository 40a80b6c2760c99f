"""Make the pictures of README and documentation from the model in the box.

    python docs/pictures.py stage1_train.zip --splits splits.csv --history nuclei_history.csv

The test images on the contact sheet are at fixed quantiles of the Dice coefficient, the worst one included.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from nucleiseg import PredictOptions, Segmenter, datasets
from nucleiseg.datasets.doctor import Report
from nucleiseg.plotting import History, Row, plot_predictions
from nucleiseg.plotting._finding_pictures import picture_of

STRIP = 200  # pixels of height of a strip of findings
IMAGES = Path(__file__).parent / "images"
DOUBTFUL = {"d6a880b1": "marks on nothing", "0121d675": "broken marks"}  # test images whose truth is in doubt, and why
QUANTILES = {"best": 1.0, "upper quartile": 0.75, "median": 0.5, "lower quartile": 0.25, "worst": 0.0}


def contact_sheet(segmenter: Segmenter, test: datasets.Dataset) -> list[Row]:
    """Rows of image, true and predicted mask, from best to worst."""
    table = segmenter.evaluate(test).per_image().sort_values(["dice", "id"]).reset_index(drop=True)
    rows = []
    for caption, quantile in QUANTILES.items():
        chosen = table.iloc[round(quantile * (len(table) - 1))]
        sample = test.select([chosen["id"]])[0]
        found = segmenter.predict(sample.image)
        rows.append(Row(f"{caption}: Dice {chosen['dice']:.3f}", sample.image, sample.labels, found.labels))
    return rows


def doubtful_truth(segmenter: Segmenter, test: datasets.Dataset) -> list[Row]:
    """Rows of image, true and predicted nuclei where the truth is in doubt."""
    chosen = {name[:8]: test.select([name])[0] for name in test.ids if name[:8] in DOUBTFUL}
    return [
        Row(caption, chosen[name].image, chosen[name].labels, segmenter.predict(chosen[name].image).labels)
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
    parser.add_argument("--history", required=True, help="the CSV of the training of the model in the box")
    arguments = parser.parse_args()

    segmenter = Segmenter.from_pretrained("nuclei")
    tissue = skimage.data.immunohistochemistry()
    overlay = segmenter.predict(tissue, PredictOptions(scale=2, tta=True)).overlay()  # as nucleiseg demo does
    both = np.concatenate([tissue, np.full_like(tissue[:, :8], 255), overlay], axis=1)
    Image.fromarray(both).save(IMAGES / "demo_overlay.jpg", quality=92)
    transferred = Segmenter("mobilenet_v2", "imagenet")  # what the page on training explains
    transferred.plot_architecture(IMAGES / "unet.png")
    transferred.plot_architecture(IMAGES / "base_model.png", part="encoder")
    segmenter.plot_architecture(IMAGES / "nuclei_unet.png")
    History.from_csv(arguments.history).plot(IMAGES / "curves.png")
    data = datasets.read(arguments.data)
    report = datasets.check(data)
    for kind in ("holes", "small_labels"):
        finding_strip(report, data, kind).save(IMAGES / f"check_{kind}.png")
    *_, test = data.split_by(arguments.splits)
    plot_predictions(contact_sheet(segmenter, test), IMAGES / "deployment.png")
    plot_predictions(doubtful_truth(segmenter, test), IMAGES / "doubtful_truth.png")


if __name__ == "__main__":
    main()
