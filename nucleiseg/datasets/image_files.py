"""Reading the image file of a sample: pictures as they are, microscopy files as `ReadOptions` say."""

from __future__ import annotations

from nucleiseg.datasets.records import Array, read_file
from nucleiseg.images.decoding import decode_image
from nucleiseg.images.read_options import ReadOptions
from nucleiseg.images.reading import IMAGE_SUFFIXES, MICROSCOPE_SUFFIXES, read_image

__all__ = ["READABLE_SUFFIXES", "read_pixels"]

READABLE_SUFFIXES = (*IMAGE_SUFFIXES, *MICROSCOPE_SUFFIXES)


def read_pixels(path: str, reading: ReadOptions | None) -> Array:
    """The part of an image file that shows the nuclei, (H, W) or (H, W, C), in the file's own type.

    Raises
    ------
    DatasetError
        If the file is gone or may not be read.
    ImageFileError
        If it cannot be decoded, or it is left open which part of it to use.
    """
    if reading is None and path.lower().endswith(IMAGE_SUFFIXES):
        return decode_image(read_file(path), path)  # one look at the disk; folders have tens of thousands of files
    return read_image(path, reading)
