"""The thresholds of the check, and why each has its value."""

from __future__ import annotations

from dataclasses import dataclass

from nucleiseg._checks import check_count, check_range

__all__ = ["CheckSettings"]


@dataclass(frozen=True)
class CheckSettings:
    """Where the check draws its lines.

    Parameters
    ----------
    speck_area : int
        A nucleus, or a piece of one, of fewer pixels is a speck. 9: a square of 3 x 3 is the smallest thing with a
        pixel inside its contour; the smallest of the 28,986 nuclei of the Data Science Bowl has 21.
    small_share : float
        A label of less than this share of the median area in its image is far smaller than the others. 0.03: a sixth of
        the usual diameter, which micronuclei and debris have. Judged from 4 nuclei on.
    fringe_share : float
        Labels are damaged if this share of their contour runs along strips nowhere 3 pixels thick. 0.25:
        interpolation and JPEG put strips along nearly all of it, drawn labels along at most 0.04 (Data Science Bowl).
    foreground_share : float
        A mask that covers this share of its image leaves nothing to learn background from. 0.98: the densest tissue of
        the Data Science Bowl covers 0.6, and a frame of 1 pixel is not background either.
    covering_share : float
        A label that covers this share and touches all four sides is background by another number. 0.5: more than half
        of a picture is what a single nucleus takes only when nothing else fits in.
    overlap_share : float
        Overlaps of this share of the smaller mask are worth a warning, smaller ones a note. 0.05: contours drawn side
        by side meet in a pixel here and there; a twentieth is no longer a matter of contours.
    contrast : float
        Labels do not lie on what is seen if nuclei differ by less from the rest, see `measure_contrast`: 0 for no
        difference, 1 where all pixels of nuclei are brighter, or all darker. 0.4: images of the Data Science Bowl have
        .8 and more; with the labels of another image, nine of ten have less than .3.
    saturated_share : float
        An image is saturated if this share of its pixels, or of its nuclei's, has the highest value that its type or
        camera can hold. 0.1: the brightest spots of good images clip too; a tenth means that texture is gone.
    duplicate_correlation : float
        Images whose 32 x 32 thumbnails, less uneven light, correlate so are near duplicates, turned or flipped ones
        too. 0.85: copies that were compressed, resized, blurred, brightened or moved by a pixel or two reach it; of the
        664 images of the Data Science Bowl two slices of one embryo have 0.97, all others less than 0.7.
    copy_correlation : float
        Near duplicates in two splits are an error from here on, a warning below. 0.98: what compression, noise and
        resizing leave; pictures of the same place at another time have less.
    size_ratio : float
        An image differs wildly if the median diameter of its nuclei is so many times that of the others. 4: the
        augmentation covers a factor of 1.5, and the levels of a U-Net two more halvings.
    brightness_ratio : float
        The same for brightness (99th percentile, as a share of the type's range). 8: three bits of eight, after which
        fewer than 32 grey levels remain.
    crop : int
        Height and width of the training crops, in pixels. 256, as in `nucleiseg.training.FitOptions`. A nucleus longer
        than half of that is whole in fewer than a quarter of the crops that hold its centre.
    border_share : float
        Nuclei are cut by the images' own borders if this share of them touches one. 0.5: then most of what is learned
        is parts. Judged from 4 nuclei on.
    imbalance_ratio : float
        Groups are unbalanced if the largest has so many times the images of the smallest. 10: in batches of 8 the
        smallest is then missing from every other one.
    group : str
        The metadata whose values are the groups.
    quick_samples : int
        Images that `Segmenter.fit` looks at before training, evenly spread. 32: a tenth of a second to a second.

    Examples
    --------
    >>> CheckSettings(crop=512).speck_area
    9
    """

    speck_area: int = 9
    small_share: float = 0.03
    fringe_share: float = 0.25
    foreground_share: float = 0.98
    covering_share: float = 0.5
    overlap_share: float = 0.05
    contrast: float = 0.4
    saturated_share: float = 0.1
    duplicate_correlation: float = 0.85
    copy_correlation: float = 0.98
    size_ratio: float = 4.0
    brightness_ratio: float = 8.0
    crop: int = 256
    border_share: float = 0.5
    imbalance_ratio: float = 10.0
    group: str = "modality"
    quick_samples: int = 32

    def __post_init__(self) -> None:
        check_count(self.speck_area, "speck_area", 0)
        check_count(self.crop, "crop")
        check_count(self.quick_samples, "quick_samples")
        for name in ("small", "fringe", "foreground", "covering", "overlap", "saturated", "border"):
            check_range(getattr(self, f"{name}_share"), f"{name}_share", 0, 1)
        check_range(self.contrast, "contrast", 0, 1)
        for name in ("duplicate", "copy"):
            check_range(getattr(self, f"{name}_correlation"), f"{name}_correlation", 0, 1)
        for name in ("size", "brightness", "imbalance"):
            check_range(getattr(self, f"{name}_ratio"), f"{name}_ratio", 1, float("inf"))
