"""The one interface that every engine has."""

from __future__ import annotations

import hashlib
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from nucleiseg._precision import AskedPrecision, Precision
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


def settle_precision(engine: Engine, precision: AskedPrecision) -> Precision:
    """The precision itself, or for "auto" the one in which this engine is fastest here, if it knows several.

    Examples
    --------
    >>> [settle_precision(lambda images: images, precision) for precision in ("auto", "mixed_bfloat16")]
    ['float32', 'mixed_bfloat16']
    """
    if precision != "auto":
        return precision
    fastest: Precision = getattr(engine, "fastest_precision", "float32")
    return fastest


def precision_of(engine: Engine) -> Precision:
    """What the inner layers compute in; those who don't say so compute in single precision.

    Examples
    --------
    >>> precision_of(lambda images: images)
    'float32'
    """
    precision: Precision = getattr(engine, "precision", "float32")
    return precision


def computing_in(engine: Engine, precision: AskedPrecision) -> Engine:
    """The engine that runs the same network in a precision, or for "auto" in that of `settle_precision`.

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
    precision = settle_precision(engine, precision)
    if precision == "float32":
        return engine
    if not hasattr(engine, "computing_in"):
        raise InvalidInputError(
            f"precision {precision!r} is for models that Keras runs, got one that {type(engine).__name__} runs; "
            "load the .keras file, or leave precision (--precision) at 'auto'"
        )
    return cast(Engine, engine.computing_in(precision))


def let_weights_change(engine: Engine) -> None:
    """Have an engine heed what becomes of a model's weights between calls; others have weights that nobody changes.

    Examples
    --------
    >>> let_weights_change(lambda images: images)
    """
    if hasattr(engine, "let_weights_change"):
        engine.let_weights_change()


def fingerprint_of(engine: Engine) -> str:
    """What tells the network of an engine from others: its ``fingerprint``, or the weights of its Keras model.

    Examples
    --------
    >>> len(fingerprint_of(lambda images: images))
    64
    """
    weights = hashlib.sha256(str(getattr(engine, "fingerprint", "")).encode())
    model = getattr(engine, "model", None)
    for array in [] if model is None else model.get_weights():
        weights.update(array.tobytes())
    return weights.hexdigest()
