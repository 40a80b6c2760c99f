"""Which part of an array with axes of many kinds has to be read to see what is looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from nucleiseg.images._choosing import find_channel
from nucleiseg.images.micrograph import kept_axes
from nucleiseg.images.read_options import ReadOptions

__all__ = ["Part", "meant_axes", "narrow"]


class Part(NamedTuple):
    """What of an array is read, and how `nucleiseg.images.micrograph.flatten` is to look at that.

    ``where`` has a slice for each axis; all of rows and columns.
    """

    where: tuple[slice, ...]
    axes: str
    channels: tuple[str, ...]
    options: ReadOptions


def narrow(
    axes: str, shape: Sequence[int], channels: tuple[str, ...], options: ReadOptions, shown_only: bool = False
) -> Part:
    """The positions that are selected along each axis, and of the channels those that show the nuclei if asked for.

    Where the options do not lead to one image, that is the whole array: what is wrong is told of all of it.

    Parameters
    ----------
    axes : str
        A letter for each axis.
    shape : sequence of int
        Of the array.
    channels : tuple of str
        Names along C; empty if unknown.
    options : ReadOptions
        What is looked at.
    shown_only : bool
        Leave out channels in which nothing but intensities is measured.

    Examples
    --------
    >>> part = narrow("TCYX", (9, 5, 30, 40), (), ReadOptions(select={"T": 3}, channel=2), shown_only=True)
    >>> part.where[:2], part.options.channel
    ((slice(3, 4, 1), slice(2, 3, 1)), 0)
    """
    where = [slice(None)] * len(shape)
    whole = Part(tuple(where), axes, channels, options)
    letters = meant_axes(axes, shape, options)
    left = {axis for axis, length in zip(letters, shape, strict=False) if length != 1}
    for axis, position in options.select.items():
        if axis in letters and position < shape[letters.index(axis)]:
            number = letters.index(axis)
            where[number] = slice(position, position + 1, 1)
            left.discard(axis)
            channels = channels[where[number]] if axis == "C" else channels
        elif position:
            return whole
    colours = left & set("CS")
    planes = left - set("YXCS") - (set("Z") if options.project is not None else set())
    if 0 in shape or len(letters) != len(shape) or planes or len(colours) > 1:
        return whole
    options = replace(options, axes=None, select={})
    if colours and shown_only and options.wanted_channels:
        (colour,) = colours
        number = letters.index(colour)
        names = channels if len(channels) == shape[number] else ()
        found = [find_channel(wanted, names, shape[number], colour == "S") for wanted in options.wanted_channels]
        indices = [index for index in found if index is not None]
        if len(indices) < len(found):
            return whole
        first = min(indices)
        step = math.gcd(*(index - first for index in indices)) or 1
        where[number] = slice(first, max(indices) + 1, step)
        channels = names[where[number]]
        within = tuple((index - first) // step for index in indices)
        options = replace(options, channel=within if len(within) > 1 else within[0])
    return Part(tuple(where), letters, channels, options)


def meant_axes(axes: str, shape: Sequence[int], options: ReadOptions) -> str:
    """What the axes are as the user has it; ``?`` for those of length 1 that the user leaves out.

    Empty if the user names too many or too few.

    Examples
    --------
    >>> meant_axes("TCYX", (1, 2, 30, 40), ReadOptions(axes="CXY"))
    '?CXY'
    """
    if options.axes is None:
        return axes
    kept = kept_axes(axes, shape, options.axes)
    if kept is None:
        return ""
    meant = dict(zip(kept, options.axes, strict=True))
    return "".join(meant.get(number, "?") for number in range(len(shape)))
