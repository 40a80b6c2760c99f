"""What happens beside training, epoch by epoch: the best weights are kept, the state is saved, and progress is told."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import keras

from nucleiseg.training.checkpoints import Checkpoint, RunState
from nucleiseg.training.endings import kept_values, values_of
from nucleiseg.training.judging import judged_by, score_of
from nucleiseg.training.narration import Narration

__all__ = ["Keeper", "Narrator", "Watcher"]

_LOGGER = logging.getLogger(__name__)


class Keeper(keras.callbacks.Callback):
    """Writes rows, keeps the best weights, saves the state, and stops when nothing improves any more."""

    def __init__(
        self,
        state: RunState,
        phase: str,
        monitor: str,
        patience: int,
        checkpoint: Checkpoint | None,
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.state = state
        self._phase = phase
        self._monitor = monitor
        self._patience = patience
        self._checkpoint = checkpoint
        self._settings = settings
        self._started = 0.0

    def rows(self) -> tuple[Mapping[str, Any], ...]:
        """What was measured so far; nothing before the end of the first epoch."""
        return self.state.rows if self.state.epochs else ()

    def begin_with(self, row: Mapping[str, Any], model: keras.Model) -> None:
        """Have the weights at the start take part, unless they are too bad to be told how bad."""
        score = score_of(row, self._monitor)
        if math.isfinite(score):
            self.state = replace(self.state, rows=(row,), best_score=score, best_model=values_of(model.variables))

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        """Take the time."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write a row, keep the weights if they are the best, save the state."""
        measured = {name: float(value) for name, value in (logs or {}).items()}
        row = {
            "epoch": epoch + 1,
            "phase": self._phase,
            **measured,
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "seconds": round(time.perf_counter() - self._started, 3),
        }
        _LOGGER.info("epoch %s", ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{v}" for k, v in row.items()))
        judged = {**measured, "epoch": float(epoch + 1)}
        row["monitor"] = judged_by(judged, self._monitor)
        state = self.state
        score = score_of(judged, self._monitor)
        better = state.best_score is None or score > state.best_score
        self.state = replace(
            state,
            rows=(*state.rows, row),
            phase_epochs=state.phase_epochs + 1,
            waited=0 if better else state.waited + 1,
            best_score=score if better else state.best_score,
            best_model=kept_values(self.model) if better else state.best_model,
        )
        if self._checkpoint:
            now = replace(
                self.state,
                model=values_of(self.model.variables),
                optimizer=values_of(self.model.optimizer.variables),
            )
            self._checkpoint.save(now, self._settings)
        if self.state.waited >= self._patience:
            self.model.stop_training = True


class Narrator(keras.callbacks.Callback):
    """Passes on what happens."""

    def __init__(self, narration: Narration, keeper: Keeper) -> None:
        super().__init__()
        self._narration = narration
        self._keeper = keeper

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        """Tell it."""
        self._narration.begin_epoch()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        """Tell the loss so far."""
        self._narration.end_batch(float((logs or {}).get("loss", math.nan)))

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        """Tell it."""
        self._narration.validate()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        """Tell the row."""
        best = self._keeper.state.waited == 0
        self._narration.end_epoch(self._keeper.rows(), best, last=self.model.stop_training)


class Watcher(keras.callbacks.Callback):
    """Calls a function with what was measured so far; meanwhile the model is in its own precision, fit to be saved."""

    def __init__(
        self,
        watch: Callable[[tuple[Mapping[str, Any], ...]], object],
        keeper: Keeper,
        as_before: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__()
        self._watch = watch
        self._keeper = keeper
        self._as_before = as_before

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        """Call the function."""
        with self._as_before():
            self._watch(self._keeper.rows())
