"""All images of one ``predict`` in order, several at a time."""

from __future__ import annotations

import argparse
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nucleiseg._progress import Progress, shorten
from nucleiseg.cli.batch import Batch, Found, explain, is_full, is_read_only
from nucleiseg.cli.terminal import complain, report

if TYPE_CHECKING:
    from nucleiseg.inference.options import PredictOptions
    from nucleiseg.segmenter import Segmenter

__all__ = ["run_all", "segment_here"]


def segment_here(
    batch: Batch, segmenter: Segmenter | None, images: Sequence[tuple[Path, str]], options: PredictOptions
) -> Generator[tuple[Path, str, Any]]:
    """Path, stem and future of every image in order: while one is in the network, the next one is read."""
    from nucleiseg.images import Micrograph
    from nucleiseg.inference.ahead import ahead, is_large

    results = ahead(
        images,
        lambda image: batch.read(*image),
        lambda source: batch.segment(cast("Segmenter", segmenter), source, options),
        lambda source: isinstance(source, Micrograph) and is_large(source),
    )
    with closing(results):
        for (path, stem), result in zip(images, results, strict=True):
            yield path, stem, result


def run_all(
    batch: Batch,
    results: Generator[tuple[Path, str, Any]],
    names: Sequence[str],
    arguments: argparse.Namespace,
) -> None:
    """Write the files of every result while the next one is worked on.

    Parameters
    ----------
    batch : Batch
        Does it.
    results : generator of (Path, str, future)
        From `segment_here`, or from `nucleiseg.cli.sharing.shared_out`.
    names : sequence of str
        What is told of each while it is waited for.
    arguments : argparse.Namespace
        Of the command.
    """
    previous: tuple[Path, str, Future[Any], bool] | None = None

    def settle() -> bool:
        """Wait for what is written; says whether more can be."""
        nonlocal previous
        if previous is None:
            return True
        (path, stem, outcome, writing), previous = previous, None
        try:
            outcome.result()
        except Exception as error:  # whatever one image brings up (memory, for example), the others go on
            batch.fail(path, stem, report(explain(error), arguments.debug, about=str(path)))
            if writing and is_full(error):  # a worker's disk may be full, too
                room = "make room, and go on with --resume"
                remedy = "choose another output folder" if is_read_only(error) else room
                complain(f"{arguments.output} takes no more files; {remedy}")
                return False
        return True

    nuclei = 0  # in images that are not yet written, too
    with closing(results), ThreadPoolExecutor(1) as pool, Progress("predicting", len(names), "files") as bar:
        try:
            for number, name in enumerate(names):
                note = f"{nuclei:,} nuclei  {shorten(name)}"
                if number:
                    bar.advance(note)
                bar.note(note)
                path, stem, result = next(results)
                if not settle():
                    break
                if result.exception() is not None:
                    previous = path, stem, result, False
                    continue
                found = result.result()
                nuclei += found.count
                previous = path, stem, pool.submit(batch.write, found, path, stem), True
                # An image of an earlier run may be a large one, too, that is read again for its pictures.
                if (not isinstance(found, Found) or found.is_large) and not settle():
                    break
        finally:
            settle()
