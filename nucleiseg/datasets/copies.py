"""Images that are copies of others, to the last bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from nucleiseg.datasets.records import Array
from nucleiseg.datasets.sample import Sample

__all__ = ["find_copies", "group_copies", "image_digest"]


def image_digest(image: Array) -> bytes:
    """16 bytes by which equal images, of one type and shape, are known.

    Examples
    --------
    >>> image_digest(np.zeros((2, 3), np.uint8)) == image_digest(np.zeros((3, 2), np.uint8))
    False
    """
    person = f"{image.dtype}{image.shape}".encode()[:16]
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16, person=person).digest()


def find_copies(samples: Iterable[Sample]) -> dict[bytes, list[str]]:
    """Ids of the samples with the same image, by its digest. Constant images are left out, since they all look alike.

    Examples
    --------
    >>> eye, ground = np.eye(2), np.zeros((2, 2))
    >>> samples = [Sample(name, image, ground.astype(np.int32), {}) for name, image in zip("abcd", [eye, ground] * 2)]
    >>> list(find_copies(samples).values())
    [['a', 'c']]
    """
    groups: dict[bytes, list[str]] = {}
    for sample in samples:
        if (sample.image != sample.image.flat[0]).any():
            groups.setdefault(image_digest(sample.image), []).append(sample.id)
    return groups


def group_copies(samples: Iterable[Sample], ids: Iterable[str]) -> dict[str, list[str]]:
    """Each different image by the first of its ids, with all of them.

    Examples
    --------
    >>> samples = [Sample(name, np.eye(2), np.zeros((2, 2), np.int32), {}) for name in "ab"]
    >>> group_copies(samples, "ab")
    {'a': ['a', 'b']}
    """
    later = {name: names[0] for names in find_copies(samples).values() for name in names[1:]}
    groups: dict[str, list[str]] = {}
    for name in ids:
        groups.setdefault(later.get(name, name), []).append(name)
    return groups
