"""An array as a file has it, and whether it is one image yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nucleiseg._checks import MAX_CHANNELS, Array
from nucleiseg.errors import ImageFileError, InvalidInputError
from nucleiseg.images.read_options import AXES

__all__ = ["Stack", "check_flat"]

_FEWEST_COLOURS = 3
_MUCH_SHORTER = 4


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
        In µm, at full size.
    scale : float
        How many pixels of the full size are one, along a side; more than 1 in the smaller levels of a pyramid.
    from_file : bool
        Whether errors are about a file.
    size : (int, int) or None
        Height and width of the whole image, where the pixels are a window of it; for messages.
    """

    pixels: Array = field(repr=False)
    axes: str
    name: str
    channels: tuple[str, ...] = ()
    pixel_size: float | None = None
    scale: float = 1.0
    from_file: bool = True
    size: tuple[int, int] | None = None

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


def check_flat(stack: Stack) -> None:
    """Raise, with the choices, if there are planes or times left, or nothing that could be rows and columns."""
    if not {"Y", "X"} <= set(stack.axes) or stack.pixels.size == 0:
        raise stack.error(f"must have rows and columns, got an array of {stack.described}; say what its axes are")
    known = {"Z": "project='max', project='mean' or select={'Z': 0}", "T": "select={'T': 0}"}
    if "S" in stack.axes:
        known["C"] = "select={'C': 0}"
    lengths = stack.lengths
    choices = [f"choose from {lengths[axis]} along {axis} with {how}" for axis, how in known.items() if axis in lengths]
    unknown = [axis for axis in stack.axes if axis not in AXES]
    looks = ""
    if len(unknown) == 1:
        looks, choice = _unknown_planes(stack.axes, lengths, unknown[0])
        choices.append(choice)
    elif unknown:
        choices.append(f"say what its axes are, e.g. axes={'TZCYX'[-len(stack.axes) :]!r}")
    if choices:
        raise stack.error(f"must come down to one image, got a stack of {stack.described}{looks}; {'; '.join(choices)}")


def _unknown_planes(axes: str, lengths: Mapping[str, int], unknown: str) -> tuple[str, str]:
    """What planes that nothing explains look like, and what they may be said to be."""
    looks = ""
    meanings = [
        f"{name} with axes={axes.replace(unknown, letter)!r} and {choice}"
        for letter, name, choice in (("C", "channels", "channel=0"), ("Z", "depths", "project='max'"))
        if letter not in axes
    ]
    if axes == f"{unknown}YX":
        if lengths[unknown] <= MAX_CHANNELS:
            looks = ", which looks like (C, H, W)"
            if lengths[unknown] >= _FEWEST_COLOURS:
                meanings.insert(0, "colours with axes='SYX'")
        elif _MUCH_SHORTER * lengths["X"] <= min(lengths[unknown], lengths["Y"]):
            return ", which looks like (H, W, C)", "if so, say axes='YXC' and channel=0"
    planes = f"say what the {lengths[unknown]} planes are: {', '.join(meanings)}"
    return looks, f"{planes}, or choose one with select={{{unknown!r}: 0}}"
