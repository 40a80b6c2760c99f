"""The one interface that every engine has."""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from nucleiseg._precision import Precision
from nucleiseg.errors import InvalidInputError

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


def computing_in(engine: Engine, precision: Precision) -> Engine:
    """The engine that runs the same network in a precision.

    Raises
    ------
    InvalidInputError
        If the engine knows no other than its own.

    Examples
    --------
    >>> class Brightness:
    ...     multiple = 1
    ...     def __call__(self, images):
    ...         return images.mean(axis=-1, keepdims=True)
    >>> engine = Brightness()
    >>> computing_in(engine, "float32") is engine
    True
    """
    if precision == "float32":
        return engine
    if not hasattr(engine, "computing_in"):
        raise InvalidInputError(
            f"precision {precision!r} is for models that Keras runs, got one that {type(engine).__name__} runs; "
            "load the .keras file, or leave precision (--precision) at 'float32'"
        )
    return cast(Engine, engine.computing_in(precision))
