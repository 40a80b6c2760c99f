"""The kinds of findings: what each is called, why it matters, and what to do."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KINDS", "Kind"]


class Kind(NamedTuple):
    """A kind of finding; ``unit`` is what its cases count, and ``fixable`` whether a copy can be mended."""

    title: str
    unit: tuple[str, str]
    meaning: str
    remedy: str
    fixable: bool = False


_IMAGE = ("image", "images")
_NUCLEUS = ("nucleus", "nuclei")

KINDS: dict[str, Kind] = {
    "missing_pair": Kind(
        "images without labels, or labels without an image",
        _IMAGE,
        "Reading stops at them.",
        "Add the missing files under the same name, or move the others elsewhere.",
    ),
    "unreadable": Kind(
        "files that cannot be read",
        _IMAGE,
        "Training stops at them.",
        "Export or download them again.",
    ),
    "size_mismatch": Kind(
        "image and labels differ in size",
        _IMAGE,
        "Their pixels do not belong together.",
        "Look for swapped, cropped, resized or turned files, and export the pair again.",
    ),
    "label_type": Kind(
        "labels that are not whole numbers in one channel",
        _IMAGE,
        "They were interpolated, coloured for display, or count below 0.",
        "Export the label image itself, as 16-bit PNG or TIFF; resize labels to the nearest pixel only.",
    ),
    "not_finite": Kind(
        "images with NaN or infinity",
        _IMAGE,
        "One such pixel turns the whole network into NaN.",
        "Replace them, for example with numpy.nan_to_num, or export the images again.",
    ),
    "constant_image": Kind(
        "images of one value",
        _IMAGE,
        "There is nothing to see in them.",
        "Look at the original: the wrong channel or an empty plane may have been exported. Else leave them out.",
    ),
    "all_foreground": Kind(
        "labels that cover the background",
        _IMAGE,
        "The mask is inverted, or background has a number of its own.",
        "Give background the value 0 and nuclei all others.",
    ),
    "damaged_labels": Kind(
        "labels damaged by interpolation or JPEG",
        _IMAGE,
        "Along the contours lie strips of numbers that belong to no nucleus.",
        "Export the labels again as PNG or TIFF; resize them to the nearest pixel only (order 0).",
    ),
    "binary_mask": Kind(
        "masks instead of one label for each nucleus",
        _IMAGE,
        "Nuclei that touch are one. Masks do for semantic heads, not for counting nuclei.",
        "Export instance labels if there are any; else separate touching nuclei by hand.",
        True,
    ),
    "leakage": Kind(
        "the same image in several splits",
        _IMAGE,
        "Scores on such images tell what was learned by heart.",
        "Put all copies into one split, or delete all but one.",
    ),
    "duplicates": Kind(
        "the same image several times",
        _IMAGE,
        "It counts twice in training, and a random split may put the copies on both sides.",
        "Delete all but one; compare their labels first, they may differ.",
    ),
    "pieces": Kind(
        "labels in several pieces",
        _NUCLEUS,
        "Two nuclei share a number, or a stray pixel has one.",
        "Give each piece its own label, and delete stray pixels; --fix does so.",
        True,
    ),
    "holes": Kind(
        "holes in nuclei",
        ("hole", "holes"),
        "Networks learn to leave them out, and areas come out too small.",
        "Fill them; --fix does so.",
        True,
    ),
    "specks": Kind(
        "labels too small for a nucleus",
        _NUCLEUS,
        "Left over from drawing or cropping, each counts as a whole nucleus in scores.",
        "Delete them; --fix does so.",
        True,
    ),
    "overlaps": Kind(
        "masks that overlap",
        ("pair of masks", "pairs of masks"),
        "The later mask wins and the earlier loses pixels.",
        "Draw them side by side; delete one if both are the same nucleus.",
    ),
    "unrelated": Kind(
        "labels that do not lie on what is seen",
        _IMAGE,
        "Nuclei are no brighter and no darker than the rest: the labels may be of another image, shifted or turned.",
        "Draw them over the image. Pair and export again what does not fit; nuclei told by texture alone may be right.",
    ),
    "empty_masks": Kind(
        "masks without a pixel",
        ("mask", "masks"),
        "The table of masks counts more nuclei than there are.",
        "Delete the files or rows, or draw what is missing; --fix leaves no gap for them.",
        True,
    ),
    "empty_image": Kind(
        "images without nuclei",
        _IMAGE,
        "Good if there are none to be seen; else the network learns to overlook them.",
        "Look at them, and label or remove those that show nuclei.",
    ),
    "saturated": Kind(
        "saturated images",
        _IMAGE,
        "Bright parts are cut off at the highest value, and with them texture and the gaps between nuclei.",
        "Expose for a shorter time, or export with the full range (16 bits, no contrast stretch).",
    ),
    "mixed_types": Kind(
        "images of different types",
        _IMAGE,
        "Types or numbers of channels differ from most others, which hints at different exports.",
        "Export all in one way. Training scales each image by itself and can do with it.",
    ),
    "size_outlier": Kind(
        "nuclei of wildly different size",
        _IMAGE,
        "Another magnification, pixel size, or labels of something else.",
        "Check the magnification; resize these images so that nuclei are about as large as in the others.",
    ),
    "brightness_outlier": Kind(
        "images of wildly different brightness",
        _IMAGE,
        "Another exposure, or another range of values in the same type.",
        "Keep the scaling 'percentile' (the default), which evens it out; look at whether anything is to be seen.",
    ),
    "cut_nuclei": Kind(
        "nuclei that crops or borders cut",
        _NUCLEUS,
        "What is never seen whole is learned and measured as parts.",
        "Train with a larger crop, resize the images, or cut larger images from the originals.",
    ),
    "imbalance": Kind(
        "groups of very different size",
        ("group", "groups"),
        "The network learns little from the rare ones, and pooled scores hide it.",
        "Train with balance (--balance), report scores by group, and collect more of the rare ones.",
    ),
    "small_labels": Kind(
        "labels far smaller than the others in their image",
        _NUCLEUS,
        "Micronuclei or debris; each counts as a whole nucleus in scores.",
        "Look whether they are meant. Delete them, or leave small ones out with min_area when predicting.",
    ),
    "id_gaps": Kind(
        "gaps in the numbers of labels",
        ("missing number", "missing numbers"),
        "Harmless here; programs that take the highest number for the count are wrong by it.",
        "Number the labels anew; --fix does so.",
        True,
    ),
}
