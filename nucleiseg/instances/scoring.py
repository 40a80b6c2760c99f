"""Scores of a set of images, by their names in tables and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

from nucleiseg.errors import InvalidInputError
from nucleiseg.instances.matching import THRESHOLDS, InstanceCounts

__all__ = ["score_images"]


def score_images(images: Sequence[InstanceCounts]) -> dict[str, float]:
    """Score a set of images together.

    Parameters
    ----------
    images : sequence of InstanceCounts
        Of `match`, one for each image, at least one, with the default thresholds.

    Returns
    -------
    dict of str to float
        ``images``, ``nuclei``, ``found``
            How many images, true nuclei and predicted nuclei.
        ``mean_dice``
            Mean over images of the Dice coefficient of the masks.
        ``dice``, ``iou``, ``pixel_accuracy``
            Of the masks, from the pixels of all images together.
        ``dsb``
            The 2018 Data Science Bowl's score [1]_: mean over images of the mean over thresholds of the average
            precision.
        ``ap50``, ``ap55``, ... ``ap95``
            Average precision tp / (tp + fp + fn) at an IoU of .5, .55, ..., from the nuclei of all images together, as
            are all the following.
        ``f1_50``, ``precision_50``, ``recall_50``, ``pq``, ``sq``, ``rq``
            F1, precision, recall, and panoptic quality with its factors, at an IoU of .5.
        ``aji``, ``aji_plus``
            Aggregated Jaccard index and its one-to-one variant.
        ``splits``, ``merges``, ``misses``, ``false_positives``, ``poor_outlines``
            How often each kind of error occurs; see `find_errors`.
        ``boundary_offset``, ``boundary_bias``
            How far the outlines of matched nuclei are off, in pixels; see `ErrorCounts`.

    Raises
    ------
    InvalidInputError
        If there is no image, or their thresholds differ or lack one of the default ones.

    References
    ----------
    .. [1] Caicedo et al.: Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl, Nature Methods
       16, 2019.

    Examples
    --------
    >>> from nucleiseg.instances import match
    >>> scores = score_images([match([[1, 1, 0]], [[5, 5, 0]]), match([[2, 2, 0]], [[7, 0, 0]])])
    >>> scores["images"], scores["dsb"], scores["ap50"], scores["ap55"]
    (2, 0.55, 1.0, 0.3333333333333333)
    """
    if not images:
        raise InvalidInputError("scores need at least one image, got none; check the dataset or the folders")
    pooled = reduce(add, images)
    half = pooled.at(0.5)
    return {
        "images": len(images),
        "nuclei": pooled.nuclei,
        "found": pooled.found,
        "mean_dice": sum(image.pixels.dice for image in images) / len(images),
        "dice": pooled.pixels.dice,
        "iou": pooled.pixels.iou,
        "pixel_accuracy": pooled.pixels.accuracy,
        "dsb": sum(image.mean_average_precision for image in images) / len(images),
        **{f"ap{threshold * 100:.0f}": pooled.average_precision(threshold) for threshold in THRESHOLDS},
        "f1_50": half.f1,
        "precision_50": half.precision,
        "recall_50": half.recall,
        "pq": half.panoptic_quality,
        "sq": half.segmentation_quality,
        "rq": half.recognition_quality,
        "aji": pooled.aji,
        "aji_plus": pooled.aji_plus,
        "splits": pooled.errors.splits,
        "merges": pooled.errors.merges,
        "misses": pooled.errors.misses,
        "false_positives": pooled.errors.false_positives,
        "poor_outlines": pooled.errors.poor_outlines,
        "boundary_offset": pooled.errors.boundary_offset,
        "boundary_bias": pooled.errors.boundary_bias,
    }
