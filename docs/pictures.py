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
from nucleiseg.plotting import History, Row, plot_predictions

IMAGES = Path(__file__).parent / "images"
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


def main() -> None:
    """Write all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the DSB2018 stage1_train.zip")
    parser.add_argument("--splits", required=True)
    parser.add_argument("--history", required=True, help="the CSV of the training of the model in the box")
    arguments = parser.parse_args()

    segmenter = Segmenter.from_pretrained("nuclei")
    tissue = skimage.data.immunohistochemistry()
    overlay = segmenter.predict(tissue, PredictOptions(min_area=25, tta=True)).overlay()  # as nucleiseg demo does
    both = np.concatenate([tissue, np.full_like(tissue[:, :8], 255), overlay], axis=1)
    Image.fromarray(both).save(IMAGES / "demo_overlay.jpg", quality=92)
    segmenter.plot_architecture(IMAGES / "unet.png")
    segmenter.plot_architecture(IMAGES / "base_model.png", part="encoder")
    History.from_csv(arguments.history).plot(IMAGES / "curves.png")
    *_, test = datasets.read(arguments.data).split_by(arguments.splits)
    plot_predictions(contact_sheet(segmenter, test), IMAGES / "deployment.png")


if __name__ == "__main__":
    main()
