"""What a model finds in one image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import as_list
from nucleiseg._files import check_stem, write_text
from nucleiseg._precision import Precision
from nucleiseg.images import Micrograph, judge_image, overlay
from nucleiseg.images.channels import has_alpha
from nucleiseg.images.overlay import overlay_bands
from nucleiseg.images.sampling import LARGEST
from nucleiseg.inference.flags import flags_of_nuclei
from nucleiseg.inference.limits import is_familiar
from nucleiseg.inference.scale import Passport
from nucleiseg.instances import (
    Calibration,
    NamedLabels,
    get_exporter,
    rate,
    write_labels,
    write_mask,
)
from nucleiseg.instances.exporting import write_picture_bands
from nucleiseg.instances.measuring import distinct_names, measure_columns
from nucleiseg.instances.streaming import measured_blocks
from nucleiseg.instances.summary import summary_row

if TYPE_CHECKING:
    import pandas as pd

_PART = 1024  # pixels, height and width of what is measured at once of a large image
_ROWS = 256


@dataclass(frozen=True)
class Prediction:
    """The nuclei of one image; all arrays have its height and width.

    Parameters
    ----------
    image : numpy.ndarray, (H, W) or (H, W, C)
        The raw pixels that the model saw: all that were given, or the channel that was chosen.
    probability : numpy.ndarray, (H, W)
        float32 in [0, 1]: how sure the model is that a pixel belongs to a nucleus.
    labels : numpy.ndarray, (H, W)
        int32: 0 is background, 1 … n are the nuclei.
    source : Micrograph, optional
        Raw pixels of every channel, their names and the size of a pixel, where there is more than ``image``.
    calibration : Calibration, optional
        How `confidence` is computed; the model's own.
    passport : Passport, optional
        The sizes that the model was trained on.
    scale : float
        By how much the image was resized for the network.
    rated : numpy.ndarray of float64, (n,), optional
        The confidence of the nuclei, where it is known already: since it tells by its neighbours, too, how sure a
        nucleus is, it was computed before those that are not sure enough were left out.
    familiar : bool, optional
        Whether the model was sure of what it found as a whole, before any nuclei were left out; where nothing was, that
        follows from `confidence`.
    wanted_scale : float, optional
        The scale that would suit the nuclei, where ``max_memory`` does not suffice for it: the nearest one that fits
        was taken.
    precision : "float32" or "mixed_bfloat16"
        What the inner layers of the network computed in.

    Examples
    --------
    >>> found = Prediction(np.zeros((1, 3)), np.zeros((1, 3), np.float32), np.array([[1, 0, 2]], np.int32))
    >>> found.count, found.mask.tolist()
    (2, [[True, False, True]])
    """

    image: npt.NDArray[Any] = field(repr=False)
    probability: npt.NDArray[np.float32] = field(repr=False)
    labels: npt.NDArray[np.int32] = field(repr=False)
    source: Micrograph | None = field(default=None, repr=False)
    calibration: Calibration | None = field(default=None, repr=False)
    passport: Passport | None = field(default=None, repr=False)
    scale: float = 1.0
    rated: npt.NDArray[np.float64] | None = field(default=None, repr=False)
    familiar: bool | None = field(default=None, repr=False)
    wanted_scale: float | None = None
    precision: Precision = "float32"

    @cached_property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Where there is any nucleus: bool (H, W)."""
        return self.labels > 0

    @cached_property
    def count(self) -> int:
        """How many nuclei there are."""
        return int(self.labels.max(initial=0))

    @property
    def pixel_size(self) -> float | None:
        """Height and width of a pixel in µm, where it is known."""
        return None if self.source is None else self.source.pixel_size

    @cached_property
    def confidence(self) -> npt.NDArray[np.float64]:
        """For nucleus 1, 2, … n how likely it is to be one, in [0, 1]; see `nucleiseg.instances.rate`."""
        if self.rated is not None:
            return self.rated
        return rate(self.labels, self.probability, self.calibration, self.scale)

    @cached_property
    def quality(self) -> tuple[str, ...]:
        """What speaks against trusting this image, nothing as a rule.

        What `nucleiseg.images.judge_image` says, ``"unusual size"`` where the nuclei, at the scale that the network
        saw, are smaller or larger than those that it was trained on, and ``"unfamiliar"`` where the mean confidence
        over all pixels of nuclei is below .6: the image may be of a kind that the model hardly knows. The latter is
        said by models whose confidence is calibrated. ``"short of memory"``: there is a `wanted_scale`.
        """
        areas = self._areas()
        areas = areas[areas > 0]
        familiar = None if self.calibration is None else self._is_familiar(areas)
        flags = judge_image(self.image, self.labels) + flags_of_nuclei(areas, self.scale, self.passport, familiar)
        return flags if self.wanted_scale is None else (*flags, "short of memory")

    @property
    def _quality(self) -> str:
        return "; ".join(self.quality)

    def _areas(self) -> npt.NDArray[np.int64]:
        """Pixels of nucleus 1 … n."""
        areas = np.zeros(self.count + 1, np.int64)
        for top in range(0, len(self.labels), _ROWS):  # since NumPy counts in integers of 64 bits
            areas += np.bincount(self.labels[top : top + _ROWS].ravel(), minlength=areas.size)
        return areas[1:]

    def _is_familiar(self, areas: npt.NDArray[np.int64]) -> bool:
        return is_familiar(areas, self.confidence) if self.familiar is None else self.familiar

    def table(self) -> pd.DataFrame:
        """One row a nucleus, measured on the raw pixels of every channel; see `nucleiseg.instances.measure`.

        Alpha, the last of two or four samples of a picture, is not measured. After the area come the `confidence`, and
        the `quality` of the image as a text, which is empty as a rule.
        """
        import pandas as pd

        source = self.source or Micrograph(self.image, self.image, alpha=has_alpha(self.image))
        if self.labels.size > LARGEST:
            return self._table_by_parts(source)
        names = distinct_names(source.channels)  # files may give two channels the same one
        columns = measure_columns(self.labels, source.measured, source.pixel_size, names)
        # Early, since files with more channels than others have more columns at the end.
        first = {name: columns.pop(name) for name in ("label", "area")}
        return pd.DataFrame({**first, "confidence": self.confidence, "quality": self._quality, **columns})

    def _table_by_parts(self, source: Micrograph) -> pd.DataFrame:
        """The same: what is known of each pixel of nuclei while they are measured takes many times its own memory."""
        import pandas as pd

        def pixels(rows: slice, columns: slice) -> npt.NDArray[Any]:
            return source.measured[rows, columns]

        of_all = source.pixel_size, source.channels, _PART, self.confidence, self._quality
        blocks = measured_blocks(self.labels, pixels, *of_all)
        return pd.concat([block.table for block in blocks]).sort_values("label", ignore_index=True)

    def summary(self) -> pd.DataFrame:
        """One row about all nuclei; see `nucleiseg.instances.summarize`. Then ``scale``, and ``quality`` as text."""
        return self.summary_of(self.table())

    def summary_of(self, table: pd.DataFrame) -> pd.DataFrame:
        """`summary`, from a table that is known already."""
        import pandas as pd

        height, width = self.labels.shape
        row = summary_row(table, (height, width), self.pixel_size)
        return pd.DataFrame([{**row, "scale": round(self.scale, 4), "quality": self._quality}])

    def overlay(self) -> npt.NDArray[np.uint8]:
        """The image with the outlines of the nuclei: uint8 RGB (H, W, 3)."""
        return overlay(self.image, self.labels)

    def save_images(self, folder: str | os.PathLike[str], stem: str) -> dict[str, Path]:
        """Write ``<stem>_labels.tif``, ``<stem>_mask.png`` and ``<stem>_overlay.png``.

        Returns
        -------
        dict of str to Path
            ``labels``, ``mask`` and ``overlay``.

        Raises
        ------
        InvalidInputError
            If the stem names a folder.
        """
        check_stem(stem)
        paths = {
            "labels": Path(folder) / f"{stem}_labels.tif",
            "mask": Path(folder) / f"{stem}_mask.png",
            "overlay": Path(folder) / f"{stem}_overlay.png",
        }
        write_labels(paths["labels"], self.labels, self.pixel_size)
        write_mask(paths["mask"], self.labels)
        write_picture_bands(paths["overlay"], (*self.labels.shape, 3), overlay_bands(self.image, self.labels))
        return paths

    def save(self, folder: str | os.PathLike[str], stem: str = "image") -> dict[str, Path]:
        """Write labels, mask, overlay and ``<stem>_measurements.csv`` into a folder, which is made if needed.

        Each file appears complete or not at all; a file of the same name is replaced.

        Parameters
        ----------
        folder : path
            Where to.
        stem : str
            How the file names begin.

        Returns
        -------
        dict of str to Path
            ``labels``, ``mask``, ``overlay`` and ``measurements``.

        Raises
        ------
        InvalidInputError
            If the stem names a folder.
        """
        measurements = Path(folder) / f"{stem}_measurements.csv"
        paths = self.save_images(folder, stem)
        write_text(measurements, self.table().to_csv(index=False, lineterminator="\n"))
        return {**paths, "measurements": measurements}

    def export(
        self, folder: str | os.PathLike[str], stem: str = "image", formats: Sequence[str] | str = ("geojson",)
    ) -> dict[str, Path]:
        """Write the nuclei for other programs: QuPath, ImageJ, COCO's and Kaggle's tools, and so on.

        Parameters
        ----------
        folder : path
            Where to; it is made if needed, and files of the same names are replaced.
        stem : str
            How the file names begin.
        formats : sequence of str, or str
            Of `nucleiseg.instances.list_exporters`.

        Returns
        -------
        dict of str to Path
            The file of each format.

        Raises
        ------
        InvalidInputError
            If a format is unknown, or the stem names a folder.
        MissingPackageError
            If a package that a format needs is not installed.

        Examples
        --------
        >>> import tempfile
        >>> found = Prediction(np.zeros((1, 3)), np.zeros((1, 3), np.float32), np.array([[1, 0, 2]], np.int32))
        >>> found.export(tempfile.mkdtemp(), "a", ["geojson", "coco"])["coco"].name
        'a_coco.json'
        """
        check_stem(stem)
        exporters = [get_exporter(name) for name in as_list(formats)]
        for exporter in exporters:
            exporter.check()
        image = NamedLabels(stem, self.labels, "", self.pixel_size, self.table(), self._quality)
        return {exporter.name: exporter.export(Path(folder), stem, [image]) for exporter in exporters}

    def __repr__(self) -> str:
        height, width = self.labels.shape
        return f"Prediction({height} × {width} pixels, {self.count} nuclei)"
