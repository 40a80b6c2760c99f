"""The one interface that every engine has."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

MULTIPLE = 32
"""Of which height and width of a batch must be multiples: the coarsest stride of our networks."""


class Engine(Protocol):
    """Runs a network: image batch in, maps out. Many threads may call it at once.

    Examples
    --------
    >>> class Brightness:
    ...     multiple = 1
    ...     def __call__(self, images):
    ...         return images.mean(axis=-1, keepdims=True)
    >>> engine: Engine = Brightness()
    >>> engine(np.ones((1, 4, 5, 3), np.float32)).shape
    (1, 4, 5, 1)
    """

    @property
    def multiple(self) -> int:
        """Height and width of a batch must be multiples of this."""

    def __call__(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """From float32 images (N, H, W, 3) in [0, 1] to float32 maps (N, H, W, C)."""
