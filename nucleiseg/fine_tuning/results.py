"""What fine-tuning led to: the better model, the scores before and after, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nucleiseg.fine_tuning.curves import LearningCurve
from nucleiseg.inference import Comparison
from nucleiseg.plotting import History
from nucleiseg.segmenter import Segmenter

__all__ = ["FineTuning", "is_better"]

_FEWEST = 3  # images that an interval is made of


@dataclass(frozen=True)
class FineTuning:
    """What fine-tuning led to. Prints as a short table with its verdict.

    Parameters
    ----------
    segmenter : Segmenter
        The better model: the tuned one, or the very object that fine-tuning was given, untouched.
    tuned : Segmenter
        The tuned model, better or not.
    own : Comparison
        Scores of the held-out images before and after.
    reference : Comparison or None
        Those of the reference images that were not learned from.
    history : History
        Of the training; epoch 0 is the model as it was.
    tolerance : float
        How much the score of the reference images may fall.
    learned, chosen : int
        How many of the own images were learned from, and how many chose the epoch and the thresholds.
    curve : LearningCurve or None
        If it was asked for.

    Examples
    --------
    >>> from nucleiseg.inference import Evaluation, ImageScore
    >>> from nucleiseg.instances import match
    >>> before, after = (
    ...     Evaluation([ImageScore("a", "", match([[1, 0, 2]], found))]) for found in ([[1, 0, 0]], [[1, 0, 2]])
    ... )
    >>> history = History(({"epoch": 0, "val_dice": 0.5}, {"epoch": 1, "loss": 0.2, "val_dice": 0.8}))
    >>> tuned = Segmenter.from_pretrained("nuclei-fast")
    >>> print(FineTuning(tuned, tuned, Comparison(before, after), None, history, 0.02, learned=3, chosen=1).verdict)
    The tuned model is kept: it is better on the held-out images.
    """

    segmenter: Segmenter
    tuned: Segmenter
    own: Comparison
    reference: Comparison | None
    history: History
    tolerance: float
    learned: int
    chosen: int
    curve: LearningCurve | None = None

    @property
    def is_better(self) -> bool:
        """Whether the tuned model is kept: see `fine_tune`."""
        return is_better(self.own, self.reference, self.tolerance)

    @property
    def verdict(self) -> str:
        """One sentence: which model is kept, and why."""
        if self.is_better:
            return "The tuned model is kept: it is better on the held-out images" + (
                "." if self.reference is None else f", and on the reference images at most {self.tolerance:g} worse."
            )
        if self.own.gain <= 0:
            return "The model stays as it was: the tuned one is not better on the held-out images."
        return (
            f"The model stays as it was: on the reference images the tuned one is more than {self.tolerance:g} worse."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the models, in JSON values."""
        sets = {"own": self.own} | ({} if self.reference is None else {"reference": self.reference})
        return {
            "kept": "tuned" if self.is_better else "old",
            **{
                name: {"images": found.images, "before": found.scores[0], "after": found.scores[1], "gain": found.gain}
                for name, found in sets.items()
            },
            "own_interval": None if self.own.images < _FEWEST else list(self.own.interval()),
            "tolerance": self.tolerance,
            "learned_from": self.learned,
            "chosen_by": self.chosen,
            "best_epoch": self.history.best_epoch,
            "curve": None if self.curve is None else self.curve.to_dict(),
        }

    def __str__(self) -> str:
        lines = [
            "AP at IoU .5         images  before  after    gain",
            _line("held-out, own", self.own) + f"  ({_chance(self.own)})",
        ]
        if self.reference is not None:
            lines.append(_line("reference", self.reference))
        epochs = int(self.history.rows[-1]["epoch"])
        best = self.history.best_epoch
        chosen = f"epoch {best} of {epochs}" if best else f"none of {epochs} epochs, only thresholds,"
        lines += [
            f"Learned from {self.learned} images, {chosen} chosen by {self.chosen}, judged by {self.own.images}.",
            self.verdict,
        ]
        if self.reference is None:
            lines.append("What it forgets of other images is not known: give it reference images.")
        return "\n".join(lines if self.curve is None else [*lines, "", str(self.curve)])


def _chance(found: Comparison) -> str:
    """How far chance may have moved the gain; images drawn from one or two anew say nothing about that."""
    if found.images < _FEWEST:
        return f"of {'one image' if found.images == 1 else 'two images'}: chance cannot be told"
    low, high = found.interval()
    return f"{low:+.3f} to {high:+.3f} in 95 % of such sets"


def _line(name: str, found: Comparison) -> str:
    before, after = found.scores
    return f"{name:<20} {found.images:6d}  {before:6.3f}  {after:5.3f}  {found.gain:+.3f}"


def is_better(own: Comparison, reference: Comparison | None, tolerance: float) -> bool:
    """Whether a model is better on one's own images, and on those of the old kind hardly worse.

    Parameters
    ----------
    own, reference : Comparison
        Before and after; without reference images, one's own decide.
    tolerance : float
        How much the score of the reference images may fall.
    """
    return own.gain > 0 and (reference is None or reference.gain >= -tolerance)
