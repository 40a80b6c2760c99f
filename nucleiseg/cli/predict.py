"""``nucleiseg predict``: images in, label images, masks, overlays and one table out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg._progress import progress
from nucleiseg.cli.arguments import add_model, add_predict_options, check_folder, check_model, predict_options
from nucleiseg.cli.further_files import FurtherFiles, find_exporters
from nucleiseg.cli.large import add_large, is_large, run_large
from nucleiseg.cli.terminal import complain, import_tensorflow_quietly, report, say
from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    import pandas as pd

    from nucleiseg.inference.options import PredictOptions
    from nucleiseg.segmenter import Segmenter

_OUTPUTS = ("_labels.tif", "_mask.png", "_overlay.png")
# Images that are written on demand, and are no input either.
_FURTHER_IMAGES = ("_labels.ome.tif", "_colours.png", "contact_sheet.png", "histograms.png")
# How our own tables begin.
_TABLES = {"measurements.csv": b"image,label,area,", "summary.csv": b"image,height,width,count,"}


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "predict",
        help="segment images",
        description="Segment images. Writes <stem>_labels.tif, <stem>_mask.png and <stem>_overlay.png for each; "
        "measurements.csv with a row for each nucleus and summary.csv with a row for each image. Replaces what it "
        "wrote before, but no other file.",
    )
    parser.add_argument("input", nargs="+", help="image files, folders of them, or patterns such as 'plate7/*.tif'")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FOLDER|FILE",
        type=Path,
        help="where to write; a .zarr or .tif file for one image larger than memory",
    )
    parser.add_argument(
        "--export",
        metavar="NAMES",
        help="further files, separated by commas: geojson (QuPath), roi (ImageJ, Fiji), coco, rle (Kaggle), parquet, "
        "imagej and ome (label TIFFs), npz, or those of installed plugins",
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="also draw <stem>_colours.png for each image, and contact_sheet.png and histograms.png of all",
    )
    add_model(parser)
    add_predict_options(parser)
    add_large(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Segment every image; a bad one is reported and the others go on."""
    options = predict_options(arguments)
    if is_large(arguments):
        return run_large(arguments, options)
    exporters = find_exporters(arguments.export)
    model = check_model(arguments.model)
    output: Path = arguments.output
    check_folder(output)
    paths, failed = _find(arguments.input, output)
    stems = unique_stems(paths)
    _check_files(stems, output)
    further = FurtherFiles(output, exporters, arguments.pictures, paths)
    further.check(stems)
    output.mkdir(parents=True, exist_ok=True)

    import_tensorflow_quietly()
    from nucleiseg.segmenter import Segmenter

    segmenter = Segmenter.load(model)
    tables: list[pd.DataFrame] = []
    summaries: list[pd.DataFrame] = []
    try:
        for path, stem in progress(list(zip(paths, stems, strict=True)), "predicting"):
            try:
                table, summary = _predict(segmenter, path, options, output, stem, further)
                tables.append(table)
                summaries.append(summary)
            except Exception as error:  # whatever one image brings up (memory, for example), the others go on
                failed += 1
                report(error, arguments.debug, about=str(path))
    finally:  # an interruption loses nothing either
        nuclei = _write_table(tables, output / "measurements.csv")
        _write_table(summaries, output / "summary.csv")
        further.finish()
    say(f"{len(tables)} of {len(paths)} images segmented, {nuclei} nuclei; results in {output}")
    return 1 if failed else 0


def _find(inputs: Sequence[str], output: Path) -> tuple[list[Path], int]:
    """The images to segment, less what an earlier run wrote, and how many inputs gave none."""
    from nucleiseg.images import find_images
    from nucleiseg.instances.exporting import is_own_file

    found: dict[Path, Path] = {}
    problems = []
    for item in inputs:
        try:
            paths = find_images([item])
        except InvalidInputError as error:
            problems.append(str(error))
            continue
        for path in paths:
            in_output = path.name.endswith(_OUTPUTS + _FURTHER_IMAGES) and path.resolve().parent == output.resolve()
            if not (in_output and is_own_file(path)):
                found.setdefault(path.resolve(), path)
    if not found:
        remedy = f"all images were written into {output} by an earlier run; pass those that were its input"
        raise InvalidInputError("; ".join(problems) or remedy)
    for problem in problems:
        complain(problem)
    return list(found.values()), len(problems)


def _check_files(stems: Sequence[str], output: Path) -> None:
    """Refuse to replace what nucleiseg has not written: an annotated ``x_mask.png`` is work that nobody gets back."""
    from nucleiseg.instances.exporting import is_own_file

    foreign = [name for name, start in _TABLES.items() if not _is_own_table(output / name, start)]
    for name in (f"{stem}{ending}" for stem in stems for ending in _OUTPUTS):
        if (output / name).exists() and not is_own_file(output / name):
            foreign.append(name)
    if foreign:
        names = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise InvalidInputError(
            f"{names} in {output} would be replaced, but nucleiseg did not write it; choose another output folder"
        )


def _is_own_table(path: Path, start: bytes) -> bool:
    """Also where there is none yet."""
    try:
        with path.open("rb") as file:
            return file.readline(100).startswith(start)
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _predict(
    segmenter: Segmenter, path: Path, options: PredictOptions, output: Path, stem: str, further: FurtherFiles
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Segment one image and write its files; returns its rows of the measurements and of the summary."""
    from nucleiseg.instances import summarize

    result = segmenter.predict(path, options)
    table = result.table()
    height, width = result.labels.shape
    summary = summarize(table, (height, width), result.pixel_size)
    for rows in (table, summary):
        # File names on Linux need not be text; those that are not must not spoil the table.
        rows.insert(0, "image", str(path).encode(errors="backslashreplace").decode())
    result.save_images(output, stem)
    further.add(result, path, stem, table)
    return table, summary


def _write_table(tables: Sequence[pd.DataFrame], path: Path) -> int:
    """Write the rows of all images into one file; returns how many there are."""
    import pandas as pd

    from nucleiseg._files import write_text

    if not tables:
        return 0
    filled = [table for table in tables if len(table)]
    # Images of several kinds have different channels; those that an image lacks stay empty.
    everything = pd.concat(filled, ignore_index=True) if filled else tables[0]
    write_text(path, everything.to_csv(index=False, lineterminator="\n"))
    return len(everything)


def unique_stems(paths: Sequence[Path]) -> list[str]:
    """A name for each image: its stem, with a number where an earlier image has the same.

    Names that differ only in case count as the same, as they do on many file systems.

    Examples
    --------
    >>> unique_stems([Path("a/x.tif"), Path("b/x.tif"), Path("b/x-2.tif")])
    ['x', 'x-2', 'x-2-2']
    """
    taken: set[str] = set()
    stems = []
    for path in paths:
        stem, number = path.stem, 2
        while stem.lower() in taken:
            stem, number = f"{path.stem}-{number}", number + 1
        taken.add(stem.lower())
        stems.append(stem)
    return stems
