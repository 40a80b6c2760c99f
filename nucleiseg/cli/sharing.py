"""The images of one ``predict``, shared out over the workers of a Dask cluster."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg.cli.batch import Found, measure
from nucleiseg.cli.entries import Entry
from nucleiseg.errors import NucleisegError

if TYPE_CHECKING:
    from nucleiseg.inference.options import PredictOptions

__all__ = ["shared_out"]


def shared_out(
    images: Sequence[tuple[Path, str]],
    finished: Mapping[str, Entry],
    model: str,
    options: PredictOptions,
    scheduler: Any,
) -> Generator[tuple[Path, str, Any]]:
    """Path, stem and future of every image: first those that an earlier run has finished, then as workers are done.

    Parameters
    ----------
    images : sequence of (Path, str)
        Which the workers find at the same paths.
    finished : mapping of str to Entry
        By stem.
    model : str
        Path or name; every worker loads it once.
    options : PredictOptions
        With a precision that is the same for all workers.
    scheduler : address or dask.distributed.Client
        Of the cluster.

    Raises
    ------
    NucleisegError
        If the cluster goes away.
    """
    from nucleiseg.inference.spreading import connect, spread

    rest = []
    for path, stem in images:
        if stem in finished:
            known: Future[Entry] = Future()
            known.set_result(finished[stem])
            yield path, stem, known
        else:
            rest.append((path, stem))
    if not rest:
        return
    with connect(scheduler) as client:
        places = [str(path.absolute()) for path, _ in rest]
        for number, found in spread(client, _find_there, range(len(rest)), places, model, options):
            if found.cancelled():  # which says nothing of this image
                raise NucleisegError(
                    f"the cluster of {scheduler} has gone away; go on with --resume when it is there again"
                )
            yield *rest[number], found


def _find_there(number: int, places: Sequence[str], model: str, options: PredictOptions) -> Found:
    """On a worker."""
    from nucleiseg.inference.spreading import once
    from nucleiseg.large import load_segmenter

    started = time.perf_counter()
    return measure(once(load_segmenter, model).predict(places[number], options), started)
