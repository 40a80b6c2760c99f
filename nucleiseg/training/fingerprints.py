"""Which images a model was trained on, as a number that anyone who has them can compute again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from nucleiseg.training.pipeline import LabelledImages
from nucleiseg.training.taught import TaughtImages

__all__ = ["describe_images", "fingerprint"]


def fingerprint(data: LabelledImages) -> dict[str, Any]:
    """Number of images, and the SHA-256 of their ids, pixels and labels, in order.

    Every image is read once. The ids themselves are not kept, since a file name may tell whose tissue it is. Of images
    with a teacher, that and its share are told, too.

    Examples
    --------
    >>> from nucleiseg import datasets
    >>> data = datasets.from_arrays(np.zeros((3, 8, 8), np.uint8), np.zeros((3, 8, 8), int))
    >>> facts = fingerprint(data)
    >>> facts["images"], facts["sha256"][:8]
    (3, '614597e0')
    """
    digest = hashlib.sha256("\n".join(getattr(data, "ids", ())).encode(errors="surrogateescape"))
    for index in range(len(data)):
        sample = data[index]
        for array in (sample.image, sample.labels):
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
    facts = {"images": len(data), "sha256": digest.hexdigest()}
    return {**facts, "teacher": data.teacher, "share": data.share} if isinstance(data, TaughtImages) else facts


def describe_images(data: LabelledImages | Mapping[str, Any]) -> str:
    """The same, of images or of what `fingerprint` gave, in one line.

    Examples
    --------
    >>> from nucleiseg import datasets
    >>> describe_images(datasets.from_arrays(np.zeros((3, 8, 8), np.uint8), np.zeros((3, 8, 8), int)))
    '3 images with the fingerprint 614597e0'
    """
    facts = data if isinstance(data, Mapping) else fingerprint(data)
    taught = f", taught by {facts['teacher'][:8]} (share {facts['share']})" if "teacher" in facts else ""
    return f"{facts['images']} images with the fingerprint {facts['sha256'][:8]}{taught}"
