"""The files of ``predict`` that hold all images of a results folder: those of this run, and of earlier ones."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nucleiseg.cli.terminal import warn
from nucleiseg.errors import NucleisegError

if TYPE_CHECKING:
    import pandas as pd

    from nucleiseg.cli.entries import Entry
    from nucleiseg.instances import Exporter, NamedLabels
    from nucleiseg.plotting import Thumbnail

__all__ = ["JointFiles", "common_folder", "name_within", "tell_left_out"]

_LOGGER = logging.getLogger(__name__)

_TOGETHER = "nuclei"  # how the names of exports begin
_SHEET, _HISTOGRAMS = "contact_sheet.png", "histograms.png"
_MOST_THUMBNAILS = 120


class JointFiles:
    """Exports and pictures of all images together, made of the files of each.

    Parameters
    ----------
    folder : Path
        Of the results.
    exporters : sequence of Exporter
        Of ``--export``; those that write a file for each image are passed over.
    pictures : bool
        Whether to draw pictures.

    ``unreadable`` has the images whose files turned out to be damaged, by stem, and what is wrong with them.
    """

    def __init__(self, folder: Path, exporters: Sequence[Exporter], pictures: bool) -> None:
        self._folder = folder
        self._exporters = [exporter for exporter in exporters if exporter.one_file]
        self._pictures = pictures
        self.unreadable: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """What may be written."""
        exports = [_TOGETHER + exporter.ending for exporter in self._exporters]
        return [*exports, _SHEET, _HISTOGRAMS] if self._pictures else exports

    def write(self, images: Sequence[Entry]) -> dict[str, list[str]]:
        """Write them; returns the stems of the images that are in each, by its name.

        Parameters
        ----------
        images : sequence of Entry
            All that have results, in order. One that can't be read is left out.
        """
        written = {}
        for exporter in self._exporters:
            stems: list[str] = []
            found = _unless_empty(self._read(images, stems))
            if found is not None:  # some formats hold at least one image
                exporter.export(self._folder, _TOGETHER, found)
                written[_TOGETHER + exporter.ending] = stems
        if self._pictures:
            written |= self._draw(images)
        return written

    def _read(self, images: Sequence[Entry], stems: list[str]) -> Iterator[NamedLabels]:
        """The labels of one image after the other, from the files that they were written to."""
        from nucleiseg.images.reading import read_labels
        from nucleiseg.instances import NamedLabels

        root = common_folder(image.path for image in images)
        for image in images:
            try:
                labels = read_labels(self._folder / f"{image.stem}_labels.tif", max_pixels=2**62)
            except NucleisegError as error:
                self.unreadable.setdefault(image.stem, str(error))
                continue
            stems.append(image.stem)
            name = name_within(root, image.path)
            yield NamedLabels(image.stem, labels, name, image.pixel_size, image.table, image.quality)

    def _draw(self, images: Sequence[Entry]) -> dict[str, list[str]]:
        from nucleiseg.plotting import plot_contact_sheet, plot_histograms

        every = max(1, -(-len(images) // _MOST_THUMBNAILS))
        thumbnails = [one for one in map(self._thumbnail, images[::every]) if one is not None]
        shown = "" if len(thumbnails) == len(images) else f"{len(thumbnails)} of "
        nuclei = sum(image.count for image in images)
        title = f"{shown}{_counted(len(images))}, {nuclei:,} nuclei"
        drawn = []
        if thumbnails:
            plot_contact_sheet(thumbnails, self._folder / _SHEET, title)
            drawn.append(_SHEET)
        if nuclei:
            plot_histograms(_measurements(images), self._folder / _HISTOGRAMS, title=title)
            drawn.append(_HISTOGRAMS)
        return {name: [image.stem for image in images] for name in drawn}

    def _thumbnail(self, image: Entry) -> Thumbnail | None:
        from nucleiseg.images import ReadOptions, read_image
        from nucleiseg.plotting import Thumbnail

        try:
            picture = read_image(self._folder / f"{image.stem}_overlay.png", ReadOptions(max_pixels=2**62))
            nuclei = f"{image.count} {'nucleus' if image.count == 1 else 'nuclei'}"
            return Thumbnail(Path(image.path).name, picture, nuclei)
        except NucleisegError as error:
            self.unreadable.setdefault(image.stem, str(error))
            return None


def common_folder(paths: Iterable[str]) -> str | None:
    """The folder that holds all of these absolute paths; None if they lie on several drives, or there are none."""
    try:
        return os.path.commonpath({os.path.dirname(path) for path in paths})  # noqa: PTH120
    except ValueError:
        return None


def name_within(root: str | None, path: str) -> str:
    """An image's file relative to the folder that holds all images, as COCO has it."""
    return Path(path).name if root is None else Path(path).relative_to(root).as_posix()


def tell_left_out(incomplete: int, unreadable: Mapping[str, str]) -> None:
    """Warn of images that files of all images do not hold, though there are results of them.

    Parameters
    ----------
    incomplete : int
        Images of earlier runs some of whose files are gone or were changed.
    unreadable : mapping of str to str
        What is wrong with the files of others, by stem.
    """
    lines = []
    if incomplete:
        lines.append(
            f"{_counted(incomplete)} of earlier runs left out of the tables and of the files that hold all images, for "
            "some of their own files are gone or were changed; segment them again with --resume"
        )
    if unreadable:
        more = f" (and {len(unreadable) - 1:,} more)" if len(unreadable) > 1 else ""
        lines.append(
            f"{_counted(len(unreadable))} left out of the files that hold all images: "
            f"{next(iter(unreadable.values()))}{more}; delete such files, and segment these images again with --resume"
        )
    for line in lines:
        _LOGGER.warning("%s", line)
        warn(line)


def _counted(images: int) -> str:
    return f"{images:,} {'image' if images == 1 else 'images'}"


def _measurements(images: Sequence[Entry]) -> pd.DataFrame:
    """Rows of all nuclei; there is at least one. Empty tables say nothing of the types of their columns."""
    import pandas as pd

    return pd.concat([image.table for image in images if image.table is not None and len(image.table)])


def _unless_empty(images: Iterator[NamedLabels]) -> Iterator[NamedLabels] | None:
    """The same images, or None if there is none. No more of them are in memory at once."""
    for first in images:
        start = iter([first])
        del first
        return itertools.chain(start, images)
    return None
