"""How good predicted nuclei are: counts per image, scores per group and over all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nucleiseg._checks import as_list, check_choice
from nucleiseg._files import check_suffix, write_text
from nucleiseg._progress import progress
from nucleiseg.datasets.given import check_dataset
from nucleiseg.errors import InvalidInputError
from nucleiseg.inference.bootstrap import Bootstrap
from nucleiseg.instances import InstanceCounts, match, score_images
from nucleiseg.instances.whole import only_whole

if TYPE_CHECKING:
    import pandas as pd

    from nucleiseg.datasets import Dataset, Sample
    from nucleiseg.inference.options import PredictOptions
    from nucleiseg.inference.prediction import Prediction

_ALL = "all"
# What is printed, as tables below each other: scores of nuclei, of pixels, and kinds of errors.
_PRINTED = {
    "nuclei": "images nuclei found dsb ap50 ap75 ap90 f1_50 precision_50 recall_50",
    "areas": "pq sq rq aji aji_plus mean_dice dice iou pixel_accuracy",
    "errors": "splits merges misses false_positives poor_outlines boundary_offset boundary_bias",
}


@dataclass(frozen=True)
class ImageScore:
    """Counts of one image.

    Parameters
    ----------
    id : str
        Of the image.
    group : str
        What scores are reported for separately, such as the modality; "" for none.
    counts : InstanceCounts
        Of `nucleiseg.instances.match`, with its default thresholds.

    Examples
    --------
    >>> from nucleiseg.instances import match
    >>> ImageScore("a", "", match([[1, 1, 0]], [[1, 0, 0]])).counts.average_precision(0.5)
    1.0
    """

    id: str
    group: str
    counts: InstanceCounts


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set of images. Prints as tables: of nuclei, of areas, and of kinds of errors.

    ``dsb`` and ``mean_dice`` are means over images; everything else is taken from the counts of all images together, so
    images with more nuclei or pixels weigh more. `nucleiseg.instances.score_images` says what each score is.

    Parameters
    ----------
    images : sequence of ImageScore
        At least one; none of a group "all", which is the name of all of them.

    Examples
    --------
    >>> from nucleiseg.instances import match
    >>> scores = Evaluation([ImageScore("a", "", match([[1, 1, 0, 2]], [[1, 1, 1, 0]]))])
    >>> scores.to_dict()["all"]["ap50"], scores.to_dict()["all"]["dice"]
    (0.5, 0.6666666666666666)
    >>> print(scores.table()[["images", "nuclei", "found", "dsb"]])
         images  nuclei  found  dsb
    all       1       2      1  0.2
    """

    images: Sequence[ImageScore]

    def __post_init__(self) -> None:
        if not self.images:
            raise InvalidInputError("an evaluation needs at least one image, got none; check the split and the dataset")
        _check_groups(image.group for image in self.images)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Scores by group name; ``"all"`` is over all images."""
        return {group: score_images([image.counts for image in images]) for group, images in self._groups().items()}

    def _groups(self) -> dict[str, Sequence[ImageScore]]:
        groups = sorted({image.group for image in self.images} - {""})
        parts = {group: [image for image in self.images if image.group == group] for group in groups}
        return {**parts, _ALL: self.images}

    def intervals(
        self,
        scores: Sequence[str] | str = ("ap50", "dsb", "mean_dice"),
        level: float = 0.95,
        rounds: int = 1000,
        seed: int = 0,
    ) -> dict[str, dict[str, tuple[float, float]]]:
        """Where scores would lie for other images of the same kind: bootstrap confidence intervals.

        Images are drawn anew, as many as there are, with replacement (nuclei of one image have too much in common to
        be drawn one by one); an interval reaches from one percentile of the scores to another.

        Parameters
        ----------
        scores : sequence of str, or str
            Names of `nucleiseg.instances.score_images`.
        level : float
            Share of the draws inside the interval, in [0, 1].
        rounds : int
            How often images are drawn.
        seed : int
            Decides which.

        Returns
        -------
        dict of dict of (float, float)
            By group and score: low and high. With one image in a group both are its score.

        Raises
        ------
        InvalidInputError
            If a score is unknown or a number out of its range.

        References
        ----------
        .. [1] B. Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7, 1979.

        Examples
        --------
        >>> from nucleiseg.instances import match
        >>> good, bad = match([[1, 0]], [[1, 0]]), match([[1, 0]], [[0, 1]])
        >>> Evaluation([ImageScore("a", "", good), ImageScore("b", "", bad)]).intervals(["ap50"], rounds=50)
        {'all': {'ap50': (0.0, 1.0)}}
        """
        bootstrap, scores = Bootstrap(level, rounds, seed), as_list(scores)
        for name in scores:
            check_choice(name, "score", score_images([self.images[0].counts]))
        found: dict[str, dict[str, tuple[float, float]]] = {}
        groups = self._groups()
        draws = bootstrap.draws([len(images) for images in groups.values()])
        for (group, images), drawn in zip(groups.items(), draws, strict=True):
            rows = [score_images([images[index].counts for index in indices]) for indices in drawn]
            found[group] = {name: bootstrap.bounds([row[name] for row in rows]) for name in scores}
        return found

    def table(self) -> pd.DataFrame:
        """`to_dict` as a table: a row for each group and one for all."""
        import pandas as pd

        return pd.DataFrame.from_dict(self.to_dict(), orient="index")

    def per_image(self) -> pd.DataFrame:
        """One row an image: id, group, and the scores of this image alone."""
        import pandas as pd

        rows = [{"id": image.id, "group": image.group, **score_images([image.counts])} for image in self.images]
        return pd.DataFrame(rows).drop(columns=["images", "mean_dice"])

    def write_per_image(self, path: str | os.PathLike[str]) -> None:
        """Write `per_image` as a CSV file, whose name ends so."""
        check_suffix(path, ".csv")
        write_text(path, self.per_image().to_csv(index=False, lineterminator="\n"))

    def __str__(self) -> str:
        table = self.table().round(4)
        return "\n\n".join(
            table[columns.split()].rename_axis(columns=title).to_string() for title, columns in _PRINTED.items()
        )


def evaluate_images(
    data: Dataset,
    predict: Callable[[Sample], Prediction],
    group: str,
    watch: Callable[[Sample, Prediction], object] | None = None,
    options: PredictOptions | None = None,
) -> Evaluation:
    """The work of `Segmenter.evaluate`, whatever predicts: ``predict`` gives what is found in a sample.

    Of the options, ``remove_edge`` tells that nuclei at the edge don't count, which ``predict`` left out already.

    Raises
    ------
    InvalidInputError
        If the dataset is empty or none, or a group is called "all".
    """
    check_dataset(data, "data")
    _check_groups(str(known.get(group, "")) for known in data.metadata)  # before the work is done
    scores = []
    for sample in progress(data, "evaluating", len(data)):
        found = predict(sample)
        if watch is not None:
            watch(sample, found)
        pair = sample.labels, found.labels
        if options is not None and options.remove_edge:
            pair = only_whole(*pair)
        scores.append(ImageScore(sample.id, str(sample.metadata.get(group, "")), match(*pair)))
    return Evaluation(scores)


def _check_groups(groups: Iterable[str]) -> None:
    if _ALL in groups:
        raise InvalidInputError(
            f"a group must not be called {_ALL!r}, as the scores over all images are, got one; "
            "rename it in the table, or group by another column"
        )
