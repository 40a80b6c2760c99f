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
    min_area : int, optional
        Nuclei with fewer pixels are left out. None takes the model's own, which was chosen on validation data.
    tiling : "auto", Tiling or None
        How images that are too large for ``max_memory`` are cut into tiles: "auto" chooses size and overlap by the
        memory and by how far the network looks. None takes every image whole, whatever that needs.
    max_memory : int or str
        Bytes that a prediction may use on top of the process and the image, or a text such as "2GB" or "600MiB".
    tta : bool
        Average over the eight flips and quarter turns of the image: a little more accurate, eight times as slow.
    scale : float or "auto"
        By how much the image is resized for the network, .05 to 20. ``"auto"`` looks at it as it is, and again at
        another scale if the nuclei that are found are far smaller or larger than those that the model was trained on.
    diameter : float, optional
        Usual diameter of the nuclei in pixels: instead of ``scale``, which follows from it.
    min_confidence : float, optional
        Nuclei whose confidence is lower are left out, in [0, 1]; 0 keeps all. None takes the model's own, but keeps
        all in an image of which the model is unsure as a whole, and all if ``threshold`` is given: who asks for a
        lower one wants to see what is doubtful.
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
    min_area: int | None = None
    tiling: Tiling | Literal["auto"] | None = "auto"
    max_memory: int | str = "2GB"
    tta: bool = False
    scale: float | Literal["auto"] = "auto"
    diameter: float | None = None
    min_confidence: float | None = None
    remove_edge: bool = False
    fill_holes: bool = False
    reading: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        if self.threshold is not None:
            check_range(self.threshold, "threshold", 0, 1)
        if self.min_area is not None:
            check_count(self.min_area, "min_area", 0)
        if self.scale != "auto":
            check_range(self.scale, "scale (a number, or 'auto')", 0.05, 20)
        if self.diameter is not None:
            check_range(self.diameter, "diameter", 1, 1e5)
            if self.scale != "auto":
                raise InvalidInputError(
                    f"scale and diameter both say how to resize, got {self.scale} and {self.diameter}; pass one of them"
                )
        if self.min_confidence is not None:
            check_range(self.min_confidence, "min_confidence", 0, 1)
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
