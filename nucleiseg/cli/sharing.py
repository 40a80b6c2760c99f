"""The images of one ``predict``, shared out over the workers of a Dask cluster."""

from __future__ import annotations

import argparse
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleiseg._files import file_sha256
from nucleiseg.cli.arguments import check_model
from nucleiseg.cli.batch import Found, measure
from nucleiseg.cli.entries import Entry
from nucleiseg.errors import ClusterError, NucleisegError

if TYPE_CHECKING:
    from nucleiseg.inference.options import PredictOptions
    from nucleiseg.segmenter import Segmenter

__all__ = ["add_cluster", "shared_out"]


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """The flag of a cluster, which shares out the parts of a large image as well as many images."""
    group = parser.add_argument_group("clusters")
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask cluster that shares the work, such as tcp://10.0.0.1:8786; its workers read the same paths",
    )


def shared_out(
    images: Sequence[tuple[Path, str]],
    finished: Mapping[str, Entry],
    model: str,
    sha256: str,
    options: PredictOptions,
    client: Any,
) -> Generator[tuple[Path, str, Future[Any]]]:
    """Path, stem and future of every image: first those that an earlier run has finished, then as workers are done.

    Parameters
    ----------
    images : sequence of (Path, str)
        Which the workers find at the same paths.
    finished : mapping of str to Entry
        By stem.
    model : str
        Path or name; every worker loads it once.
    sha256 : str
        Of the model's file, which is to be the same for all: the journal names it.
    options : PredictOptions
        With a precision that is the same for all workers.
    client : dask.distributed.Client
        Of the cluster.

    Raises
    ------
    ClusterError
        If the cluster goes away, or a worker has another model or another nucleiseg.
    """
    from nucleiseg.inference.spreading import spread

    rest = []
    for path, stem in images:
        if stem in finished:
            known: Future[Any] = Future()
            known.set_result(finished[stem])
            yield path, stem, known
        else:
            rest.append((path, stem, str(path.absolute())))
    for (path, stem, _), found in spread(client, _find_there, rest, model, sha256, options):
        yield path, stem, found


def _find_there(item: tuple[Path, str, str], model: str, sha256: str, options: PredictOptions) -> Found:
    """On a worker."""
    from nucleiseg.inference.spreading import once

    started = time.perf_counter()
    return measure(once(_load_the_same, model, sha256).predict(item[2], options), started)


def _load_the_same(model: str, sha256: str) -> Segmenter:
    from nucleiseg.large import load_segmenter

    try:
        same = file_sha256(check_model(model)) == sha256
    except (NucleisegError, OSError):
        same = False
    if not same:
        raise ClusterError(
            f"a worker of the Dask cluster has another model, or none, as {model}; put the same file at the same path "
            "for all of them, or install the same nucleiseg"
        )
    return load_segmenter(model)
