"""Train a copy of a model on a few images, compare, and keep the better one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np

from nucleiseg._checks import check_count, check_flag, check_instance, check_range
from nucleiseg.datasets import Dataset
from nucleiseg.datasets.given import check_dataset
from nucleiseg.datasets.mixing import join, mix
from nucleiseg.engines.formats import keras_model
from nucleiseg.errors import InvalidInputError
from nucleiseg.fine_tuning.curves import CurvePoint, LearningCurve
from nucleiseg.fine_tuning.own_images import OwnImages, check_apart, split_own, split_reference
from nucleiseg.fine_tuning.results import FineTuning, is_better
from nucleiseg.inference import Comparison
from nucleiseg.modelfile import copy_network
from nucleiseg.plotting import History
from nucleiseg.segmenter import Segmenter
from nucleiseg.training import FitOptions

if TYPE_CHECKING:
    from nucleiseg.training.runs import TrainingRun

__all__ = ["fine_tune", "learning_curve"]

EPOCHS, TOLERANCE = 30, 0.02


def fine_tune(
    segmenter: Segmenter,
    data: Dataset | tuple[Dataset, Dataset, Dataset],
    reference: Dataset | None = None,
    epochs: int = EPOCHS,
    options: FitOptions | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    curve: bool = False,
    watch: Callable[[History], object] | None = None,
) -> FineTuning:
    """Move a trained model towards a few images of one's own, and keep it as it was if that makes it worse.

    A copy is trained on some of the images; others choose the best epoch (the start counts as one) and the thresholds;
    the rest, held out, judge both models. The copy is kept if its average precision at an IoU of .5 is higher on the
    held-out images and, on the reference images, lower by the tolerance at most.

    Parameters
    ----------
    segmenter : Segmenter
        A trained model, such as `Segmenter.from_pretrained` gives. It is never changed.
    data : Dataset, or three of them
        Labelled images of one's own, 5 to 50 as a rule; a dataset is split by `split_own`. Three datasets, as
        `Dataset.split_by` gives them, are learned from, chosen by, and held out.
    reference : Dataset, optional
        Images of the kind that the model should not forget, at least three, none of them in ``data``. A fifth (at most
        20) helps to choose the thresholds; of the others one half (at most 100) is learned from too, in turns with
        one's own, and the other half is held out and judges.
    epochs : int
        At most so many; one has 80 crops, or 160 with reference images.
    options : FitOptions, optional
        Instead of `FitOptions.for_few_images`. ``balance`` does not go with reference images.
    tolerance : float
        How much the score of the reference images may fall, in [0, 1].
    seed : int
        Decides the splits.
    curve : bool
        Also train on a quarter and on half of the images to learn from, for `FineTuning.curve`: takes three times as
        long.
    watch : function, optional
        Called after every epoch with the history so far, as for `Segmenter.fit`.

    Returns
    -------
    FineTuning
        The better model, the scores before and after, and a verdict.

    Raises
    ------
    InvalidInputError
        If the model was never trained, images are too few, one is in two parts or in the reference as well, or a number
        is out of its range.
    TrainingError
        If the loss is no number any more, or memory does not suffice.

    Examples
    --------
    >>> from nucleiseg import datasets
    >>> data = datasets.from_arrays(np.zeros((2, 64, 64), np.uint8), np.zeros((2, 64, 64), int))
    >>> fine_tune(Segmenter.from_pretrained("nuclei-fast"), data)
    Traceback (most recent call last):
    nucleiseg.errors.InvalidInputError: fine-tuning needs at least 5 images, ... got 2; ...
    """
    check_range(tolerance, "tolerance", 0, 1)
    check_flag(curve, "curve")
    own, judged, recipe = _prepared(segmenter, data, reference, epochs, options, seed)
    tuned, history = recipe(own.learn, own.choose, watch)
    compared = Comparison(segmenter.evaluate(own.held_out), tuned.evaluate(own.held_out))
    remembered = None if judged is None else Comparison(segmenter.evaluate(judged), tuned.evaluate(judged))
    kept = tuned if is_better(compared, remembered, tolerance) else segmenter
    drawn = None
    if curve:
        ends = (CurvePoint(0, compared.scores[0]), CurvePoint(len(own.learn), compared.scores[1]))
        drawn = _curve(own, recipe, _sizes(len(own.learn)), ends, seed)
    return FineTuning(kept, tuned, compared, remembered, history, tolerance, len(own.learn), len(own.choose), drawn)


def learning_curve(
    segmenter: Segmenter,
    data: Dataset | tuple[Dataset, Dataset, Dataset],
    reference: Dataset | None = None,
    epochs: int = EPOCHS,
    options: FitOptions | None = None,
    sizes: Sequence[int] = (),
    seed: int = 0,
) -> LearningCurve:
    """Would more images help? Fine-tunes on ever more of the images to learn from, and scores the held-out ones.

    Every set holds the one before. More would probably help if the last step still gained 0.01 or more; with a handful
    of held-out images, chance alone moves scores by more than that.

    Parameters
    ----------
    segmenter, data, reference, epochs, options, seed
        As for `fine_tune`.
    sizes : sequence of int
        Numbers of images to learn from, besides none and all; a quarter and a half by default.

    Returns
    -------
    LearningCurve
        A table that prints.

    Raises
    ------
    InvalidInputError
        As for `fine_tune`, or if a size does not lie between none and all.

    Examples
    --------
    >>> from nucleiseg import datasets
    >>> data = datasets.from_arrays(np.zeros((5, 64, 64), np.uint8), np.ones((5, 64, 64), int))
    >>> learning_curve(Segmenter.from_pretrained("nuclei-fast"), data, sizes=[9])
    Traceback (most recent call last):
    nucleiseg.errors.InvalidInputError: sizes must be from 1 to 2, below the 3 images to learn from, got [9]; ...
    """
    own, _, recipe = _prepared(segmenter, data, reference, epochs, options, seed)
    most = len(own.learn)
    chosen = sorted({check_count(size, "sizes") for size in sizes}) if len(sizes) else _sizes(most)
    if chosen and chosen[-1] >= most:
        raise InvalidInputError(
            f"sizes must be from 1 to {most - 1}, below the {most} images to learn from, got {chosen}; "
            "none and all are there anyway"
        )
    before = segmenter.evaluate(own.held_out)
    after = recipe(own.learn, own.choose, None)[0].evaluate(own.held_out)
    scores = Comparison(before, after).scores
    return _curve(own, recipe, chosen, (CurvePoint(0, scores[0]), CurvePoint(most, scores[1])), seed)


_Recipe = Callable[[Dataset, Dataset, "Callable[[History], object] | None"], tuple[Segmenter, History]]
"""From images to learn from and to choose by to a tuned copy of the model."""


def _prepared(
    segmenter: Segmenter,
    data: Dataset | tuple[Dataset, Dataset, Dataset],
    reference: Dataset | None,
    epochs: int,
    options: FitOptions | None,
    seed: int,
) -> tuple[OwnImages, Dataset | None, _Recipe]:
    """The own images in parts, reference images to judge by, and what trains a copy; raises before it does."""
    check_instance(segmenter, Segmenter, "segmenter", 'Segmenter.from_pretrained("nuclei")')
    for part in data if isinstance(data, tuple) and len(data) == len(fields(OwnImages)) else (data,):
        check_dataset(part, "data")
    if reference is not None:
        check_dataset(reference, "reference")
    if options is not None:
        check_instance(options, FitOptions, "options", "FitOptions(batch_size=4)")
    check_count(epochs, "epochs")
    check_count(seed, "seed", 0)
    if not segmenter._settings.trained:
        raise InvalidInputError(
            "fine-tuning goes on from a trained model, got one that has learned nothing yet; take "
            'Segmenter.from_pretrained("nuclei"), fit this one, or adopt(segmenter.model) if Keras trained it'
        )
    if reference is not None and options is not None and options.balance is not None:
        raise InvalidInputError(
            f"images that are mixed with reference images have no metadata to balance by, got balance="
            f"{options.balance!r}; leave out one of the two"
        )
    own = split_own(data, seed) if isinstance(data, Dataset) else OwnImages(*data)
    rehearsed, chosen_by, judged = (None, None, None) if reference is None else split_reference(reference, seed)
    if reference is not None:
        check_apart({**own.by_use(), "remember (reference)": reference})

    def recipe(learn: Dataset, choose: Dataset, watch: Callable[[History], object] | None) -> tuple[Segmenter, History]:
        tuned = _copy(segmenter)
        train = learn if rehearsed is None else mix(learn, rehearsed)
        fitted = options or FitOptions.for_few_images(len(learn) if rehearsed is None else len(train) // 2)
        run = _train(tuned, train, choose, epochs, fitted, watch)  # thresholds follow, by more images
        if not run.is_as_before:
            from nucleiseg.learning import passport_of

            # Not of the reference images, which are many more: the model is for images like one's own.
            tuned._settings = replace(tuned._settings, passport=passport_of(learn, fitted))
        # By images that were not learned from, and each once: of an image twice confidence would seem twice as certain.
        tuned.optimize_thresholds(choose if chosen_by is None else join(choose, chosen_by))
        return tuned, History(run.rows)

    return own, judged, recipe


def _train(
    tuned: Segmenter,
    train: Dataset,
    choose: Dataset,
    epochs: int,
    options: FitOptions,
    watch: Callable[[History], object] | None,
) -> TrainingRun:
    """As `Segmenter.fit`, which would choose thresholds by the choosing images alone."""
    from nucleiseg.learning import train_network

    told = None if watch is None else lambda rows: watch(History(rows))
    run = train_network(tuned.model, tuned._settings, train, choose, epochs, options, None, False, told)
    tuned._settings = run.settings
    if run.error is not None:
        raise run.error
    return run


def _copy(segmenter: Segmenter) -> Segmenter:
    """The same model with weights of its own."""
    from nucleiseg.engines import KerasEngine

    copy = Segmenter.__new__(Segmenter)
    copy._settings, copy._engine = segmenter._settings, KerasEngine(copy_network(keras_model(segmenter._engine)))
    return copy


def _sizes(images: int) -> list[int]:
    """A quarter and a half, rounded up, where that is fewer than all."""
    return sorted({size for part in (4, 2) if (size := math.ceil(images / part)) < images})


def _curve(
    own: OwnImages, recipe: _Recipe, sizes: Sequence[int], ends: tuple[CurvePoint, CurvePoint], seed: int
) -> LearningCurve:
    order = np.random.default_rng(seed).permutation(len(own.learn))
    between = []
    for size in sizes:
        learn = own.learn.select([own.learn.ids[index] for index in order[:size]])
        scores = recipe(learn, own.choose, None)[0].evaluate(own.held_out).to_dict()["all"]
        between.append(CurvePoint(size, scores["ap50"]))
    return LearningCurve((ends[0], *between, ends[1]))
