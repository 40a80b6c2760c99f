"""``nucleiseg predict``: images in, label images, masks, overlays and one table out."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg._files import file_sha256
from nucleiseg._manifest import now
from nucleiseg._optional import check_extra
from nucleiseg._progress import progress
from nucleiseg._version import __version__
from nucleiseg.cli.arguments import (
    add_model,
    add_predict_options,
    check_folder,
    check_model,
    import_engine,
    predict_options,
)
from nucleiseg.cli.batch import OUTPUTS, TABLES, Batch
from nucleiseg.cli.entries import Entry, find_held
from nucleiseg.cli.further_files import FurtherFiles, find_exporters
from nucleiseg.cli.journal import Journal
from nucleiseg.cli.large import is_large, run_large
from nucleiseg.cli.planes import tell_replaced
from nucleiseg.cli.quality import tell_quality
from nucleiseg.cli.running import run_all, segment_here
from nucleiseg.cli.sharing import add_cluster, shared_out
from nucleiseg.cli.stems import unique_stems
from nucleiseg.cli.terminal import complain, say, warn
from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    from nucleiseg.inference.options import PredictOptions
    from nucleiseg.segmenter import Segmenter

# Images that are written on demand, and are no input either.
_FURTHER_IMAGES = ("_labels.ome.tif", "_colours.png", "contact_sheet.png", "histograms.png")


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "predict",
        help="segment images",
        description="Segment images. Writes <stem>_labels.tif, <stem>_mask.png and <stem>_overlay.png for each; "
        "measurements.csv with a row for each nucleus, summary.csv with a row for each image, errors.csv with the "
        "reason for each that could not be segmented, and run.json about the run. Replaces what it wrote before of an "
        "image, and removes what no longer fits, but touches no other file; other images made with the same model and "
        "options stay in the tables and in further files of all images.",
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
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip what an earlier run has finished; further exports and pictures are made of its labels",
    )
    add_model(parser)
    add_predict_options(parser)
    add_cluster(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Segment every image; a bad one is reported and the others go on."""
    started = now()
    options = predict_options(arguments)
    if is_large(arguments):
        return run_large(arguments, options)
    if arguments.scheduler is not None:
        check_extra("distributed", "dask", "a Dask cluster")
    exporters = find_exporters(arguments.export)
    model = check_model(arguments.model)
    output: Path = arguments.output
    check_folder(output, " (.tif and .zarr are the files of one image larger than memory)")
    paths, problems = _find(arguments.input, output)
    since = time.time_ns()
    further = FurtherFiles(output, exporters, arguments.pictures, paths)
    stems = unique_stems(paths, find_held(output), OUTPUTS, further.endings)
    check_files(output, [f"{stem}{ending}" for stem in stems for ending in OUTPUTS], TABLES)
    further.check(stems)
    chosen = asdict(options)
    del chosen["reading"]["max_pixels"]  # decides what is read, not what is found there: --resume with a higher one
    sha256 = file_sha256(model)
    journal = Journal(output, {"model": sha256, "options": chosen, "nucleiseg": __version__}, since)
    finished = {}
    if arguments.resume:
        for path, stem in progress(list(zip(paths, stems, strict=True)), "looking for finished images"):
            entry = journal.find(path, stem)
            if entry is not None:
                finished[stem] = entry

    pairs = list(zip(paths, stems, strict=True))
    batch = Batch(output, journal, further, finished, options.reading)
    batch.failed += [Entry(item, error=problem) for item, problem in problems]
    with ExitStack() as stack:
        results, names = _begin(stack, batch, pairs, finished, options, arguments)
        try:
            run_all(batch, results, names, arguments)
        finally:  # an interruption loses nothing either
            facts = {
                "model": {"name": arguments.model, "sha256": sha256},
                "options": chosen,
                "export": sorted(exporter.name for exporter in exporters),
                "pictures": arguments.pictures,
                "nucleiseg": __version__,
                "images": {"given": len(paths) + len(problems), "resumed": len(finished)},
            }
            batch.sort(pairs)
            batch.finish(started, facts)
    resumed = f" ({len(finished)} of them before)" if finished else ""
    tell_quality(batch.done, options)
    tell_replaced(journal.replaced)
    if batch.left_out:
        images = f"{batch.left_out:,} {'image' if batch.left_out == 1 else 'images'}"
        warn(
            f"rows of {images} made with another model, options or version are left out of the tables; segment all "
            "with the same, or choose another output folder"
        )
    if batch.kept:
        kept = "result of 1 image" if batch.kept == 1 else f"results of {batch.kept:,} images"
        warn(f"the earlier {kept} that could not be segmented now {'is' if batch.kept == 1 else 'are'} kept")
    further.tell_left_out(batch.incomplete)
    say(f"{len(batch.done)} of {len(paths)} images segmented{resumed}, {batch.nuclei} nuclei; results in {output}")
    return 1 if batch.failed else 0


def _begin(
    stack: ExitStack,
    batch: Batch,
    pairs: Sequence[tuple[Path, str]],
    finished: Mapping[str, Entry],
    options: PredictOptions,
    arguments: argparse.Namespace,
) -> tuple[Generator[tuple[Path, str, Any]], list[str]]:
    """The results to wait for, and what is told while they are waited for; here, or on a cluster."""
    names = [path.name for path, _ in pairs]
    if len(finished) == len(pairs):
        return segment_here(batch, None, pairs, options), names
    model, client = check_model(arguments.model), None
    if arguments.scheduler is not None:  # before anything is loaded
        from nucleiseg.inference.spreading import connect

        client = stack.enter_context(connect(arguments.scheduler))
    import_engine(model)
    segmenter = load_segmenter(model)
    if client is None:
        return segment_here(batch, segmenter, pairs, options), names
    from nucleiseg.large import name_for_workers, the_same_everywhere

    settled = the_same_everywhere(segmenter, options)
    results = shared_out(pairs, finished, name_for_workers(arguments.model), file_sha256(model), settled, client)
    return results, [f"on {arguments.scheduler}"] * len(pairs)  # any of them may come next


def load_segmenter(path: Path) -> Segmenter:
    """The model of a file."""
    from nucleiseg.segmenter import Segmenter

    return Segmenter.load(path)


def _find(inputs: Sequence[str], output: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """The images to segment, less what an earlier run wrote; and the inputs that gave none, with the reason."""
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
            suspect = path.name.endswith(OUTPUTS + _FURTHER_IMAGES) and (not named or place.parent == output.resolve())
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
    for _, problem in problems:
        complain(problem)
    return list(found.values()), problems


def check_files(output: Path, pictures: Sequence[str], tables: Mapping[str, tuple[bytes, ...]]) -> None:
    """Refuse to replace what nucleiseg has not written: an annotated ``x_mask.png`` is work that nobody gets back."""
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
