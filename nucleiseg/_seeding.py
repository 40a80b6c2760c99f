"""A seed for what Keras draws without being told one, and operations that give the same sums every time."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Keras draws the seeds of its initialisers from Python's generator, whose state is given back afterwards."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def make_deterministic() -> None:
    """Have the backend add up in the same order every time, from now on in this process; slower.

    JAX does so on CPU anyway, and elsewhere when told by ``XLA_FLAGS`` before it starts.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
