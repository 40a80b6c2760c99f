"""Everything that reading an image with channels and planes can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from nucleiseg._checks import check_choice, check_count, check_pixel_size
from nucleiseg.errors import InvalidInputError

__all__ = ["AXES", "MAX_PIXELS", "Channel", "ReadOptions"]

Channel: TypeAlias = "int | str"

AXES = "TZCYXS"
"""Time, depth, channel, row, column, and the samples (red, green, blue) of a colour image."""

MAX_PIXELS = 2**28
"""Height times width that is read unless told otherwise: 16384 x 16384, so that a broken header cannot fill memory."""

MOST_SHOWN = 3
_PROJECTIONS = ("max", "mean")


@dataclass(frozen=True)
class ReadOptions:
    """Which part of a microscopy file is looked at. The command line has a flag for each field.

    What the file itself says (OME, ImageJ and the makers' formats do) need not be given. Where something is left open,
    such as which of two channels shows the nuclei, reading raises an error that lists the choices.

    Parameters
    ----------
    channel : int, str, or sequence of them, optional
        Index (from 0) or name of the channel that shows the nuclei; two or three are seen as red, green and blue.
        Intensities are measured in all channels anyway. None takes grey and colour images as they are.
    axes : str, optional
        What the axes of the array mean, such as "ZCYX": T time, Z depth, C channel, Y row, X column, S the samples of
        a colour. Takes precedence over what the file says; axes of length 1 may be left out.
    project : "max" or "mean", optional
        How the planes along Z become one.
    select : mapping of str to int, optional
        One position along an axis, such as ``{"T": 0}`` for the first time point or ``{"Z": 4}`` for one plane.
    scene : int or str, optional
        Index or name of one of several images in a file.
    level : int
        Of a pyramid (whole slides): 0 is the full size, 1 the next smaller one.
    pixel_size : float, optional
        Height and width of a pixel of the full size in µm; takes precedence over what the file says.
    max_pixels : int
        Refuse images with more pixels (height times width) than this; 2²⁸ unless told otherwise. What is read part by
        part (`nucleiseg.large`) has no such limit.

    Raises
    ------
    InvalidInputError
        If a value is of the wrong kind or out of its range.

    Examples
    --------
    >>> ReadOptions(channel="DAPI", project="max").channel
    'DAPI'
    """

    channel: Channel | tuple[Channel, ...] | None = None
    axes: str | None = None
    project: str | None = None
    select: Mapping[str, int] = field(default_factory=dict, hash=False)
    scene: int | str | None = None
    level: int = 0
    pixel_size: float | None = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if isinstance(self.channel, list):
            object.__setattr__(self, "channel", tuple(self.channel))
        wanted = self.wanted_channels
        for channel in wanted:
            _check_index_or_name(channel, "channel")
        if self.channel is not None and not 1 <= len(wanted) <= MOST_SHOWN:
            raise InvalidInputError(
                f"channel must name one to {MOST_SHOWN} channels, got {len(wanted)}; "
                "intensities are measured in all of them anyway"
            )
        if isinstance(self.axes, str):
            object.__setattr__(self, "axes", self.axes.upper())
        if self.axes is not None:
            _check_axes(self.axes)
        if self.project is not None:
            check_choice(self.project, "project", _PROJECTIONS)
        if not isinstance(self.select, Mapping):
            raise InvalidInputError(f"select must map axes to positions, got {self.select!r}; for example {{'T': 0}}")
        for axis, position in self.select.items():
            if not (isinstance(axis, str) and len(axis) == 1) or axis.upper() in "YX":
                raise InvalidInputError(
                    f"select must name an axis other than Y and X, got {axis!r}; for example {{'T': 0}}"
                )
            check_count(position, f"position along {axis}", 0)
        object.__setattr__(self, "select", {axis.upper(): position for axis, position in self.select.items()})
        if self.scene is not None:
            _check_index_or_name(self.scene, "scene")
        check_count(self.level, "level", 0)
        check_count(self.max_pixels, "max_pixels", 1)
        check_pixel_size(self.pixel_size)

    @property
    def wanted_channels(self) -> tuple[Channel, ...]:
        """The channels to look at as a tuple, empty if all."""
        if self.channel is None:
            return ()
        return self.channel if isinstance(self.channel, tuple) else (self.channel,)


def _check_index_or_name(value: object, name: str) -> None:
    if isinstance(value, str) and value:
        return
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise InvalidInputError(f"{name} must be an index (from 0) or a name, got {value!r}; for example {name}=0")


def _check_axes(axes: str) -> None:
    ok = isinstance(axes, str) and set("YX") <= set(axes) <= set(AXES) and len(set(axes)) == len(axes)
    if not ok:
        raise InvalidInputError(
            f"axes must have Y and X and each letter of {AXES} at most once, got {axes!r}; for example axes='ZCYX'"
        )
