"""``nucleiseg predict``: images in, label images, masks, overlays and one table out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg.cli.arguments import add_model, add_predict_options, check_model, predict_options
from nucleiseg.cli.terminal import complain, import_tensorflow_quietly, say
from nucleiseg.errors import InvalidInputError, NucleisegError

if TYPE_CHECKING:
    import pandas as pd

    from nucleiseg.inference.options import PredictOptions
    from nucleiseg.segmenter import Segmenter

_OUTPUTS = ("_labels.tif", "_mask.png", "_overlay.png")


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "predict",
        help="segment images",
        description="Segment images. Writes <stem>_labels.tif, <stem>_mask.png and <stem>_overlay.png for each, and "
        "one measurements.csv with a row for each nucleus.",
    )
    parser.add_argument("input", nargs="+", help="image files, folders of them, or patterns such as 'plate7/*.tif'")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", type=Path, help="where to write")
    add_model(parser)
    add_predict_options(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Segment every image; a bad one is reported and the others go on."""
    options = predict_options(arguments)
    model = check_model(arguments.model)
    paths, failed = _find(arguments.input, arguments.output)
    if arguments.output.exists() and not arguments.output.is_dir():
        raise InvalidInputError(f"the output must be a folder, but {arguments.output} is a file; choose another name")
    arguments.output.mkdir(parents=True, exist_ok=True)

    import_tensorflow_quietly()
    from nucleiseg.segmenter import Segmenter

    tables, failed_images = _predict_all(Segmenter.load(model), paths, arguments.output, options)
    nuclei = _write_measurements(tables, arguments.output)
    say(f"{len(tables)} images, {nuclei} nuclei → {arguments.output}")
    return 1 if failed or failed_images else 0


def _find(inputs: Sequence[str], output: Path) -> tuple[list[Path], int]:
    """The images to segment, less what an earlier run wrote, and how many inputs gave none."""
    from nucleiseg.images import find_images

    found: dict[Path, Path] = {}
    failed = 0
    for item in inputs:
        try:
            paths = find_images([item])
        except InvalidInputError as error:
            failed += 1
            complain(str(error))
            continue
        for path in paths:
            if not (path.name.endswith(_OUTPUTS) and path.resolve().parent == output.resolve()):
                found.setdefault(path.resolve(), path)
    if not found:
        raise InvalidInputError("there is no image to segment; check the inputs")
    return list(found.values()), failed


def _predict_all(
    segmenter: Segmenter, paths: Sequence[Path], output: Path, options: PredictOptions
) -> tuple[list[pd.DataFrame], int]:
    from nucleiseg._progress import progress

    tables = []
    failed = 0
    for path, stem in progress(list(zip(paths, unique_stems(paths), strict=True)), "predicting"):
        try:
            result = segmenter.predict(path, options)
            result.save_images(output, stem)
        except (NucleisegError, OSError) as error:
            failed += 1
            complain(f"{path}: {error}")
            continue
        table = result.table()
        table.insert(0, "image", str(path))
        tables.append(table)
    return tables, failed


def _write_measurements(tables: Sequence[pd.DataFrame], output: Path) -> int:
    import pandas as pd

    from nucleiseg._files import write_text

    if not tables:
        return 0
    filled = [table for table in tables if len(table)]
    # Images of several kinds have different channels; those that an image lacks stay empty.
    everything = pd.concat(filled, ignore_index=True) if filled else tables[0]
    write_text(output / "measurements.csv", everything.to_csv(index=False, lineterminator="\n"))
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
