"""Images: files to arrays, scaling, masks, tiles and overlays. NumPy, SciPy and scikit-image only."""

from nucleiseg.images.binarizers import binarize, list_binarizers, register_binarizer, unbinarize
from nucleiseg.images.channels import to_rgb
from nucleiseg.images.label_colours import colour_labels
from nucleiseg.images.lazy import LazyImage, open_lazy
from nucleiseg.images.micrograph import Micrograph, as_micrograph
from nucleiseg.images.overlay import overlay
from nucleiseg.images.quality import judge_image, sharpness
from nucleiseg.images.read_options import ReadOptions
from nucleiseg.images.reading import find_images, read_image, read_micrograph
from nucleiseg.images.scaling import (
    apply_range,
    list_scalings,
    register_scaling,
    rescale,
    scaling_range,
)
from nucleiseg.images.tiling import Tile, Tiling, pad_to_multiple, tiles

__all__ = [
    "LazyImage",
    "Micrograph",
    "ReadOptions",
    "Tile",
    "Tiling",
    "apply_range",
    "as_micrograph",
    "binarize",
    "colour_labels",
    "find_images",
    "judge_image",
    "list_binarizers",
    "list_scalings",
    "open_lazy",
    "overlay",
    "pad_to_multiple",
    "read_image",
    "read_micrograph",
    "register_binarizer",
    "register_scaling",
    "rescale",
    "scaling_range",
    "sharpness",
    "tiles",
    "to_rgb",
    "unbinarize",
]
