"""Split samples at random into parts, alike in one property."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from nucleiseg.errors import DatasetError, InvalidInputError

__all__ = ["split_at_random", "split_by_column"]

_SPLITS = ("train", "val", "test")


def split_at_random(
    ids: Sequence[str], fractions: Sequence[float], seed: int, strata: Sequence[Hashable] | None
) -> list[list[int]]:
    """Positions in each part, ascending; see `Dataset.split`."""
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions) or sum(fractions) > 1 + 1e-9:
        raise InvalidInputError(
            f"fractions must be above 0 and add up to at most 1, got {tuple(fractions)}; e.g. split(0.8, 0.1, 0.1)"
        )
    groups: dict[Hashable, list[int]] = defaultdict(list)
    # By id, so that neither the order of the files nor of the strata counts.
    for index in sorted(range(len(ids)), key=lambda index: ids[index]):
        groups[strata[index] if strata is not None else None].append(index)
    random = np.random.default_rng(seed)
    # Each stratum is spread evenly over [0, 1), then all are cut at the same places: every part gets its fraction of
    # the whole to within one sample, and of each stratum nearly so.
    order = [
        ((rank + random.random()) / len(group), group[choice])
        for group in groups.values()
        for rank, choice in enumerate(random.permutation(len(group)))
    ]
    shuffled = [index for _, index in sorted(order)]
    cuts = np.round(np.cumsum([0.0, *fractions]) * len(ids)).astype(int)
    parts = [sorted(shuffled[start:stop]) for start, stop in pairwise(cuts)]
    if not all(parts):
        raise InvalidInputError(
            f"each part must get a sample, {len(ids)} samples cannot be split into {tuple(fractions)}; "
            "use larger fractions or more samples"
        )
    return parts


def split_by_column(ids: Sequence[str], metadata: Sequence[Mapping[str, object]], source: str) -> list[list[int]]:
    """Positions in train, val and test, always these three; see `Dataset.split_by`."""
    parts: dict[object, list[int]] = {split: [] for split in _SPLITS}
    for index, (name, known) in enumerate(zip(ids, metadata, strict=True)):
        if "split" not in known:
            raise DatasetError(
                f"{source}: needs a column 'split' of {', '.join(_SPLITS)}; add it, or use dataset.split"
            )
        if known["split"] not in parts:
            raise DatasetError(
                f"{source}: split must be one of {', '.join(_SPLITS)}, got {known['split']!r} for {name!r}; correct it"
            )
        parts[known["split"]].append(index)
    return list(parts.values())
