"""One picture for a case of a finding: the place cut out and framed, or the images side by side."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nucleiseg.datasets import Dataset, Sample
from nucleiseg.datasets.doctor import Case, Finding
from nucleiseg.errors import NucleisegError
from nucleiseg.images.channels import to_rgb
from nucleiseg.images.overlay import overlay
from nucleiseg.images.scaling import rescale

__all__ = ["picture_of"]

Picture = npt.NDArray[np.uint8]

LONGEST = 360  # pixels of a side
_VIEW = 72  # pixels of the image around a place, at least
_GAP = 6
_FRAME = (213, 94, 0)  # the orange of the other pictures
_SIDE_BY_SIDE = ("leakage", "duplicates", "imbalance")
_NUMBERS = ("damaged_labels", "all_foreground", "binary_mask")
_PLAIN = ("saturated", "brightness_outlier", "mixed_types", "constant_image", "empty_image")


def picture_of(finding: Finding, case: Case, dataset: Dataset) -> Picture | None:
    """What to look at, (H, W, 3); None where nothing can be read."""
    samples = []
    for name in case.ids[: 3 if finding.kind in _SIDE_BY_SIDE else 1]:
        if name not in dataset.ids:
            return None
        try:
            samples.append(dataset.select([name])[0])
        except NucleisegError:
            return None
    pictures = [_enlarged(_drawn(finding.kind, case, sample)) for sample in samples]
    if finding.kind in _NUMBERS:
        pictures.insert(0, _enlarged(_cut(_plain(samples[0]), _view(case, samples[0]))))
    return _beside(pictures)


def _drawn(kind: str, case: Case, sample: Sample) -> Picture:
    if kind in _NUMBERS:
        return _cut(_coloured(sample.labels), _view(case, sample))
    if kind in _PLAIN or kind in _SIDE_BY_SIDE:
        return _plain(sample, stretched=kind != "brightness_outlier")
    outlined = overlay(np.nan_to_num(sample.image), sample.labels)
    return _cut(_framed(outlined, case.box), _view(case, sample)) if case.box else outlined


def _plain(sample: Sample, stretched: bool = True) -> Picture:
    image = np.nan_to_num(sample.image)
    return np.rint(rescale(to_rgb(image), "percentile" if stretched else "dtype") * 255).astype(np.uint8)


def _coloured(labels: npt.NDArray[np.int32]) -> Picture:
    """A colour for each number, so that strips of odd numbers are seen; background is black."""
    palette = np.random.default_rng(0).integers(70, 256, (257, 3), np.uint8)
    picture = palette[labels % 257]
    picture[labels == 0] = 0
    return np.asarray(picture, np.uint8)


def _view(case: Case, sample: Sample) -> tuple[slice, slice]:
    """A square around the place, as far as the image goes; all of the image without a place."""
    height, width = sample.labels.shape
    if case.box is None:
        return slice(0, height), slice(0, width)
    top, left, bottom, right = case.box
    side = max(_VIEW, 2 * max(bottom - top, right - left))
    slices = []
    for start, stop, length in ((top, bottom, height), (left, right, width)):
        low = min(max(0, (start + stop - side) // 2), max(0, length - side))
        slices.append(slice(low, min(length, low + side)))
    return slices[0], slices[1]


def _cut(picture: Picture, view: tuple[slice, slice]) -> Picture:
    return picture[view]


def _framed(picture: Picture, box: tuple[int, int, int, int] | None) -> Picture:
    if box is None:
        return picture
    framed = picture.copy()
    top, left = max(0, box[0] - 3), max(0, box[1] - 3)
    bottom, right = min(framed.shape[0] - 1, box[2] + 2), min(framed.shape[1] - 1, box[3] + 2)
    framed[[top, bottom], left : right + 1] = _FRAME
    framed[top : bottom + 1, [left, right]] = _FRAME
    return framed


def _enlarged(picture: Picture) -> Picture:
    """As large as fits, by whole factors up, so that pixels stay squares."""
    from PIL import Image

    longest = max(picture.shape[:2])
    if longest > LONGEST:
        size = [max(1, round(length * LONGEST / longest)) for length in picture.shape[1::-1]]
        return np.asarray(Image.fromarray(picture).resize((size[0], size[1]), Image.Resampling.LANCZOS))
    factor = LONGEST // longest
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _beside(pictures: list[Picture]) -> Picture:
    height = max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures) + _GAP * (len(pictures) - 1)
    sheet = np.full((height, width, 3), 255, np.uint8)
    column = 0
    for picture in pictures:
        sheet[: picture.shape[0], column : column + picture.shape[1]] = picture
        column += picture.shape[1] + _GAP
    return sheet
