"""What an image layer holds: planes to look at one by one, and the size of their pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._units import MICROMETRES
from nucleiseg.errors import InvalidInputError

__all__ = ["Place", "Stack", "pixel_size_of", "stack_of"]

Place = tuple[int, ...]
"""Where a plane is: its position along each axis before rows and columns. ``()`` if there is but one."""

_ROUND = 0.01  # pixels whose sides differ by less are square


@dataclass(frozen=True)
class Stack:
    """The planes of an image layer.

    Parameters
    ----------
    name : str
        Of the layer.
    data : array-like
        (…, H, W), or (…, H, W, C) with ``rgb``; may be read as it is needed.
    rgb : bool
        Whether the last axis are red, green, blue, and perhaps alpha.
    pixel_size : float, optional
        Height and width of a pixel in µm, where it is known.

    Examples
    --------
    >>> stack = Stack("cells", np.zeros((2, 3, 30, 40)))
    >>> stack.grid, stack.size, len(list(stack.places())), stack.plane((1, 2)).shape
    ((2, 3), (30, 40), 6, (30, 40))
    """

    name: str
    data: Any = field(repr=False)
    rgb: bool = False
    pixel_size: float | None = None

    def __post_init__(self) -> None:
        if len(self.data.shape) < 2 + self.rgb or 0 in self.data.shape:
            raise InvalidInputError(
                f"{self.name}: must have rows and columns, got an array of shape {tuple(self.data.shape)}; "
                "choose another layer"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all planes, without colours: what labels of them have."""
        shape = tuple(int(length) for length in self.data.shape)
        return shape[:-1] if self.rgb else shape

    @property
    def grid(self) -> Place:
        """How many planes there are along each axis; empty for a single one."""
        return self.shape[:-2]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a plane."""
        height, width = self.shape[-2:]
        return height, width

    def places(self) -> Iterator[Place]:
        """Where each plane is, in order."""
        return product(*map(range, self.grid))

    def plane(self, place: Place) -> npt.NDArray[Any]:
        """The pixels of one plane, (H, W) or (H, W, C)."""
        return np.asarray(self.data[place])

    def nearest(self, point: Sequence[float]) -> Place:
        """The plane at a point in pixels of the data, or the nearest there is."""
        return tuple(
            min(max(round(float(position)), 0), length - 1) for position, length in zip(point, self.grid, strict=False)
        )

    def called(self, place: Place) -> str:
        """The name of a plane: that of the layer, and where it is.

        Examples
        --------
        >>> Stack("cells", np.zeros((12, 30, 40))).called((3,))
        'cells_03'
        """
        numbers = (f"{position:0{len(str(length - 1))}}" for position, length in zip(place, self.grid, strict=True))
        return "_".join([self.name, *numbers])


def stack_of(layer: Any) -> Stack:
    """The planes of a napari image layer; of a pyramid, those of the full size.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> layer = SimpleNamespace(name="a", data=np.zeros((5, 6, 3)), rgb=True, multiscale=False, scale=(0.5, 0.5))
    >>> stack_of(layer)
    Stack(name='a', rgb=True, pixel_size=0.5)
    """
    data = layer.data[0] if layer.multiscale else layer.data
    return Stack(layer.name, data, bool(layer.rgb), pixel_size_of(layer.scale, getattr(layer, "units", None)))


def pixel_size_of(scale: Sequence[float], units: Sequence[object] | None = None) -> float | None:
    """Height and width of a pixel in µm, from what a layer says; None if it is unknown or pixels are not square.

    Parameters
    ----------
    scale : sequence of float
        Of each axis; rows and columns are the last two.
    units : sequence, optional
        Of each axis. Without a unit of length, a scale other than 1 is in µm: most plugins that read files set it so.

    Examples
    --------
    >>> pixel_size_of((2, 0.325, 0.325)), pixel_size_of((1, 1)), pixel_size_of((1, 1), ("micrometer", "micrometer"))
    (0.325, None, 1.0)
    """
    names = [str(unit) for unit in units][-2:] if units is not None else ["pixel", "pixel"]
    known = [name in MICROMETRES for name in names]
    sides = [abs(float(side)) for side in scale][-2:]
    if any(known) != all(known) or (not any(known) and sides == [1, 1]):
        return None
    height, width = (side * MICROMETRES.get(name, 1.0) for side, name in zip(sides, names, strict=True))
    return height if height > 0 and math.isclose(height, width, rel_tol=_ROUND) else None
