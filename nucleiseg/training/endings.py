"""How training ends early, by an error or Ctrl-C: with a sound model, and nothing that still runs."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import keras
import numpy as np

from nucleiseg.training.checkpoints import RunState, Variables
from nucleiseg.training.phases import unfreeze

__all__ = ["assign", "clean_end", "kept_values", "mixed", "sound_end", "values_of"]


@contextlib.contextmanager
def sound_end(model: keras.Model, state: Callable[[], RunState], finished: list[Mapping[str, Any]]) -> Iterator[None]:
    """Leave the best weights so far where training ends early, by whatever it is; else those from before.

    Parameters
    ----------
    model : keras.Model
        With its weights from before.
    state : function
        Gives the state of the run.
    finished : list
        Filled then with the rows of the epochs that were finished.
    """
    start = values_of(model.variables)
    try:
        yield
    except BaseException:
        now = state()
        assign(model.variables, now.best_model or start)
        unfreeze(model)
        finished[:] = now.rows if now.epochs else ()
        raise


@contextlib.contextmanager
def clean_end(model: keras.Model) -> Iterator[None]:
    """Have TensorFlow's iterators destroyed at once when an error or Ctrl-C ends training.

    Left to the garbage collector, they may be destroyed by one of their own threads, which then waits for itself.

    Parameters
    ----------
    model : keras.Model
        The one that is trained.
    """
    try:
        yield
    except BaseException as error:
        vars(model).pop("_eval_epoch_iterator", None)  # Keras keeps that of the validation data here
        # Not along the traceback, which Keras shortens, but from its innermost frame outwards.
        frame: FrameType | None = list(traceback.walk_tb(error.__traceback__))[-1][0]
        while frame is not None:
            try:
                frame.clear()
            except RuntimeError:  # it still runs, and so do its callers
                break
            frame = frame.f_back
        gc.collect()
        raise


def values_of(variables: Sequence[Any]) -> Variables:
    """Copies of what variables hold."""
    return tuple(np.array(keras.ops.convert_to_numpy(variable)) for variable in variables)


def kept_values(model: keras.Model) -> Variables:
    """Copies of what a compiled model's variables hold; where its optimiser averages them, of the averages."""
    if not model.optimizer.use_ema:
        return values_of(model.variables)
    learned = values_of(model.trainable_variables)
    model.optimizer.finalize_variable_values(model.trainable_variables)
    averaged = values_of(model.variables)
    assign(model.trainable_variables, learned)
    return averaged


def mixed(start: Variables, values: Variables, share: float) -> Variables:
    """What variables hold after a training, with a share of what they held before; what counts, such as seeds, stays.

    Examples
    --------
    >>> mixed((np.array([1.0]), np.array([7])), (np.array([3.0]), np.array([9])), share=0.25)
    (array([2.5]), array([9]))
    """
    if not share:
        return values
    pairs = zip(start, values, strict=True)
    return tuple(
        (after + share * (before - after)).astype(after.dtype) if np.issubdtype(after.dtype, np.floating) else after
        for before, after in pairs
    )


def assign(variables: Sequence[Any], values: Variables) -> None:
    """Have variables hold what they held once."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
