"""Which channels of an image are looked at."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nucleiseg._checks import MAX_CHANNELS, Array
from nucleiseg.images._stacks import Stack
from nucleiseg.images.channels import WITH_ALPHA
from nucleiseg.images.read_options import Channel

__all__ = ["find_channel", "open_question", "shown_channels"]

_COLOURS = ("red", "green", "blue")


def shown_channels(stack: Stack, pixels: Array, wanted: Sequence[Channel]) -> Array:
    """The channels that are looked at: those that the user wants, or colours.

    Parameters
    ----------
    stack : Stack
        What is known of the pixels; as many channel names as there are channels, or none.
    pixels : numpy.ndarray, (H, W) or (H, W, C)
        All channels.
    wanted : sequence of int or str
        The user's choice; empty for none.

    Returns
    -------
    numpy.ndarray, (H, W) or (H, W, C)
        A view where possible.

    Raises
    ------
    ImageFileError, InvalidInputError
        If there is no such channel, or several and no choice.
    """
    if wanted:
        return _chosen(stack, pixels, wanted)
    question = open_question(stack)
    if question:
        raise stack.error(question)
    return pixels


def open_question(stack: Stack) -> str:
    """That it is left open which channel is looked at, and how to say it; empty if it is not.

    Of channels that are colours each, one is selected first: ``check_flat`` asks which.
    """
    if {"C", "S"} <= set(stack.axes):
        return ""
    count = stack.lengths.get("C", stack.lengths.get("S", 1))
    # Of samples without alpha the last one would be dropped as if it were.
    if "S" in stack.axes and count <= MAX_CHANNELS and not (stack.opaque and count in WITH_ALPHA):
        return ""
    stack = replace(stack, channels=stack.channels if len(stack.channels) == count else ())
    if count == 1 or (count == len(_COLOURS) and _is_colours(stack)):
        return ""
    name = next(filter(_is_plain, stack.channels), 0)
    colours = "; if they are red, green and blue, --channel 0,1,2 (channel=(0, 1, 2))"
    return (
        f"has {count} channels ({_listed(stack.channels, count)}); say which one shows the nuclei, "
        f"e.g. --channel {shlex.quote(str(name))} (channel={name!r} in Python)"
        f"{colours if count == len(_COLOURS) and not stack.channels else ''}"
    )


def _is_plain(name: str) -> bool:
    """Whether ``--channel`` takes it for one name: numbers count channels, and commas stand between several."""
    return "," not in name and not name.isdecimal()


def _is_colours(stack: Stack) -> bool:
    """Three channels without names, of a file that knows nothing of channels, are taken as red, green and blue."""
    if not stack.channels:
        return not stack.stained
    return tuple(name.lower() for name in stack.channels) in (_COLOURS, ("r", "g", "b"))


def _chosen(stack: Stack, pixels: Array, wanted: Sequence[Channel]) -> Array:
    count = pixels.shape[2] if pixels.ndim == 3 else 1
    layers = pixels.reshape((*pixels.shape[:2], count))
    indices = [_index(stack, channel, count) for channel in wanted]
    if len(indices) == 1:
        return layers[..., indices[0]]
    shown = np.zeros((*pixels.shape[:2], 3), pixels.dtype)
    shown[..., : len(indices)] = layers[..., indices]
    return shown


def _index(stack: Stack, channel: Channel, count: int) -> int:
    colours = "S" in stack.axes
    index = find_channel(channel, stack.channels, count, colours)
    if index is None:
        names = _names(stack.channels, count, colours)
        if [name.lower() for name in names].count(str(channel).lower()) > 1:
            raise stack.error(f"has several channels {channel!r}; choose one by its number: {_listed(names, count)}")
        raise stack.error(f"has no channel {channel!r}; choose one of {_listed(names, count)}")
    return index


def find_channel(channel: Channel, known: Sequence[str], count: int, colours: bool) -> int | None:
    """The index of a channel, by index or name; None if there is none."""
    if not isinstance(channel, str):
        return int(channel) if channel < count else None
    names = _names(known, count, colours)
    exact = [i for i, name in enumerate(names) if name == channel]
    alike = exact or [i for i, name in enumerate(names) if name.lower() == channel.lower()]
    return alike[0] if len(alike) == 1 else None


def _names(known: Sequence[str], count: int, colours: bool) -> Sequence[str]:
    return known or (_COLOURS if colours and count >= len(_COLOURS) else ())


def _listed(names: Sequence[str], count: int) -> str:
    labels = [f"{i} {names[i]!r}" if i < len(names) else str(i) for i in range(count)]
    return ", ".join(labels)
