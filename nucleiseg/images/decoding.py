"""The bytes of image files (PNG, JPEG, BMP, TIFF) to arrays."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin

from nucleiseg._checks import describe
from nucleiseg._png import SIGNATURE
from nucleiseg.errors import ImageFileError, LabelTypeError
from nucleiseg.images._pillow import check_pixels, pillow_to_array, unstretched
from nucleiseg.images._png16 import decode_png16, is_png16_colour
from nucleiseg.images.micrograph import flatten
from nucleiseg.images.read_options import MAX_PIXELS, ReadOptions

__all__ = ["MAX_PIXELS", "decode_image", "decode_labels", "decode_mask", "is_tiff", "undecodable"]

Array = NDArray[Any]

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_GREY = 0
_CROPPED_BY_PILLOW = 2**24  # pixels; Pillow warns when it crops to far more
# The plugin classes rather than Image.open: that one warns about large images, and warnings cannot be silenced for one
# thread alone. They are also quicker on the tens of thousands of small masks of a dataset.
_PILLOW_STARTS: dict[bytes, Callable[[BytesIO], Image.Image]] = {
    SIGNATURE: PngImagePlugin.PngImageFile,
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
}


def decode_image(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Array:
    """Decode the bytes of an image file; the format is told by content, ``name`` is for messages.

    Returns, limits and errors are those of `nucleiseg.images.reading.read_image`.

    Examples
    --------
    >>> from io import BytesIO
    >>> from PIL import Image
    >>> file = BytesIO()
    >>> Image.new("RGB", (4, 3)).save(file, "png")
    >>> decode_image(file.getvalue(), "black.png").shape
    (3, 4, 3)
    """
    return _decode(data, name, max_pixels, palette_to_colour=True)


def decode_labels(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Array:
    """Decode the bytes of a label or mask image.

    A palette only says how labels are shown, so palette images give their indices, and grey PNGs of 2 or 4 bits the
    numbers that they store. Colour images whose channels are all equal (a mask saved as RGB) give that one channel;
    alpha is ignored.

    Returns and errors are those of `nucleiseg.images.reading.read_labels`.

    Examples
    --------
    >>> from io import BytesIO
    >>> from PIL import Image
    >>> file = BytesIO()
    >>> Image.new("P", (4, 3), 1).save(file, "png")
    >>> int(decode_labels(file.getvalue(), "labels.png").max())
    1
    """
    labels = _decode(data, name, max_pixels, palette_to_colour=False)
    if data.startswith(SIGNATURE) and data[25] == _PNG_GREY:
        labels = unstretched(labels, bits=data[24])
    if labels.ndim == 3:
        colours = labels[..., : labels.shape[2] - (labels.shape[2] in (2, 4))]
        if (colours != colours[..., :1]).any():
            raise LabelTypeError(
                f"{name}: labels must be one channel of whole numbers, got colours, {describe(labels)}; "
                "save label images as 16-bit grey PNG or TIFF"
            )
        labels = colours[..., 0]
    if labels.dtype.kind == "f" and (labels >= 0).all() and (labels <= 2**53).all() and (labels % 1 == 0).all():
        labels = labels.astype(np.int64)  # ImageJ has no other type for labels above 65,535
    if labels.dtype.kind not in "bui":
        raise LabelTypeError(
            f"{name}: labels must be whole numbers, got {describe(labels)}; save label images as 16-bit PNG or TIFF"
        )
    return labels


class Mask(NamedTuple):
    """A mask of one object, cut to the object; see `decode_mask`."""

    shape: tuple[int, int]
    start: tuple[int, int]
    inside: NDArray[np.bool_]
    grey: bool


def decode_mask(data: bytes, name: str) -> Mask:
    """Decode a mask of one object, and cut it to the object: most of such a mask is empty.

    Returns the (height, width) of the mask, the (row, column) where the object's box starts, the box as a bool array
    (of size 0 for an empty mask), and whether there are values between 0 and the highest, as interpolation and JPEG
    leave along outlines. Pixels above half of the highest value are inside.
    """
    if data.startswith(b"\x89PNG"):
        try:
            picture = PngImagePlugin.PngImageFile(BytesIO(data))
            check_pixels(picture.height, picture.width, name, MAX_PIXELS)
            if picture.mode in ("1", "L") and picture.width * picture.height <= _CROPPED_BY_PILLOW:
                box = picture.getbbox()
                found = (np.zeros((0, 0), bool), False) if box is None else _inside(picture.crop(box))
                return Mask((picture.height, picture.width), (box[1], box[0]) if box else (0, 0), *found)
        except ImageFileError:
            raise
        except Exception as error:
            raise undecodable(name, error) from error
    mask = decode_labels(data, name)
    return Mask((mask.shape[0], mask.shape[1]), (0, 0), *_above_half(mask))


def _inside(box: Image.Image) -> tuple[NDArray[np.bool_], bool]:
    if box.mode == "1":
        return np.asarray(box), False
    raw = box.tobytes()
    values = np.frombuffer(raw, np.uint8).reshape(box.height, box.width)
    if not raw.translate(None, b"\0\xff"):  # hardly any time, which counts with tens of thousands of masks
        return values != 0, False
    return _above_half(values)


def _above_half(values: Array) -> tuple[NDArray[np.bool_], bool]:
    highest = values.max(initial=0)
    grey = bool(((values != 0) & (values != highest)).any())
    return (values > highest // 2 if grey else values != 0), grey


def _decode(data: bytes, name: str, max_pixels: int, *, palette_to_colour: bool) -> Array:
    if not data:
        raise ImageFileError(f"{name}: the file is empty; copy it again from its source")
    try:
        if data.startswith(_TIFF_STARTS):
            from nucleiseg.images._tiff import read_tiff  # tifffile takes long to import; PNG needs none of it

            options = ReadOptions(max_pixels=max_pixels)
            stack = read_tiff(data, name, options, palette_to_colour=palette_to_colour)
            return flatten(stack, options).shown
        for start, plugin in _PILLOW_STARTS.items():
            if data.startswith(start):
                picture = plugin(BytesIO(data))
                check_pixels(picture.height, picture.width, name, max_pixels)
                if is_png16_colour(data):
                    return decode_png16(data)
                return pillow_to_array(picture, palette_to_colour=palette_to_colour)
    except ImageFileError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise undecodable(name, error) from error
    raise ImageFileError(f"{name}: is not a PNG, JPEG, BMP or TIFF image; convert it to one of these")


def is_tiff(start: bytes) -> bool:
    """Whether a file that starts like this is a TIFF."""
    return start.startswith(_TIFF_STARTS)


def undecodable(name: str, error: Exception) -> ImageFileError:
    """What a decoder raised as one clear error."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageFileError(f"{name}: cannot be decoded ({reason}); open it in a viewer, or export it again")
