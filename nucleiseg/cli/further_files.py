"""What ``predict`` writes on demand: exports and pictures, of each image; `JointFiles` writes those of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nucleiseg.cli.entries import placed
from nucleiseg.cli.joint_files import JointFiles, common_folder, name_within, tell_left_out
from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    from nucleiseg._checks import Array
    from nucleiseg.cli.entries import Entry
    from nucleiseg.instances import Exporter

_COLOURS = "_colours.png"


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
        self._root = common_folder(placed(path) for path in paths)
        self._joint = JointFiles(folder, exporters, pictures)

    def check(self, stems: Sequence[str]) -> None:
        """Raise if a file would be replaced that nucleiseg has not written."""
        check_own(self._folder, [*(name for stem in stems for name in self.names(stem)), *self.joint])

    @property
    def need_images(self) -> bool:
        """Whether `add` needs more of an image than its labels."""
        return self._pictures

    def add(self, entry: Entry, path: Path, stem: str, labels: Array, image: Array | None) -> None:
        """Write the files of one image."""
        from nucleiseg.images import colour_labels
        from nucleiseg.instances import NamedLabels, write_picture

        name = name_within(self._root, placed(path))
        for exporter in self._exporters:
            if not exporter.one_file:
                named = NamedLabels(stem, labels, name, entry.pixel_size, entry.table, entry.quality)
                exporter.export(self._folder, stem, [named])
        if self._pictures:
            write_picture(self._folder / f"{stem}{_COLOURS}", colour_labels(labels, image))

    @property
    def endings(self) -> list[str]:
        """How the names of the files of one image end."""
        exports = [exporter.ending for exporter in self._exporters if not exporter.one_file]
        return [*exports, *([_COLOURS] if self._pictures else [])]

    def names(self, stem: str) -> list[str]:
        """The files of one image."""
        return [f"{stem}{ending}" for ending in self.endings]

    @property
    def joint(self) -> list[str]:
        """The files of all images."""
        return self._joint.names

    def finish(self, images: Sequence[Entry]) -> dict[str, list[str]]:
        """Write the files that hold all images; returns the stems of the images that are in each, by its name.

        Parameters
        ----------
        images : sequence of Entry
            Those that have rows in the tables, in that order: of this run, and of earlier ones.
        """
        return self._joint.write(images)

    def tell_left_out(self, incomplete: int) -> None:
        """Warn of images that files of all images do not hold; ``incomplete`` of earlier runs lack files of theirs."""
        if self.joint:
            tell_left_out(incomplete, self._joint.unreadable)
