"""One image with its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nucleiseg.datasets.known import NO_METADATA
from nucleiseg.datasets.records import Array

__all__ = ["Sample"]


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its labels.

    Parameters
    ----------
    id : str
        Name of the sample, unique in its dataset.
    image : (H, W) or (H, W, C) array
        As it is in the file, in the file's own type; treat it as read-only.
    labels : (H, W) int32 array
        0 is background, every other number one nucleus; treat it as read-only.
    metadata : mapping
        What else is known, such as ``{"modality": "fluorescence"}``.

    Examples
    --------
    >>> Sample("a", np.zeros((3, 4), np.uint8), np.eye(3, 4, dtype=np.int32))
    Sample('a', image uint8 (3, 4))
    """

    id: str
    image: Array
    labels: NDArray[np.int32]
    metadata: Mapping[str, object] = field(default_factory=lambda: NO_METADATA)

    def __repr__(self) -> str:
        return f"Sample({self.id!r}, image {self.image.dtype} {self.image.shape})"
