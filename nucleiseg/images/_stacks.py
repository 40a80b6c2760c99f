"""An array as a file has it, and whether it is one image yet."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from nucleiseg._checks import MAX_CHANNELS, Array
from nucleiseg.errors import ImageFileError, InvalidInputError
from nucleiseg.images.read_options import AXES

__all__ = ["Stack", "check_flat"]

_FEWEST_COLOURS = 3
_MUCH_SHORTER = 4
# Letter, name, and how one image is made of it: in a terminal and in Python.
_MEANINGS = (("C", "channels", "--channel 0", "channel=0"), ("Z", "depths", "--project max", "project='max'"))


@dataclass(frozen=True)
class Stack:
    """An array as a file has it, and what is known of it.

    Parameters
    ----------
    pixels : numpy.ndarray
        One axis for each letter of ``axes``.
    axes : str
        T, Z, C, Y, X, S as in `ReadOptions`; any other letter stands for an axis of unknown meaning.
    name : str
        For messages: the path, or "image" for an array.
    channels : tuple of str
        Names along C; empty if unknown.
    pixel_size : float or None
        In µm, as the file says it of these pixels.
    scale : float or None
        How many pixels of the full size, of which options tell the size, are one along a side: more than 1 in the
        smaller levels of a pyramid, None where rows and columns are not shrunk alike.
    from_file : bool
        Whether errors are about a file.
    size : (int, int) or None
        Height and width of the whole image, where the pixels are a window of it; for messages.
    opaque : bool
        None of the samples is alpha, however many they are.
    stained : bool
        The channels are stains, not red, green and blue, unless their names say so.
    """

    pixels: Array = field(repr=False)
    axes: str
    name: str
    channels: tuple[str, ...] = ()
    pixel_size: float | None = None
    scale: float | None = 1.0
    from_file: bool = True
    size: tuple[int, int] | None = None
    opaque: bool = False
    stained: bool = False

    def error(self, text: str) -> ImageFileError | InvalidInputError:
        """An error about this stack; begins with its name."""
        return (ImageFileError if self.from_file else InvalidInputError)(f"{self.name}: {text}")

    @property
    def described(self) -> str:
        """Shape and axes in words, for error messages."""
        lengths = self.lengths
        shape = tuple(
            lengths[axis] if axis in "YX" else n for axis, n in zip(self.axes, self.pixels.shape, strict=True)
        )
        return f"shape {shape} (axes {self.axes})"

    @property
    def lengths(self) -> dict[str, int]:
        """The length of each axis, by its letter, of the whole image."""
        here = dict(zip(self.axes, self.pixels.shape, strict=True))
        return here if self.size is None else {**here, "Y": self.size[0], "X": self.size[1]}


def check_flat(stack: Stack, further: str = "") -> None:
    """Raise, with the choices, if there are planes or times left, or nothing that could be rows and columns.

    ``further`` is what else the stack leaves open: whoever answers one question is not to meet the next one then.
    """
    if not {"Y", "X"} <= set(stack.axes) or stack.pixels.size == 0:
        raise stack.error(f"must have rows and columns, got an array of {stack.described}; say what its axes are")
    known = {axis: _select(axis) for axis in ("ZTC" if "S" in stack.axes else "ZT")}
    flag, argument = known["Z"]
    known["Z"] = f"--project max, --project mean or {flag}", f"project='max', project='mean' or {argument}"
    lengths = stack.lengths
    choices = [
        f"choose from {lengths[axis]} along {axis} with {flag} ({argument} in Python)"
        for axis, (flag, argument) in known.items()
        if axis in lengths
    ]
    unknown = [axis for axis in stack.axes if axis not in AXES]
    looks = ""
    if len(unknown) == 1:
        looks, choice = _unknown_planes(stack.axes, lengths, unknown[0])
        choices.append(choice)
    elif unknown:
        axes = "TZCYX"[-len(stack.axes) :]
        choices.append(f"say what its axes are, e.g. --axes {axes} (axes={axes!r} in Python)")
    if choices:
        further = f"; it {further}" if further else ""
        raise stack.error(
            f"must come down to one image, got a stack of {stack.described}{looks}; {'; '.join(choices)}{further}"
        )


def _select(axis: str) -> tuple[str, str]:
    """How the first position along an axis is chosen: in a terminal and in Python."""
    return f"--select {shlex.quote(f'{axis}=0')}", f"select={{{axis!r}: 0}}"


def _unknown_planes(axes: str, lengths: Mapping[str, int], unknown: str) -> tuple[str, str]:
    """What planes that nothing explains look like, and what they may be said to be."""
    looks = ""
    meanings = [(axes.replace(unknown, letter), *how) for letter, *how in _MEANINGS if letter not in axes]
    known = [f"{name} with --axes {meant} {flag}" for meant, name, flag, _ in meanings]
    if axes == f"{unknown}YX":
        if lengths[unknown] <= MAX_CHANNELS:
            looks = ", which looks like (C, H, W)"
            if lengths[unknown] >= _FEWEST_COLOURS:
                known.insert(0, "colours with --axes SYX")
        elif _MUCH_SHORTER * lengths["X"] <= min(lengths[unknown], lengths["Y"]):
            python = "axes='YXC' and channel=0 in Python"
            return ", which looks like (H, W, C)", f"if so, say --axes YXC --channel 0 ({python})"
    flag, argument = _select(unknown)
    arguments = [*(f"axes={meant!r}" for meant, *_ in meanings[:1]), *(how[-1] for how in meanings), argument]
    told = f"say what the {lengths[unknown]} planes are: {', '.join(known)}, or " if known else ""
    return looks, f"{told}choose one with {flag} (in Python {', '.join(arguments)})"
