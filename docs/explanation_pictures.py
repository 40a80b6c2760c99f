"""Make the pictures of the page on heads, from an image that scikit-image ships and the model in the box.

python docs/explanation_pictures.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import skimage.data
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter
from skimage.transform import rescale

from nucleiseg import PredictOptions, Segmenter
from nucleiseg.engines import KerasEngine
from nucleiseg.images import colour_labels
from nucleiseg.inference import predict_maps
from nucleiseg.instances import split_by_distance
from nucleiseg.training import get_target

IMAGES = Path(__file__).parent / "images"
ENLARGED = 2  # as nucleiseg demo does; nuclei are small in this image
CROP = np.s_[490:610, 420:540]  # of the enlarged image: between two glands of the colon, where nuclei touch
SMOOTHING = 1.5  # of the decoders `distance` and `contact`

# Background, interior, boundary: told apart without colour vision, too.
CLASSES = np.array([[0.93, 0.93, 0.93], [0.0, 0.45, 0.70], [0.90, 0.62, 0.0]])


def as_colours(values: npt.NDArray[Any], name: str = "viridis") -> npt.NDArray[Any]:
    """A map in [0, 1] as colours."""
    return mpl.colormaps[name](np.clip(values, 0, 1))[..., :3]


def draw(panels: dict[str, npt.NDArray[Any]], path: Path) -> None:
    """Pictures side by side, their pixels seen as squares."""
    figure = Figure(figsize=(2.0 * len(panels), 2.45), dpi=110, layout="constrained")
    for axes, (title, picture) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    """Write both pictures."""
    tissue = rescale(skimage.data.immunohistochemistry(), ENLARGED, order=1, channel_axis=-1)
    segmenter, options = Segmenter.from_pretrained("nuclei"), PredictOptions(scale=1, tta=True, precision="float32")
    labels = segmenter.predict(tissue, options).labels[CROP]
    image = tissue[CROP]
    classes = get_target("boundary")(labels)
    between = classes[..., 2] > 1
    weights = CLASSES[classes.argmax(axis=-1)]
    weights[between] = (0.80, 0.20, 0.0)
    draw(
        {
            "image": image,
            "labels": colour_labels(labels),
            "semantic: mask": as_colours(get_target("mask")(labels)[..., 0], "gray"),
            "boundary: three classes": weights,
            "distance: depth": as_colours(get_target("distance")(labels)[..., 1]),
            "contact: where they meet": as_colours(get_target("contact")(labels)[..., 2], "gray"),
        },
        IMAGES / "heads_targets.png",
    )

    at = segmenter.thresholds
    maps = predict_maps(tissue, KerasEngine(segmenter.model), "percentile", options)[CROP]
    mask = maps[..., 0] > at["probability"]
    lowered = maps[..., 1] * (1 - maps[..., 2])
    depth = gaussian_filter(lowered, SMOOTHING, truncate=3)
    seeds = np.where(mask[..., np.newaxis], (0.55, 0.55, 0.55), (0.93, 0.93, 0.93))
    seeds[mask & (depth > at["seed"])] = CLASSES[1]
    found = split_by_distance(maps[..., 0], lowered, at["probability"], at["seed"], int(at["min_area"]), SMOOTHING)
    draw(
        {
            "map 1: probability": as_colours(maps[..., 0], "gray"),
            "map 2: depth": as_colours(maps[..., 1]),
            "map 3: contact": as_colours(maps[..., 2], "gray"),
            "depth, lowered, smoothed": as_colours(depth),
            "seeds in the mask": seeds,
            "nuclei": colour_labels(found),
        },
        IMAGES / "heads_decoding.png",
    )


if __name__ == "__main__":
    main()
