"""Everything that a prediction can be told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from nucleiseg._checks import check_count, check_flag, check_instance, check_range, hold_plain_numbers
from nucleiseg._precision import AskedPrecision, check_asked_precision
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
        Nuclei with fewer of the image's pixels are left out. None takes the model's own, which was chosen on
        validation data; of an image that is magnified, it counts on the larger one.
    tiling : "auto", Tiling or None
        How images that are too large for ``max_memory`` are cut into tiles: "auto" chooses size and overlap by the
        memory and by how far the network looks. None takes every image whole, whatever that needs.
    max_memory : int or str
        Bytes that a prediction may use on top of the process and the image, or a text such as "2GB" or "600MiB".
    tta : bool
        Average over the eight flips and quarter turns of the image: a little more accurate, eight times as slow.
    precision : "auto", "float32" or "mixed_bfloat16"
        What the inner layers compute in. "auto" is bfloat16 for Keras models on processors that know it (AVX512-BF16,
        AMX), where it takes two thirds of the time and half the memory, and float32 elsewhere. Probabilities differ by
        up to about .1 at single pixels, so that an outline moves by a pixel here and there: with "float32", labels are
        the same on all machines but for rounding, and for tiles, of which some processors need smaller ones.
    scale : float or "auto"
        By how much the image is resized for the network, .05 to 20. ``"auto"`` looks at it as it is, and again at
        another scale if the nuclei that are found are far smaller or larger than those that the model was trained on.
    diameter : float, optional
        Usual diameter of the nuclei in pixels: instead of ``scale``, which follows from it. The model must know the
        sizes that it was trained on, as models that were fitted do.
    diameter_um : float, optional
        The same in µm: one number for images of every magnification, where the size of their pixels is known, from the
        file or from ``reading``.
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
    (Tiling(tile=512, overlap=128), 'DAPI')
    """

    threshold: float | None = None
    min_area: int | None = None
    tiling: Tiling | Literal["auto"] | None = "auto"
    max_memory: int | str = "2GB"
    tta: bool = False
    precision: AskedPrecision = "auto"
    scale: float | Literal["auto"] = "auto"
    diameter: float | None = None
    diameter_um: float | None = None
    min_confidence: float | None = None
    remove_edge: bool = False
    fill_holes: bool = False
    reading: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        hold_plain_numbers(self)
        if self.threshold is not None:
            check_range(self.threshold, "threshold", 0, 1)
        if self.min_area is not None:
            check_count(self.min_area, "min_area", 0)
        if self.scale != "auto":
            check_range(self.scale, "scale (a number, or 'auto')", 0.05, 20)
        self._check_diameters()
        if self.min_confidence is not None:
            check_range(self.min_confidence, "min_confidence", 0, 1)
        if self.tiling not in (None, "auto") and not isinstance(self.tiling, Tiling):
            raise InvalidInputError(
                f"tiling must be 'auto', a Tiling or None, got {self.tiling!r}; use Tiling(tile=256)"
            )
        for name in ("tta", "remove_edge", "fill_holes"):
            check_flag(getattr(self, name), name)
        parse_memory(self.max_memory)
        check_asked_precision(self.precision)
        check_instance(self.reading, ReadOptions, "reading", "ReadOptions(channel=0)")

    def _check_diameters(self) -> None:
        if self.diameter is not None:
            check_range(self.diameter, "diameter", 1, 1e5)
        if self.diameter_um is not None:
            check_range(self.diameter_um, "diameter_um", 0.01, 1e5)
            if self.diameter is not None:
                raise InvalidInputError(
                    f"diameter and diameter_um are the same in pixels and in µm, got {self.diameter} and "
                    f"{self.diameter_um}; pass one of them"
                )
        given = [value for value in (self.diameter, self.diameter_um) if value is not None]
        if given and self.scale != "auto":
            raise InvalidInputError(
                f"scale and diameter both say how to resize, got {self.scale} and {given[0]}; pass one of them"
            )

    def in_pixels(self, pixel_size: float | None) -> PredictOptions:
        """The same with ``diameter`` instead of ``diameter_um``, for an image with pixels of this size in µm.

        Raises
        ------
        InvalidInputError
            If there is a ``diameter_um`` but no pixel size, or the nuclei would be smaller than a pixel.

        Examples
        --------
        >>> PredictOptions(diameter_um=8).in_pixels(0.25).diameter
        32.0
        """
        if self.diameter_um is None:
            return self
        if pixel_size is None:
            raise InvalidInputError(
                f"diameter_um needs the size of square pixels, which the image does not tell, got {self.diameter_um} "
                "µm; pass that size with ReadOptions(pixel_size=...) or --pixel-size, or the diameter in pixels; "
                "images with other pixels must be resampled first"
            )
        return replace(self, diameter=self.diameter_um / pixel_size, diameter_um=None)

    @property
    def memory_bytes(self) -> int:
        """``max_memory`` as a number."""
        return parse_memory(self.max_memory)


def given_options(options: PredictOptions | None) -> PredictOptions:
    """What a prediction was told; the defaults for None.

    Raises
    ------
    InvalidInputError
        If it is anything else, such as a mapping.

    Examples
    --------
    >>> given_options(None) == PredictOptions()
    True
    """
    if options is None:
        return PredictOptions()
    check_instance(options, PredictOptions, "options", "PredictOptions(tta=True)")
    return options


def exact_options(options: PredictOptions | None) -> PredictOptions:
    """The same, but computed in float32 unless another precision is named: what is kept hangs on no processor.

    Examples
    --------
    >>> exact_options(PredictOptions(diameter=20)).precision
    'float32'
    """
    options = given_options(options)
    return replace(options, precision="float32") if options.precision == "auto" else options
