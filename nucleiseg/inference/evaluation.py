"""How good predicted masks are: counts per image, scores per group and over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances import PixelCounts

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ImageScore:
    """Counts of one image.

    Parameters
    ----------
    id : str
        Of the image.
    group : str
        What scores are reported for separately, such as the modality; "" for none.
    counts : PixelCounts
        True and false pixels of the mask.
    nuclei, found : int
        True and predicted nuclei.

    Examples
    --------
    >>> ImageScore("a", "", PixelCounts(tp=8, fp=2, fn=2, tn=88), nuclei=1, found=1).counts.dice
    0.8
    """

    id: str
    group: str
    counts: PixelCounts
    nuclei: int
    found: int


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set of images. Prints as a table.

    ``mean_dice`` is the mean over images of each image's Dice coefficient; ``dice``, ``iou`` and ``pixel_accuracy`` are
    taken from the counts of all pixels together, so large images weigh more.

    Parameters
    ----------
    images : sequence of ImageScore
        At least one.

    Examples
    --------
    >>> score = ImageScore("a", "", PixelCounts(tp=8, fp=2, fn=2, tn=88), nuclei=1, found=1)
    >>> print(Evaluation([score]))
         images  mean_dice  dice     iou  pixel_accuracy  nuclei  found
    all       1        0.8   0.8  0.6667            0.96       1      1
    """

    images: Sequence[ImageScore]

    def __post_init__(self) -> None:
        if not self.images:
            raise InvalidInputError("an evaluation needs at least one image, got none; check the split and the dataset")

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Scores by group name; ``"all"`` is over all images."""
        groups = sorted({image.group for image in self.images} - {""})
        parts = {group: [image for image in self.images if image.group == group] for group in groups}
        return {**{group: _scores(part) for group, part in parts.items()}, "all": _scores(self.images)}

    def table(self) -> pd.DataFrame:
        """`to_dict` as a table: a row for each group and one for all."""
        import pandas as pd

        return pd.DataFrame.from_dict(self.to_dict(), orient="index")

    def per_image(self) -> pd.DataFrame:
        """One row an image: id, group, Dice, IoU, accuracy, nuclei, found."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "id": image.id,
                    "group": image.group,
                    "dice": image.counts.dice,
                    "iou": image.counts.iou,
                    "pixel_accuracy": image.counts.accuracy,
                    "nuclei": image.nuclei,
                    "found": image.found,
                }
                for image in self.images
            ]
        )

    def __str__(self) -> str:
        return self.table().round(4).to_string()


def _scores(images: Sequence[ImageScore]) -> dict[str, float]:
    pooled = reduce(add, (image.counts for image in images))
    return {
        "images": len(images),
        "mean_dice": sum(image.counts.dice for image in images) / len(images),
        "dice": pooled.dice,
        "iou": pooled.iou,
        "pixel_accuracy": pooled.accuracy,
        "nuclei": sum(image.nuclei for image in images),
        "found": sum(image.found for image in images),
    }
