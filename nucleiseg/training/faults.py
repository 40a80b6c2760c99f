"""What ends training before its time: a loss that is no number, and memory that does not suffice."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from nucleiseg._memory import is_out_of_memory
from nucleiseg.errors import TrainingError
from nucleiseg.training.checkpoints import count_epochs
from nucleiseg.training.options import FitOptions

__all__ = ["FiniteLoss", "explain_memory"]

Rows = Sequence[Mapping[str, Any]]


class FiniteLoss(keras.callbacks.Callback):
    """Raises as soon as loss or weights are no numbers, so that no such epoch is ever taken for the best.

    Parameters
    ----------
    rows : function
        Gives what was measured in the epochs before.
    learning_rate : float
        The highest of this phase, for the advice.

    Raises
    ------
    TrainingError
        In the batch in which it happens, or at the end of the epoch for validation and weights.
    """

    def __init__(self, rows: Callable[[], Rows], learning_rate: float) -> None:
        super().__init__()
        self._rows = rows
        self._learning_rate = learning_rate

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        """Look at the loss of the batches so far."""
        self._check("the loss", (logs or {}).get("loss", 0.0))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        """Look at the loss of the validation data, and at the weights."""
        self._check("the validation loss", (logs or {}).get("val_loss", 0.0))
        for variable in self.model.trainable_variables:
            # The last step of an epoch may spoil the weights without any loss that tells.
            self._check("a weight", float(np.sum(keras.ops.convert_to_numpy(variable), dtype=np.float64)))

    def _check(self, what: str, value: float) -> None:
        if math.isfinite(float(value)):
            return
        rows = self._rows()
        raise TrainingError(
            f"training must have finite numbers, but {what} became {float(value)} in epoch {count_epochs(rows) + 1}; "
            f"{_kept(rows)}; use a lower learning rate (it rose to {self._learning_rate:g}; learning_rate and "
            "fine_tune_rate in FitOptions), a larger batch, or another loss, and start anew",
            rows,
        )


@contextlib.contextmanager
def explain_memory(options: FitOptions, rows: Callable[[], Rows]) -> Iterator[None]:
    """Say which batch size to try when memory does not suffice.

    Raises
    ------
    TrainingError
        Instead of the many errors that say so.

    Examples
    --------
    >>> with explain_memory(FitOptions(batch_size=8), list):
    ...     raise MemoryError
    Traceback (most recent call last):
    nucleiseg.errors.TrainingError: training needs more memory than there is with batch_size=8 ...; try batch_size=4 ...
    """
    try:
        yield
    except TrainingError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        done = rows()
        raise TrainingError(
            f"training needs more memory than there is with batch_size={options.batch_size} and crops of "
            f"{options.crop}; {_smaller(options)}; {_kept(done)}",
            done,
        ) from None


def _kept(rows: Rows) -> str:
    epochs = count_epochs(rows)
    if not epochs:
        return "no epoch was finished, so there is nothing to keep"
    return f"the best weights of the {epochs} finished epoch{'s' if epochs > 1 else ''} are kept"


def _smaller(options: FitOptions) -> str:
    if options.batch_size > 1:
        half = options.batch_size // 2
        return f"try batch_size={half} (--batch-size {half})"
    crop = tuple(max(32, length // 64 * 32) for length in options.crop)
    if crop != tuple(options.crop):
        return f"try crop={crop} (--crop {min(crop)})"
    return "try a smaller encoder, see nucleiseg.list_encoders"
