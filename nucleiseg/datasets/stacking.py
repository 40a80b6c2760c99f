"""All samples of a dataset as two arrays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nucleiseg._checks import check_count
from nucleiseg.datasets.records import Array
from nucleiseg.datasets.sample import Sample
from nucleiseg.errors import InvalidInputError
from nucleiseg.images.channels import to_rgb

__all__ = ["stack_samples"]


def stack_samples(samples: Iterable[Sample], size: tuple[int, int] | None) -> tuple[Array, NDArray[np.int32]]:
    """See `Dataset.to_arrays`."""
    if size is not None:
        size = (check_count(size[0], "height"), check_count(size[1], "width"))
    images, labels = [], []
    for sample in samples:
        images.append(_resize_image(to_rgb(sample.image), size))
        labels.append(_resize_labels(sample.labels, size))
        if images[-1].dtype != images[0].dtype:
            raise InvalidInputError(
                f"images must be of one type, got {images[0].dtype} and {images[-1].dtype} ({sample.id!r}); "
                "rescale them one by one with nucleiseg.images.rescale"
            )
        if images[-1].shape != images[0].shape:
            raise InvalidInputError(
                f"images must be of one size, got {images[0].shape[:2]} and {images[-1].shape[:2]} ({sample.id!r}); "
                "pass size=(height, width) to resize them"
            )
    if not images:
        raise InvalidInputError("to_arrays needs at least one sample, the dataset is empty; check how it was selected")
    return np.stack(images), np.stack(labels)


def _resize_image(image: Array, size: tuple[int, int] | None) -> Array:
    if size is None or image.shape[:2] == size:
        return image
    from PIL import Image

    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    if image.dtype.kind in "iu" and image.dtype.itemsize > 2:
        return _resize_wide(image, size)
    if image.dtype.kind == "f" and image.dtype.itemsize > 4 and np.isfinite(image).all():  # else NaN would spread
        return _resize_doubles(image, size).astype(image.dtype)
    # Pillow resizes other types one channel at a time, as float; 16-bit values are exact in it.
    planes = [
        np.asarray(Image.fromarray(image[..., c].astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR))
        for c in range(3)
    ]
    resized = np.stack(planes, axis=-1)
    if image.dtype.kind in "bui":
        resized = np.round(resized)
    return resized.astype(image.dtype)


def _resize_wide(image: Array, size: tuple[int, int]) -> Array:
    """As Pillow does, in double precision: its floats round 32-bit values, the largest beyond what the type holds."""
    resized = np.round(_resize_doubles(image, size))
    limits = np.iinfo(image.dtype)
    whole = np.clip(resized, limits.min, np.nextafter(float(limits.max), 0)).astype(image.dtype)
    whole[resized >= limits.max] = limits.max  # by itself, as a float64 rounds the end of 64 bits up
    return whole


def _resize_doubles(image: Array, size: tuple[int, int]) -> NDArray[np.float64]:
    rows, columns = (_weigh(old, new) for old, new in zip(image.shape[:2], size, strict=True))
    return np.moveaxis(rows @ np.moveaxis(image, -1, 0).astype(np.float64) @ columns.T, 0, -1)


def _weigh(old: int, new: int) -> NDArray[np.float64]:
    """What each old pixel counts in each new one, (new, old): a triangle, as wide as the larger of the two."""
    pixel = old / new
    distances = np.arange(old) + 0.5 - (np.arange(new)[:, None] + 0.5) * pixel
    weights: NDArray[np.float64] = np.maximum(0, 1 - np.abs(distances) / max(pixel, 1))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _resize_labels(labels: NDArray[np.int32], size: tuple[int, int] | None) -> NDArray[np.int32]:
    if size is None or labels.shape == size:
        return labels
    # Centres of the new pixels in the old grid, as the images are resized.
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for new, old in zip(size, labels.shape, strict=True)
    )
    resized: NDArray[np.int32] = labels[rows[:, None], columns]
    return resized
