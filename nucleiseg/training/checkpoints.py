"""The state of a training run on disk, so that it goes on after an interruption as if there had been none.

One ``.npz`` file holds everything: the variables of model and optimiser, the best weights so far, and what has happened
as JSON. The file before it is kept, for the case that a crash or a full disk damages the newest.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import check_flag
from nucleiseg._files import atomic_path
from nucleiseg.errors import InvalidInputError

Variables = tuple[npt.NDArray[Any], ...]

_GROUPS = ("model", "optimizer", "best_model", "start_model")

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunState:
    """Everything that training needs to go on.

    Parameters
    ----------
    rows : tuple of dict
        What was measured, a row for each finished epoch, before them that of epoch 0 where the start counts.
    phase, phase_epochs : int
        Number of the current phase, and how many of its epochs are finished.
    waited : int
        Epochs of this phase since the best one.
    best_score : float or None
        The best monitored value so far; greater is better.
    model, optimizer, best_model : tuple of numpy.ndarray
        Values of all variables, in Keras's order.
    start_model : tuple of numpy.ndarray
        The same before the training, where they are mixed into the last ones; else empty.
    """

    rows: tuple[Mapping[str, Any], ...] = ()
    phase: int = 0
    phase_epochs: int = 0
    waited: int = 0
    best_score: float | None = None
    model: Variables = field(default=(), repr=False)
    optimizer: Variables = field(default=(), repr=False)
    best_model: Variables = field(default=(), repr=False)
    start_model: Variables = field(default=(), repr=False)

    @property
    def epochs(self) -> int:
        """How many epochs are finished."""
        return count_epochs(self.rows)


def count_epochs(rows: Sequence[Mapping[str, Any]]) -> int:
    """How many epochs are finished; epoch 0, the start, is none.

    Examples
    --------
    >>> count_epochs([]), count_epochs([{"epoch": 0}]), count_epochs([{"epoch": 0}, {"epoch": 1}])
    (0, 0, 1)
    """
    return int(rows[-1]["epoch"]) if rows else 0


class Checkpoint:
    """A folder that holds the state of one training run.

    Parameters
    ----------
    folder : path
        Created when first saved to.
    facts : mapping, optional
        How the network was built, and which images are learned from and judged by ("train" and "validation"), in JSON
        values: a run of another network or of other images is told by them.

    Examples
    --------
    >>> import tempfile
    >>> checkpoint = Checkpoint(tempfile.mkdtemp())
    >>> checkpoint.save(RunState(phase_epochs=3), settings={"epochs": 9})
    >>> checkpoint.load(settings={"epochs": 9}).phase_epochs
    3
    """

    def __init__(self, folder: str | os.PathLike[str], facts: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.facts = dict(facts or {})
        self._last = self.folder / "last.npz"
        self._previous = self.folder / "previous.npz"

    def exists(self) -> bool:
        """Whether there is something to go on from."""
        return self._last.exists() or self._previous.exists()

    @classmethod
    def for_run(cls, folder: str | os.PathLike[str] | None, resume: bool) -> Checkpoint | None:
        """The folder of a run that begins, or goes on where ``resume`` is true.

        Raises
        ------
        InvalidInputError
            If there is an earlier run in it, and it is not to be gone on with; or it is, and there is no folder.
        """
        check_flag(resume, "resume")
        if folder is None:
            if resume:
                raise InvalidInputError(
                    "resume goes on from the folder that checkpoint names, got none; pass checkpoint=... as in the run "
                    "that was interrupted"
                )
            return None
        checkpoint = cls(folder)
        if checkpoint.exists() and not resume:
            raise InvalidInputError(
                f"the checkpoint folder {checkpoint.folder} holds an earlier run; pass resume=True to go on with it, "
                "or choose another folder"
            )
        return checkpoint

    def save(self, state: RunState, settings: Mapping[str, Any]) -> None:
        """Write the state; the one before it is kept beside it."""
        facts = {
            "settings": settings,
            "rows": state.rows,
            "phase": state.phase,
            "phase_epochs": state.phase_epochs,
            "waited": state.waited,
            "best_score": state.best_score,
            "arrays": {group: len(getattr(state, group)) for group in _GROUPS},
        }
        arrays = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
        for group in _GROUPS:
            arrays.update({_array_name(group, i): value for i, value in enumerate(getattr(state, group))})
        with atomic_path(self._last) as temporary:
            np.savez(temporary, **arrays)  # type: ignore[arg-type]
            if self._last.exists():
                self._last.replace(self._previous)

    def load(self, settings: Mapping[str, Any]) -> RunState | None:
        """The newest state that can be read, or None where nothing was saved.

        Raises
        ------
        InvalidInputError
            If the run was started with other settings, or no saved state can be read.
        """
        problems = []
        for path in (self._last, self._previous):
            if not path.exists():
                continue
            try:
                state, saved_settings = _read(path)
            except Exception as error:  # what NumPy raises depends on which byte is damaged
                problems.append(f"{path.name}: {error}")
                _LOGGER.warning("the checkpoint %s is damaged and is passed over (%s)", path, error)
                continue
            _check_settings(saved_settings, settings, self.folder)
            return state
        if problems:
            raise InvalidInputError(
                f"no checkpoint in {self.folder} can be read ({'; '.join(problems)}); delete the folder to start anew"
            )
        return None


# What older checkpoints do not tell of a network, since it was the same for all.
_SINCE = {"refine": False, "start_share": 0.0}


def _read(path: Path) -> tuple[RunState, dict[str, Any]]:
    # Opened here, because NumPy leaves a damaged archive open.
    with path.open("rb") as archive, np.load(archive, allow_pickle=False) as file:
        facts: dict[str, Any] = json.loads(file["facts"].tobytes())
        counts = facts.pop("arrays", {})  # which older ones do not tell
        known = ["facts"]
        for group in _GROUPS:
            names = sorted(name for name in file.files if name.startswith(f"{group}_"))
            known += [_array_name(group, number) for number in range(len(names))]
            # The directory of an archive has no checksum: a damaged one may end early.
            if len(names) != counts.get(group, len(names)):
                raise ValueError(f"it has {len(names)} arrays of {group} in place of {counts[group]}")
            facts[group] = tuple(file[name] for name in names)
        if sorted(known) != sorted(file.files):  # names have no checksum: another one would change the order
            raise ValueError(f"its arrays have other names: {', '.join(sorted({*file.files} - {*known}))[:80]}")
    settings = facts.pop("settings")
    return RunState(**{**facts, "rows": tuple(facts["rows"])}), settings


def _array_name(group: str, number: int) -> str:
    return f"{group}_{number:05}"


def _check_settings(saved: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    wanted = json.loads(json.dumps(wanted))  # as it looks after a round trip: tuples are lists
    saved, wanted = ({**_SINCE, **settings} for settings in (saved, wanted))
    changes = ", ".join(_changes(saved, wanted))
    if changes:
        raise InvalidInputError(
            f"the run in {folder} was started with other settings ({changes}); "
            "use the same, or delete the folder to start anew"
        )


def _changes(saved: Mapping[str, Any], wanted: Mapping[str, Any], group: str = "") -> Iterator[str]:
    for key in sorted({*saved, *wanted}):
        was, now = saved.get(key), wanted.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _changes(was, now, f"{group}{key}.")
        elif was != now:
            yield f"{group}{key} was {was!r}, is {now!r}"
