"""How the files of each image are called, so that no image takes the name of another."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from nucleiseg._files import cut_stem
from nucleiseg.cli.entries import Held, content_sha256, printable, source_of
from nucleiseg.errors import InvalidInputError

__all__ = ["unique_stems"]


def unique_stems(
    paths: Sequence[Path], held: Sequence[Held] = (), outputs: Sequence[str] = ("",), further: Sequence[str] = ()
) -> list[str]:
    """A name for each image: its stem, with a number where a file of another image would be called the same.

    Names that differ only in case count as the same, as they do on many file systems. Very long ones are cut.

    Parameters
    ----------
    paths : sequence of Path
        Each image once.
    held : sequence of Held
        Names that images have from earlier runs, oldest first: those images keep them, no other gets them.
    outputs : sequence of str
        How the names of the files end that each image has.
    further : sequence of str
        And of those that this run writes besides.

    Raises
    ------
    InvalidInputError
        If names that are to be kept would give one file to two images.

    Examples
    --------
    >>> unique_stems([Path("a/x.tif"), Path("b/x.tif"), Path("b/x-2.tif")])
    ['x', 'x-2', 'x-2-2']
    >>> unique_stems([Path("a/x.tif"), Path("b/x.tif")], [Held("x", source_of(Path("b/x.tif")))])
    ['x-2', 'x']
    >>> unique_stems([Path("x.tif"), Path("x_imagej.tif")], (), ["_labels.tif"], ["_imagej_labels.tif"])
    ['x', 'x_imagej-2']
    """
    endings = [*outputs, *further]
    kept = _kept(paths, held)
    taken = {name for one in held for name in _files(one.stem, endings)}
    stems = []
    for path in paths:
        stem = kept[path] if path in kept else _free(path.stem, endings, taken)
        taken |= _files(stem, endings)
        stems.append(stem)
    _check_kept(paths, stems, held, outputs, endings)
    return stems


def _files(stem: str, endings: Sequence[str]) -> set[str]:
    return {f"{stem}{ending}".lower() for ending in endings}


def _check_kept(
    paths: Sequence[Path], stems: Sequence[str], held: Sequence[Held], outputs: Sequence[str], endings: Sequence[str]
) -> None:
    """Exports may be new to images that have their names from a run without."""
    here = set(stems)
    owners = {f"{one.stem}{ending}": one.source for one in held if one.stem not in here for ending in outputs}
    for path, stem in zip(paths, stems, strict=True):
        for name in (f"{stem}{ending}" for ending in endings):
            owner = owners.setdefault(name, printable(path))
            if owner != printable(path):
                raise InvalidInputError(
                    f"{name} must be of one image, but would be of {owner} and of {printable(path)}; "
                    "choose another output folder"
                )


def _free(start: str, endings: Sequence[str], taken: Collection[str]) -> str:
    stem = start = cut_stem(start)
    number = 2
    while not _files(stem, endings).isdisjoint(taken):
        stem, number = f"{start}-{number}", number + 1
    return stem


def _kept(paths: Sequence[Path], held: Sequence[Held]) -> dict[Path, str]:
    """Names of images that were there before, and of those that were moved since."""
    if not held:
        return {}
    sources = {path: source_of(path) for path in paths}
    stems = {one.source: one.stem for one in held}
    kept = {path: stems[source] for path, source in sources.items() if source in stems}
    by_name: dict[str, list[Held]] = {}
    for one in held:
        by_name.setdefault(Path(one.source).name, []).append(one)
    for path, source in sources.items():
        if path in kept:
            continue
        # The same file name, and nothing is left where it was: its pixels tell whether it was moved here.
        moved = [one for one in by_name.get(Path(source).name, []) if one.sha256 and not one.is_there]
        if not moved:
            continue
        try:
            sha256 = content_sha256(path)
        except OSError:  # predicting says so
            continue
        for one in moved:
            if one.sha256 == sha256 and one.stem not in kept.values():
                kept[path] = one.stem
                break
    return kept
