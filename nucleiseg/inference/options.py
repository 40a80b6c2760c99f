"""Everything that a prediction can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nucleiseg._checks import check_count, check_range
from nucleiseg.errors import InvalidInputError
from nucleiseg.images.read_options import ReadOptions
from nucleiseg.images.tiling import Tiling
from nucleiseg.inference.memory import parse_memory


@dataclass(frozen=True)
class PredictOptions:
    """How an image is segmented. The command line has a flag for each field.

    Parameters
    ----------
    threshold : float, optional
        Probability above which a pixel belongs to a nucleus, in [0, 1]. None takes the model's own.
    min_area : int
        Nuclei with fewer pixels are left out.
    tiling : "auto", Tiling or None
        How images that are too large for ``max_memory`` are cut into tiles: "auto" chooses size and overlap by the
        memory and by how far the network looks. None takes every image whole, whatever that needs.
    max_memory : int or str
        Bytes that a prediction may use on top of the process and the image, or a text such as "2GB" or "600MiB".
    tta : bool
        Average over the eight flips and quarter turns of the image: a little more accurate, eight times as slow.
    remove_edge : bool
        Nuclei at the edge of the image, which may be cut off, are left out.
    fill_holes : bool
        Background that a single nucleus encloses becomes part of it.
    reading : ReadOptions
        Which channel and planes of the image are looked at, and the size of its pixels.

    Raises
    ------
    InvalidInputError
        If a value is out of its range.

    Examples
    --------
    >>> options = PredictOptions(min_area=30, tiling=Tiling(tile=512), reading=ReadOptions(channel="DAPI"))
    >>> options.tiling, options.reading.channel
    (Tiling(tile=512, overlap=64), 'DAPI')
    """

    threshold: float | None = None
    min_area: int = 0
    tiling: Tiling | Literal["auto"] | None = "auto"
    max_memory: int | str = "2GB"
    tta: bool = False
    remove_edge: bool = False
    fill_holes: bool = False
    reading: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        if self.threshold is not None:
            check_range(self.threshold, "threshold", 0, 1)
        check_count(self.min_area, "min_area", 0)
        if self.tiling not in (None, "auto") and not isinstance(self.tiling, Tiling):
            raise InvalidInputError(
                f"tiling must be 'auto', a Tiling or None, got {self.tiling!r}; use Tiling(tile=256)"
            )
        parse_memory(self.max_memory)
        if not isinstance(self.reading, ReadOptions):
            raise InvalidInputError(f"reading must be ReadOptions, got {self.reading!r}; use ReadOptions(channel=0)")

    @property
    def memory_bytes(self) -> int:
        """``max_memory`` as a number."""
        return parse_memory(self.max_memory)
