"""``nucleiseg predict``: images in, label images, masks, overlays and one table out."""

from __future__ import annotations

import argparse
import time
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
from nucleiseg.cli.inputs import check_files, find_inputs
from nucleiseg.cli.journal import Journal
from nucleiseg.cli.large import is_large, run_large
from nucleiseg.cli.planes import tell_replaced
from nucleiseg.cli.quality import tell_quality
from nucleiseg.cli.running import run_all, segment_here
from nucleiseg.cli.sharing import add_cluster, shared_out
from nucleiseg.cli.stems import unique_stems
from nucleiseg.cli.terminal import say, warn

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
    paths, problems = find_inputs(arguments.input, output, OUTPUTS + _FURTHER_IMAGES)
    since = time.time_ns()
    further = FurtherFiles(output, exporters, arguments.pictures, paths)
    stems = unique_stems(paths, find_held(output), OUTPUTS, further.endings)
    check_files(output, [f"{stem}{ending}" for stem in stems for ending in OUTPUTS], TABLES)
    further.check(stems)
    chosen = asdict(options)
    del chosen["reading"]["max_pixels"]  # decides what is read, not what is found there: --resume with a higher one
    sha256 = file_sha256(model)
    journal = Journal(output, {"model": sha256, "options": chosen, "nucleiseg": __version__}, since)
    pairs = list(zip(paths, stems, strict=True))
    finished = _find_finished(journal, pairs) if arguments.resume else {}
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
    _tell_end(batch, journal, further, options)
    resumed = f" ({len(finished)} of them before)" if finished else ""
    say(f"{len(batch.done)} of {len(paths)} images segmented{resumed}, {batch.nuclei} nuclei; results in {output}")
    return 1 if batch.failed else 0


def _find_finished(journal: Journal, pairs: Sequence[tuple[Path, str]]) -> dict[str, Entry]:
    """What an earlier run left that this one would make again, by stem."""
    found = {stem: journal.find(path, stem) for path, stem in progress(pairs, "looking for finished images")}
    return {stem: entry for stem, entry in found.items() if entry is not None}


def _tell_end(batch: Batch, journal: Journal, further: FurtherFiles, options: PredictOptions) -> None:
    """What the user is to know of the results before using them."""
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
