"""Which files a command reads, and which it must not replace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from nucleiseg.cli.terminal import complain, say, warn
from nucleiseg.errors import InvalidInputError

__all__ = ["check_files", "find_inputs"]


def find_inputs(inputs: Sequence[str], output: Path, made: tuple[str, ...]) -> tuple[list[Path], list[tuple[str, str]]]:
    """The images to segment, less what an earlier run wrote; what is left out is told.

    Parameters
    ----------
    inputs : sequence of str
        Files, folders and patterns.
    output : Path
        The folder to write to.
    made : tuple of str
        How the names of pictures end that nucleiseg writes.

    Returns
    -------
    (list of Path, list of (str, str))
        The images, each once; and the inputs that gave none, with the reason.

    Raises
    ------
    InvalidInputError
        If there is no image.
    """
    from nucleiseg.images import find_images
    from nucleiseg.images.reading import find_unread
    from nucleiseg.instances.exporting import is_own_file

    found: dict[Path, Path] = {}
    ours = set()
    problems = []
    for item in inputs:
        try:
            paths = find_images([item])
        except InvalidInputError as error:
            problems.append((item, str(error)))
            continue
        named = Path(item).is_file()  # whoever names such a file may want it, unless it is about to be replaced
        for path in paths:
            place = path.resolve()
            suspect = path.name.endswith(made) and (not named or place.parent == output.resolve())
            if suspect and is_own_file(path):
                ours.add(place)
            else:
                found.setdefault(place, path)
    if not found:
        remedy = "all images were written by nucleiseg in an earlier run; pass those that were its input"
        raise InvalidInputError("; ".join(problem for _, problem in problems) or remedy)
    left_out = len(ours - found.keys())
    if left_out:
        say(f"left out {left_out:,} {'file' if left_out == 1 else 'files'} that nucleiseg wrote in earlier runs")
    unread = Counter(path.suffix.lower() for item in inputs for path in find_unread(item))
    if unread:
        images = "1 image" if unread.total() == 1 else f"{unread.total():,} images"
        endings = ", ".join(sorted(unread))
        say(f"left out {images} of formats that nucleiseg does not read ({endings}); convert them to TIFF")
    _tell_labels(list(found.values()))
    for _, problem in problems:
        complain(problem)
    return list(found.values()), problems


def _tell_labels(paths: Sequence[Path]) -> None:
    """One line on files that are named like the labels of others beside them, which are segmented all the same."""
    from nucleiseg.datasets.paired import labelled, stem_of

    stems: dict[Path, set[str]] = {}
    for path in paths:
        stems.setdefault(path.parent, set()).add(stem_of(path))
    named = [path.name for path in paths if labelled(path, stems[path.parent])]
    if named:
        what = f"{named[0]} looks" if len(named) == 1 else f"{named[0]} and {len(named) - 1:,} more look"
        warn(
            f"{what} like labels of images in the same folder, by the name; segmented as images, too: to leave such "
            "files out, pass the images by name or pattern"
        )


def check_files(output: Path, pictures: Sequence[str], tables: Mapping[str, tuple[bytes, ...]]) -> None:
    """Refuse to replace what nucleiseg has not written: an annotated ``x_mask.png`` is work that nobody gets back.

    Parameters
    ----------
    output : Path
        The folder to write to; it need not exist.
    pictures : sequence of str
        Names of images.
    tables : mapping
        Names of tables, and how those begin that nucleiseg writes.

    Raises
    ------
    InvalidInputError
        If there is such a file of somebody else.
    """
    from nucleiseg.instances.exporting import is_own_file

    foreign = [name for name, starts in tables.items() if not _is_own_table(output / name, starts)]
    for name in pictures:
        if (output / name).exists() and not is_own_file(output / name):
            foreign.append(name)
    if foreign:
        names = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise InvalidInputError(
            f"{names} in {output} would be replaced, but nucleiseg did not write it; choose another output folder"
        )


def _is_own_table(path: Path, starts: tuple[bytes, ...]) -> bool:
    """Also where there is none yet."""
    try:
        with path.open("rb") as file:
            return file.read(100).startswith(starts)
    except FileNotFoundError:
        return True
    except OSError:
        return False
