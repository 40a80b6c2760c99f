"""From an array with axes of many kinds to one image: raw pixels of all channels, and what of them is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import Array, check_image, check_number_array
from nucleiseg._warnings import warn_caller
from nucleiseg.errors import ImageWarning, InvalidInputError
from nucleiseg.images._choosing import open_question, shown_channels
from nucleiseg.images._scenes import at_level
from nucleiseg.images._stacks import Stack, check_flat
from nucleiseg.images.channels import has_alpha, looks_opaque
from nucleiseg.images.read_options import ReadOptions

__all__ = ["Micrograph", "as_micrograph", "flatten", "kept_axes"]


@dataclass(frozen=True)
class Micrograph:
    """An image with all of its channels.

    Parameters
    ----------
    pixels : numpy.ndarray, (H, W) or (H, W, C)
        Raw values of every channel, any number of them.
    shown : numpy.ndarray, (H, W) or (H, W, C)
        The part that shows the nuclei: grey, grey + alpha, RGB or RGBA.
    channels : tuple of str
        Names of the channels; empty if unknown.
    pixel_size : float or None
        Height and width of a pixel in µm.
    alpha : bool
        The last channel of ``pixels`` is the transparency of a picture.

    Examples
    --------
    >>> stack = np.zeros((2, 30, 40), np.uint16)
    >>> picture = as_micrograph(stack, ReadOptions(axes="CYX", channel=1, pixel_size=0.5))
    >>> picture.pixels.shape, picture.shown.shape, picture.pixel_size
    ((30, 40, 2), (30, 40), 0.5)
    """

    pixels: Array = field(repr=False)
    shown: Array = field(repr=False)
    channels: tuple[str, ...] = ()
    pixel_size: float | None = None
    alpha: bool = False

    @property
    def measured(self) -> Array:
        """The channels that hold intensities: ``pixels`` without alpha."""
        return self.pixels[..., :-1] if self.alpha else self.pixels


def as_micrograph(image: npt.ArrayLike, options: ReadOptions | None = None) -> Micrograph:
    """An array as `Micrograph`: choose channels and planes as from a file.

    Parameters
    ----------
    image : array-like
        Any real dtype. (H, W) or (H, W, C) with up to 4 channels; of any other shape if ``options.axes`` says what the
        axes mean.
    options : ReadOptions, optional
        Channel, axes, projection, pixel size. ``scene`` and ``level`` are for files.

    Returns
    -------
    Micrograph
        Its ``pixels`` are a view of the array where possible.

    Raises
    ------
    InvalidInputError
        If it is left open which part of the array to use, or there is no such channel or plane.

    Warns
    -----
    ImageWarning
        If the last of two or four channels, taken as transparency and left out, looks like a stain: fewer than half of
        its pixels have its lowest or highest value.

    Examples
    --------
    >>> as_micrograph(np.zeros((5, 30, 40)), ReadOptions(axes="ZYX", project="max")).shown.shape
    (30, 40)
    """
    options = options or ReadOptions()
    if options.axes is not None:
        array = check_number_array(image, "image")
        return flatten(Stack(array, "?" * array.ndim, "image", from_file=False), options)
    array = np.asarray(image)
    try:
        array = check_image(array)
    except InvalidInputError as error:
        if array.ndim < 3 or array.dtype.kind not in "bui":
            raise
        raise InvalidInputError(
            f"{error}; or say what its axes are, e.g. --axes CYX --channel 0 (axes='CYX' with channel=0 in Python)"
        ) from None
    if has_alpha(array) and not looks_opaque(array[..., -1]):
        last = array.shape[2] - 1
        warn_caller(
            f"channel {last} of an array is taken as transparency, neither looked at nor measured, but varies as a "
            f"stain does; if it is one, pass ReadOptions(axes='YXC', channel={last}), or another channel; if it is "
            "none, image[..., :-1]",
            ImageWarning,
        )
    return flatten(Stack(array, "YX" if array.ndim == 2 else "YXS", "image", from_file=False), options)


def flatten(stack: Stack, options: ReadOptions) -> Micrograph:
    """Reduce a stack to rows, columns and channels, and choose the channels to look at."""
    if options.axes is not None:
        stack = _renamed(stack, options.axes)
    for axis, position in options.select.items():
        stack = _selected(stack, axis, position)
    stack = _without_single(stack)
    if "Z" in stack.axes and options.project is not None:
        stack = _projected(stack, options.project)
    check_flat(stack, "" if options.wanted_channels else open_question(stack))

    order = [stack.axes.index(axis) for axis in "YXCS" if axis in stack.axes]
    pixels = np.ascontiguousarray(stack.pixels.transpose(order))
    names = stack.channels if len(stack.channels) == (pixels.shape[2] if pixels.ndim == 3 else 1) else ()
    size = stack.pixel_size if options.pixel_size is None else at_level(float(options.pixel_size), stack.scale)
    shown = shown_channels(replace(stack, channels=names), pixels, options.wanted_channels)
    alpha = "S" in stack.axes and has_alpha(pixels) and not names and not stack.opaque
    return Micrograph(pixels, shown, names, size, alpha)


def _renamed(stack: Stack, axes: str) -> Stack:
    """The stack with the user's axes, less axes of length 1 that the user leaves out."""
    keep = kept_axes(stack.axes, stack.pixels.shape, axes)
    if keep is None:
        raise stack.error(
            f"axes={axes!r} names {len(axes)} axes, got an array of {stack.described}; "
            "name each axis that is longer than 1"
        )
    shape = tuple(stack.pixels.shape[i] for i in keep)
    channels = stack.channels if "C" in axes and len(stack.channels) == shape[axes.index("C")] else ()
    return replace(stack, pixels=stack.pixels.reshape(shape), axes=axes, channels=channels)


def kept_axes(axes: str, shape: Sequence[int], wanted: str) -> list[int] | None:
    """Numbers of the axes that the user's letters are for, in their order; None if these are too many or too few."""
    lengths = list(zip(axes, shape, strict=True))
    # All of them, those longer than 1, or those and the ones that the file calls the same.
    choices = [
        list(range(len(lengths))),
        [i for i, (axis, length) in enumerate(lengths) if length > 1 or axis in "YX"],
        [i for i, (axis, length) in enumerate(lengths) if length > 1 or axis in wanted],
    ]
    return next((choice for choice in choices if len(choice) == len(wanted)), None)


def _selected(stack: Stack, axis: str, position: int) -> Stack:
    if axis not in stack.axes:
        if position == 0:  # files leave out axes of length 1
            return stack
        raise stack.error(f"select names the axis {axis}, got an array of {stack.described}; select along its axes")
    where = stack.axes.index(axis)
    length = stack.pixels.shape[where]
    if position >= length:
        raise stack.error(f"select must be 0 to {length - 1} along {axis}, got {position}; count from 0")
    channels = stack.channels[position : position + 1] if axis == "C" else stack.channels
    return replace(
        stack,
        pixels=stack.pixels.take(position, where),
        axes=stack.axes[:where] + stack.axes[where + 1 :],
        channels=channels,
    )


def _without_single(stack: Stack) -> Stack:
    keep = [(a, n) for a, n in zip(stack.axes, stack.pixels.shape, strict=True) if n != 1 or a in "YX"]
    return replace(stack, pixels=stack.pixels.reshape([n for _, n in keep]), axes="".join(a for a, _ in keep))


def _projected(stack: Stack, method: str) -> Stack:
    where = stack.axes.index("Z")
    if method == "max":
        pixels = stack.pixels.max(axis=where)
    else:
        # float32 holds means of 8- and 16-bit values to more digits than they have.
        exact = stack.pixels.mean(axis=where, dtype=np.float64)
        pixels = exact.astype(np.float32) if stack.pixels.dtype.itemsize <= 2 else exact
    return replace(stack, pixels=pixels, axes=stack.axes.replace("Z", ""))
