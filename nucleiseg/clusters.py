"""Dask: lazy arrays of labels, and many files on many machines."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from nucleiseg._checks import as_list
from nucleiseg.engines.engine import computing_in
from nucleiseg.errors import FailedImagesError, InvalidInputError
from nucleiseg.images.lazy import LazyImage, open_lazy
from nucleiseg.images.sampling import sample_pixels
from nucleiseg.images.sources import open_micrograph
from nucleiseg.inference.ahead import ahead, is_large
from nucleiseg.inference.dask_labels import lazy_labels
from nucleiseg.inference.large import plan_job
from nucleiseg.inference.large_scale import at_one_scale
from nucleiseg.inference.maps import Network
from nucleiseg.inference.memory import Plan
from nucleiseg.inference.options import PredictOptions, given_options
from nucleiseg.inference.prediction import Prediction
from nucleiseg.inference.scale_choice import calibration_of
from nucleiseg.inference.segmenting import decoding_of
from nucleiseg.inference.spreading import connect, once, spread
from nucleiseg.inference.windows import decode_window, look
from nucleiseg.instances.decoders import Decoded
from nucleiseg.large import load_segmenter, name_for_workers, the_same_everywhere

__all__ = ["predict_dask", "predict_many"]


def predict_dask(model: str | os.PathLike[str], image: Any, options: PredictOptions | None = None) -> Any:
    """Labels of a Dask array, as a Dask array.

    Nothing but the range of the image, and its scale if that is left open, is computed before it is asked for.

    Parameters
    ----------
    model : path or name
        A ``.keras`` file or a shipped model; every worker loads it once.
    image : dask.array.Array, (H, W) or (H, W, C)
        Raw pixels, any real dtype. Other axes are told by ``options.reading``.
    options : PredictOptions, optional
        As for `Segmenter.predict`; ``max_memory`` is for one worker.

    Returns
    -------
    dask.array.Array of int32, (H, W)
        0 background, 1 … n, the same as from one process.

    Raises
    ------
    InvalidInputError
        If the array is no image.
    MissingPackageError
        If Dask is not installed: ``pip install "nucleiseg[dask]"``.

    Examples
    --------
    >>> import numpy as np, pytest; array = pytest.importorskip("dask.array")
    >>> labels = predict_dask("nuclei", array.zeros((64, 96), dtype=np.uint8))
    >>> labels.shape, labels.dtype, int(labels.max().compute(scheduler="synchronous"))
    ((64, 96), dtype('int32'), 0)
    """
    options = given_options(options)
    name = name_for_workers(model)
    if isinstance(image, (str, os.PathLike)):
        raise InvalidInputError(
            f"image must be a Dask array, got the path {os.fspath(image)}; use dask.array.from_zarr, or "
            "nucleiseg.predict_large for a file"
        )
    segmenter = once(load_segmenter, name)
    options = the_same_everywhere(segmenter, options)
    engine, settings = computing_in(segmenter._engine, options.precision), segmenter._settings
    lazy = open_lazy(image, options.reading)
    sample = sample_pixels(lazy)  # once, since it is read from all over the image
    options, factor = at_one_scale(lazy, engine, settings, options, sample)
    decoding = decoding_of(settings, options)
    job = plan_job(lazy, engine, settings.scaling, decoding, factor, False, sample)

    part = lazy.part(shown_only=True)
    options = replace(options, reading=part.options)
    # Goes to the workers with every window, so it must not hold the image.
    label_window = partial(
        _label_window, axes=part.axes, model=name, bounds=job.bounds, plan=job.plan, options=options, factor=factor
    )

    return lazy_labels(
        image[part.where],
        job.windows,
        job.plan.context,
        label_window,
        decoding.area,
        options.remove_edge,
        decoding.least_confidence,
        calibration_of(settings),
        factor,
        part.axes,
    )


def predict_many(
    model: str | os.PathLike[str],
    paths: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    options: PredictOptions | None = None,
    client: Any = None,
    on_error: Callable[[str, Exception], object] | None = None,
) -> Iterator[tuple[str, Prediction]]:
    """Find the nuclei of many files, on the workers of a Dask cluster if there is one.

    A file that can't be segmented costs only itself: the others go on.

    Parameters
    ----------
    model : path or name
        A ``.keras`` file or a shipped model; every worker loads it once.
    paths : sequence of path, or path
        Image files, which the workers find at the same paths.
    options : PredictOptions, optional
        As for `Segmenter.predict`.
    client : address or dask.distributed.Client, optional
        Of the cluster. None works here: while one file is in the network, the next one is read.
    on_error : function, optional
        Called with the path and the error of each file that can't be segmented, when it is its turn. By default they
        are named by an error that is raised after the last file.

    Yields
    ------
    path, Prediction
        As they are finished: in the order of the paths, on a cluster in any order.

    Raises
    ------
    FailedImagesError
        In the end, if some files could not be segmented and there is no ``on_error``.
    ClusterError
        If the cluster does not answer or goes away.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "dark.png"
    >>> Image.new("L", (64, 32)).save(path)
    >>> [result.count for _, result in predict_many("nuclei", [path])]
    [0]
    >>> failed = {}
    >>> list(predict_many("nuclei", ["no_such_file.png"], on_error=failed.__setitem__)), list(failed)
    ([], ['no_such_file.png'])
    """
    files = [os.fspath(path) for path in as_list(paths)]
    options = given_options(options)
    failed: dict[str, Exception] = {}
    failures = 0
    done = _done_here(model, files, options) if client is None else _done_there(model, files, options, client)
    with closing(done):
        for file, found in done:
            try:
                result = found.result()
            except Exception as error:  # whatever one file brings up (memory, for example)
                failures += 1  # of a path that is given twice, two
                (on_error or failed.__setitem__)(file, error)
            else:
                yield file, result
    if failed:
        raise FailedImagesError(failed, len(files), failures)


def _done_here(model: str | os.PathLike[str], files: list[str], options: PredictOptions) -> Generator[tuple[str, Any]]:
    """Futures of all files, in their order."""
    segmenter = load_segmenter(model)
    results = ahead(
        files,
        lambda file: open_micrograph(file, options.reading),
        lambda source: segmenter.predict(source, options),
        is_large,
    )
    with closing(results):
        yield from zip(files, results, strict=True)


def _done_there(
    model: str | os.PathLike[str], files: list[str], options: PredictOptions, client: Any
) -> Generator[tuple[str, Any]]:
    """Futures of all files, as they are done by workers, which may have been started in other folders."""
    name = name_for_workers(model)
    options = the_same_everywhere(once(load_segmenter, name), options)
    with connect(client) as connected:
        items = [(file, str(Path(file).absolute())) for file in files]
        for (file, _), found in spread(connected, _predict_file, items, name, options):
            yield file, found


def _predict_file(item: tuple[str, str], model: str, options: PredictOptions) -> Prediction:
    found: Prediction = once(load_segmenter, model).predict(item[1], options)
    return found


def _label_window(
    pixels: npt.NDArray[Any],
    inside: tuple[slice, slice],
    axes: str,
    model: str,
    bounds: tuple[Any, Any],
    plan: Plan,
    options: PredictOptions,
    factor: float,
) -> Decoded:
    segmenter = once(load_segmenter, model)
    image = LazyImage(pixels, axes, "image", options.reading, from_file=False)
    height, width = image.shape
    network = Network(computing_in(segmenter._engine, options.precision), bounds, plan.network, options.tta)
    maps = look(image[0:height, 0:width], inside, network, factor)
    size = (inside[0].stop - inside[0].start, inside[1].stop - inside[1].start)
    return decode_window(maps, decoding_of(segmenter._settings, options).part, size)
