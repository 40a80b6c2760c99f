"""Write a copy of a dataset with mended labels, and say what was done."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nucleiseg._files import atomic_path, cut_stem, write_text
from nucleiseg.datasets.dataset import Dataset
from nucleiseg.datasets.doctor.facts import Facts, measure_labels
from nucleiseg.datasets.doctor.findings import plural
from nucleiseg.datasets.doctor.mending import Mended, mend
from nucleiseg.datasets.doctor.settings import CheckSettings
from nucleiseg.datasets.paired import labels_not_mask
from nucleiseg.datasets.records import Array, Record, SourceNotes, Unpaired
from nucleiseg.datasets.threads import in_threads
from nucleiseg.errors import InvalidInputError, NucleisegError
from nucleiseg.images.channels import has_alpha
from nucleiseg.instances.label_tiffs import write_labels

__all__ = ["Repair", "Repaired", "repair"]


@dataclass(frozen=True)
class Repaired:
    """What became of one sample: the name of its files in the copy, or why it is not there."""

    id: str
    name: str
    mended: Mended = field(default_factory=Mended)
    left_out: str = ""


@dataclass(frozen=True)
class Repair:
    """What was done; prints as text.

    Parameters
    ----------
    folder : Path
        The copy.
    samples : tuple of Repaired
        In the order of the dataset; after them, those that lack an image or labels.
    """

    folder: Path
    samples: tuple[Repaired, ...]

    @property
    def changed(self) -> tuple[Repaired, ...]:
        """Samples whose labels were mended."""
        return tuple(sample for sample in self.samples if sample.mended.changed)

    @property
    def total(self) -> dict[str, int]:
        """How much was mended in all: pieces, specks, holes, gaps."""
        return {name: sum(getattr(one.mended, name) for one in self.samples) for name in _ACTIONS}

    def to_dict(self) -> dict[str, Any]:
        """For machines; ``json.dumps`` takes it."""
        return {
            "folder": str(self.folder),
            **self.total,
            "samples": [asdict(one) for one in self.samples if one.mended != Mended() or one.left_out],
        }

    def __str__(self) -> str:
        total = self.total
        out = [one for one in self.samples if one.left_out]
        lines = [
            f"{plural(len(self.samples) - len(out), 'image')} written to {self.folder}, "
            f"labels mended in {len(self.changed)}: "
            + ", ".join(template.format(total[name]) for name, template in _ACTIONS.items())
        ]
        reasons = dict.fromkeys(one.left_out for one in out)  # one says of several samples what they lack
        lines += [f"left out, {reason}" for reason in reasons]
        lines += [f"left as it is, {one.mended.beyond}: {one.id}" for one in self.samples if one.mended.beyond]
        return "\n".join(lines)


_ACTIONS = {
    "pieces": "{} pieces relabelled",
    "specks": "{} specks deleted",
    "holes": "{} holes filled",
    "gaps": "{} gaps closed",
}


def repair(
    dataset: Dataset,
    folder: str | os.PathLike[str],
    settings: CheckSettings | None = None,
    unpaired: Sequence[Unpaired] = (),
) -> Repair:
    """Write a copy of a dataset in which is mended what can be mended without guessing.

    The copy has ``images/<id>.png`` (``.tif`` where PNG cannot hold the type), ``labels/<id>_labels.tif``,
    ``changes.csv`` with what was done to each image, and ``metadata.csv`` if anything was known of the samples. Pieces
    of labels get labels of their own, specks are deleted, holes filled, and labels numbered from 1 without gaps; where
    there is a single one its number is 2, since a file of 0 and 1 is a mask.
    Images are not changed, duplicates and overlaps are left; samples that cannot be read, or that lack an image or
    labels, are left out, and ``changes.csv`` says why.

    Parameters
    ----------
    dataset : Dataset
        From `read` or `from_arrays`.
    folder : str or path
        New or empty.
    settings : CheckSettings, optional
        What is a speck.
    unpaired : sequence of Unpaired
        From `open_for_check`.

    Returns
    -------
    repair : Repair
        What was done.

    Raises
    ------
    InvalidInputError
        If the folder holds anything.

    Examples
    --------
    >>> import tempfile
    >>> from nucleiseg.datasets import from_arrays, read
    >>> labels = np.zeros((1, 8, 16), int)
    >>> labels[0, 1:7, 1:7] = labels[0, 1:7, 9:15] = 5
    >>> folder = Path(tempfile.mkdtemp())
    >>> print(repair(from_arrays(labels * 9, labels), folder))
    1 image written to ..., labels mended in 1: 1 pieces relabelled, 0 specks deleted, 0 holes filled, 4 gaps closed
    >>> read(folder, cache=False)[0].labels.max()
    np.int32(2)
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidInputError(f"the repaired copy needs a new or empty folder, got {target}; choose another name")
    chosen = settings or CheckSettings()
    names = dict(zip(dataset.ids, _file_names(dataset.ids), strict=True))
    done = in_threads(
        lambda record: _repair_one(record, names[record.id], target, chosen), dataset.records, None, "repairing"
    )
    lacking = [Repaired(name, "", left_out=each.message) for each in unpaired for name in each.ids]
    result = Repair(target, (*done, *lacking))
    _write_tables(result, dataset)
    return result


def _repair_one(record: Record, name: str, folder: Path, settings: CheckSettings) -> Repaired:
    notes = SourceNotes()
    try:
        image, labels = record.read(notes)
    except NucleisegError as error:
        return Repaired(record.id, "", left_out=str(error))
    mended_labels, mended = mend(labels, Facts(record, measure_labels(labels), notes=notes), settings)
    _write_image(folder / "images" / name, image)
    write_labels(folder / "labels" / f"{name}_labels.tif", labels_not_mask(mended_labels))
    return Repaired(record.id, name, mended)


def _write_image(stem: Path, image: Array) -> None:
    """PNG for 8 bits, else TIFF; both hold every value as it is."""
    image = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if image.dtype == np.uint8:
        from PIL import Image

        with atomic_path(stem.with_name(f"{stem.name}.png")) as temporary:
            Image.fromarray(image).save(temporary)
        return
    import tifffile

    pixels = image.astype(np.uint8) if image.dtype == bool else image
    layout: dict[str, Any] = {"photometric": "minisblack"}
    if pixels.ndim == 3:
        layout = {"photometric": "rgb" if pixels.shape[2] > 2 else "minisblack", "planarconfig": "contig"}
        if has_alpha(pixels):
            layout["extrasamples"] = ["unassalpha"]
    with atomic_path(stem.with_name(f"{stem.name}.tif")) as temporary:
        tifffile.imwrite(temporary, pixels, **layout)


def _file_names(ids: Sequence[str]) -> list[str]:
    """A file name for each id: letters, digits, dots and dashes; different ones also where case does not count."""
    taken: set[str] = set()
    names = []
    for identity in ids:
        plain = cut_stem(re.sub(r"[^\w.-]", "_", identity).lstrip(".")) or "_"
        name, number = plain, 2
        while name.lower() in taken:
            name, number = f"{plain}-{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names


def _write_tables(result: Repair, dataset: Dataset) -> None:
    rows: list[dict[str, object]] = [
        {"id": one.id, "image_id": one.name, **asdict(one.mended), "left_out": one.left_out} for one in result.samples
    ]
    _write_csv(result.folder / "changes.csv", rows)
    known = dict(zip(dataset.ids, dataset.metadata, strict=True))
    columns = list(dict.fromkeys(column for row in known.values() for column in row))
    written = [one for one in result.samples if not one.left_out]
    if columns:
        _write_csv(
            result.folder / "metadata.csv",
            [{"image_id": one.name, **{c: known[one.id].get(c, "") for c in columns}} for one in written],
        )


def _write_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, text.getvalue())
