"""What ``predict`` writes on demand: exports and pictures, of each image and of all together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from nucleiseg._files import escaped
from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    import pandas as pd

    from nucleiseg._checks import Array
    from nucleiseg.cli.entries import Entry
    from nucleiseg.instances import Exporter, NamedLabels
    from nucleiseg.plotting import Thumbnail

_TOGETHER = "nuclei"  # how the names of files begin that hold all images
_COLOURS, _SHEET, _HISTOGRAMS = "_colours.png", "contact_sheet.png", "histograms.png"
_MOST_THUMBNAILS = 120


def find_exporters(names: str | None) -> list[Exporter]:
    """The exporters of ``--export``, each once; a name that is unknown or a package that is missing raises."""
    from nucleiseg._checks import check_choice
    from nucleiseg.instances import get_exporter, list_exporters

    known = list_exporters()
    wanted = [name.strip() for name in (names or "").split(",")] if names is not None else []
    found = [get_exporter(check_choice(name, "--export", known)) for name in dict.fromkeys(wanted)]
    for exporter in found:
        exporter.check()
    return found


def check_own(folder: Path, names: Sequence[str]) -> None:
    """Raise if one of these files is there, but was not written by nucleiseg."""
    from nucleiseg.instances.exporters import is_own_export

    foreign = [name for name in names if not is_own_export(folder / name, missing=True)]
    if foreign:
        listed = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise InvalidInputError(
            f"{listed} in {folder} would be replaced, but nucleiseg did not write it; choose another output folder"
        )


class _Done(NamedTuple):
    """What the files of all images need of one."""

    stem: str
    name: str
    pixel_size: float | None
    table: pd.DataFrame
    quality: str


class FurtherFiles:
    """Exports and pictures beside labels, mask and overlay.

    Parameters
    ----------
    folder : Path
        Where to write.
    exporters : sequence of Exporter
        Of ``--export``.
    pictures : bool
        Whether to draw pictures.
    paths : sequence of Path
        All images, in order.
    """

    def __init__(self, folder: Path, exporters: Sequence[Exporter], pictures: bool, paths: Sequence[Path]) -> None:
        self._folder = folder
        self._exporters = exporters
        self._pictures = pictures
        parents = {os.path.dirname(path.absolute()) for path in paths}  # noqa: PTH120
        try:
            self._root: Path | None = Path(os.path.commonpath(parents))
        except ValueError:  # several drives, or no image
            self._root = None
        self._every = max(1, -(-len(paths) // _MOST_THUMBNAILS))
        self._places = {path: number for number, path in enumerate(paths)}  # results may come in another order
        self._done: dict[int, _Done] = {}
        self._thumbnails: dict[int, tuple[int, Thumbnail]] = {}  # the first image of every so many, and its place

    def check(self, stems: Sequence[str]) -> None:
        """Raise if a file would be replaced that nucleiseg has not written."""
        check_own(self._folder, self._names(stems))

    @property
    def need_images(self) -> bool:
        """Whether `add` needs more of an image than its labels."""
        return self._pictures

    def add(self, entry: Entry, path: Path, stem: str, labels: Array, image: Array | None) -> None:
        """Write the files of one image, and keep what those of all images need."""
        from nucleiseg.images import colour_labels
        from nucleiseg.instances import NamedLabels, write_picture

        done = self._done_of(entry, path, stem)
        for exporter in self._exporters:
            if not exporter.one_file:
                named = NamedLabels(stem, labels, done.name, done.pixel_size, done.table, done.quality)
                exporter.export(self._folder, stem, [named])
        if self._pictures:
            write_picture(self._folder / f"{stem}{_COLOURS}", colour_labels(labels, image))
        self.add_done(entry, path, stem)

    def add_done(self, entry: Entry, path: Path, stem: str) -> None:
        """Keep what the files of all images need of one whose own files are there."""
        place = self._places[path]
        part = place // self._every
        if self._pictures and (part not in self._thumbnails or place < self._thumbnails[part][0]):
            from nucleiseg.images import ReadOptions, read_image
            from nucleiseg.plotting import Thumbnail

            nuclei = f"{entry.count} {'nucleus' if entry.count == 1 else 'nuclei'}"
            picture = read_image(self._folder / f"{stem}_overlay.png", ReadOptions(max_pixels=2**62))
            self._thumbnails[part] = place, Thumbnail(path.name, picture, nuclei)
        self._done[place] = self._done_of(entry, path, stem)

    @property
    def endings(self) -> list[str]:
        """How the names of the files of one image end."""
        exports = [exporter.ending for exporter in self._exporters if not exporter.one_file]
        return [*exports, *([_COLOURS] if self._pictures else [])]

    def names(self, stem: str) -> list[str]:
        """The files of one image."""
        return [f"{stem}{ending}" for ending in self.endings]

    def finish(self) -> dict[str, list[str]]:
        """Write the files that hold all images; returns the stems of the images that are in each, by its name."""
        if not self._done:
            return {}
        for exporter in self._exporters:
            if exporter.one_file:
                exporter.export(self._folder, _TOGETHER, self._read_back())
        if self._pictures:
            self._draw()
        stems = [image.stem for image in self._in_order()]
        return {name: stems for name in self._together()}  # noqa: C420  # all are the same

    def _draw(self) -> None:
        import pandas as pd

        from nucleiseg.plotting import plot_contact_sheet, plot_histograms

        count, tables = len(self._done), [image.table for image in self._in_order()]
        shown = "" if count == len(self._thumbnails) else f"{len(self._thumbnails)} of "
        images = f"{count:,} {'image' if count == 1 else 'images'}"
        nuclei = sum(map(len, tables))
        title = f"{shown}{images}, {nuclei:,} nuclei"
        pictures = [self._thumbnails[part][1] for part in sorted(self._thumbnails)]
        plot_contact_sheet(pictures, self._folder / _SHEET, title)
        if nuclei:
            plot_histograms(pd.concat(tables), self._folder / _HISTOGRAMS, title=title)

    def _in_order(self) -> list[_Done]:
        return [self._done[place] for place in sorted(self._done)]

    def _read_back(self) -> Iterator[NamedLabels]:
        """The labels of one image after the other, from the files that they were written to."""
        from nucleiseg.images.reading import read_labels
        from nucleiseg.instances import NamedLabels

        for image in self._in_order():
            labels = read_labels(self._folder / f"{image.stem}_labels.tif", max_pixels=2**62)
            yield NamedLabels(image.stem, labels, image.name, image.pixel_size, image.table, image.quality)

    def _done_of(self, entry: Entry, path: Path, stem: str) -> _Done:
        table = cast("pd.DataFrame", entry.table)  # an image that was segmented has one
        return _Done(stem, self._file_name(path), entry.pixel_size, table, entry.quality)

    def _names(self, stems: Sequence[str]) -> list[str]:
        return [*(name for stem in stems for name in self.names(stem)), *self._together()]

    def _together(self) -> list[str]:
        """The files of all images."""
        exports = [_TOGETHER + exporter.ending for exporter in self._exporters if exporter.one_file]
        return [*exports, _SHEET, _HISTOGRAMS] if self._pictures else exports

    def _file_name(self, path: Path) -> str:
        """The image's file relative to the folder that holds all images, as COCO has it."""
        text = path.name if self._root is None else path.absolute().relative_to(self._root).as_posix()
        return escaped(text)
