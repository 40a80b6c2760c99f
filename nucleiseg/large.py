"""Segment images that are larger than memory, here or on many machines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nucleiseg._checks import as_list, check_choice
from nucleiseg._optional import check_extra
from nucleiseg._version import __version__
from nucleiseg.engines.engine import computing_in, fingerprint_of, settle_precision
from nucleiseg.errors import InvalidInputError
from nucleiseg.images.lazy import LazyImage, open_lazy
from nucleiseg.images.quality import judge_sample
from nucleiseg.images.read_options import MAX_PIXELS
from nucleiseg.images.sampling import sample_pixels
from nucleiseg.inference.flags import flags_of_nuclei
from nucleiseg.inference.large import Found, LargeJob, Written, plan_job, run_here, write_labels_of
from nucleiseg.inference.large_scale import at_one_scale
from nucleiseg.inference.options import PredictOptions, given_options
from nucleiseg.inference.scale import Passport
from nucleiseg.inference.scale_choice import calibration_of
from nucleiseg.inference.segmenting import decoding_of
from nucleiseg.inference.spreading import connect, once, spread
from nucleiseg.instances.label_stores import check_label_store
from nucleiseg.instances.streaming import STREAMED, measured_blocks, stream_geojson, stream_parquet, stream_paths
from nucleiseg.segmenter import Segmenter

__all__ = ["predict_large"]


def predict_large(
    model: Segmenter | str | os.PathLike[str],
    image: Any,
    output: str | os.PathLike[str],
    options: PredictOptions | None = None,
    scheduler: Any = None,
    export: Sequence[str] | str = (),
) -> int:
    """Label the nuclei of an image that need not fit into memory; reads and writes it part by part.

    What is finished is kept in a folder beside the output, ``<output>.part``. The same call goes on from there after an
    interruption, whatever caused it.

    Parameters
    ----------
    model : Segmenter or path
        What finds the nuclei; a path of a ``.keras`` file, or the name of a shipped model.
    image : path or array
        See `nucleiseg.images.lazy.open_lazy`.
    output : path
        ``.zarr``, ``.ome.zarr`` or ``.tif``; see `nucleiseg.instances.label_stores.write_label_store`.
    options : PredictOptions, optional
        Memory, tiles, smallest area and so on, as for `Segmenter.predict`. The scale is decided once, by what is found
        in the middle of the image, or where that has hardly any nuclei, of one of its quarters.
    scheduler : address or dask.distributed.Client, optional
        Of a Dask cluster whose workers share the work. They read the model (which must be a path or a name then) and
        the image from the same paths, a shipped model from their own installation; what a worker that dies had begun
        is done again by another.

    export : "geojson", "parquet", or a sequence of these
        Further files beside the output, of the same name but for the ending: outlines and measurements for QuPath, and
        a table of the measurements. They are written part by part, too.

    Returns
    -------
    int
        How many nuclei there are.

    Raises
    ------
    InvalidInputError
        If the output is no such path, it or a further file is not ours to replace, the memory too small, or there is an
        unfinished prediction with other settings.
    ImageFileError
        If the image can't be read part by part.
    ClusterError
        If the cluster does not answer or goes away.

    Examples
    --------
    >>> import tempfile, numpy, tifffile
    >>> folder = Path(tempfile.mkdtemp())
    >>> predict_large("nuclei", numpy.zeros((64, 96), numpy.uint8), folder / "labels.tif")
    0
    >>> tifffile.imread(folder / "labels.tif").shape
    (64, 96)
    """
    return label_large(model, image, output, options, scheduler, export).nuclei


class LargeLabels(NamedTuple):
    """How many nuclei there are, and what speaks against trusting the image, as `Prediction.quality` has it."""

    nuclei: int
    quality: tuple[str, ...]


def label_large(
    model: Segmenter | str | os.PathLike[str],
    image: Any,
    output: str | os.PathLike[str],
    options: PredictOptions | None = None,
    scheduler: Any = None,
    export: Sequence[str] | str = (),
) -> LargeLabels:
    """As `predict_large`, and judge the image: by a sample of it, and by all nuclei.

    Examples
    --------
    >>> import tempfile
    >>> label_large("nuclei", np.zeros((64, 96), np.uint8), Path(tempfile.mkdtemp(), "labels.tif"))
    LargeLabels(nuclei=0, quality=('flat', 'empty'))
    """
    options, export = given_options(options), as_list(export)
    source = image.name if isinstance(image, LazyImage) and image.from_file else image
    if isinstance(source, (str, os.PathLike)) and Path(source).resolve() == Path(output).resolve():
        raise InvalidInputError(
            f"the labels must not replace the image that they are of, got {os.fspath(output)} for both; "
            "choose another output"
        )
    target = check_label_store(output)
    for name in export:
        check_choice(name, "export", STREAMED)
    if "parquet" in export:
        check_extra("pyarrow", "parquet", "writing Parquet")
    stream_paths(target, export)  # raises before the work is done
    if scheduler is not None:
        name_for_workers(model)  # raises before the work is done
    lazy = image if isinstance(image, LazyImage) else open_lazy(image, options.reading)
    segmenter = load_segmenter(model)
    options = the_same_everywhere(segmenter, options)
    engine, settings = computing_in(segmenter._engine, options.precision), segmenter._settings
    asked = facts_of(segmenter, options)
    sample = sample_pixels(lazy)  # once, since it is read from all over the image
    options, factor = at_one_scale(lazy, engine, settings, options, sample)
    decoding = decoding_of(settings, options)
    job = plan_job(lazy, engine, settings.scaling, decoding, factor, bool(export), sample)

    def compute(missing: list[int]) -> Iterator[tuple[int, Found]]:
        if scheduler is None or not missing:
            yield from run_here(job, engine, decoding, missing)
            return
        with connect(scheduler) as client:
            for number, found in spread(client, _run_there, missing, name_for_workers(model), job, options):
                yield number, found.result()

    quality: tuple[str, ...] = ()

    def finish(written: Written) -> None:
        nonlocal quality
        passport = None if settings.passport is None else Passport(*settings.passport)
        found = sample_pixels(open_lazy(target))
        quality = judge_sample(sample, found, lazy.shape, written.nuclei)
        quality += flags_of_nuclei(written.areas, factor, passport, written.familiar)
        if export:
            write_exports(lazy, target, export, written.confidence, "; ".join(quality))

    written = write_labels_of(job, target, compute, asked, decoding, calibration_of(settings), finish)
    return LargeLabels(written.nuclei, quality)


def write_exports(
    image: LazyImage,
    target: Path,
    export: Sequence[str],
    confidence: npt.NDArray[np.float64] | None = None,
    quality: str | None = None,
) -> None:
    """Files beside a label image that has been written."""
    labels = open_lazy(target)
    blocks = measured_blocks(
        labels,
        lambda rows, columns: image.read(rows, columns).measured,
        image.pixel_size,
        image.read(slice(0, 1), slice(0, 1)).channels,  # of those that are measured, which may be but some
        confidence=confidence,
        quality=quality,
    )
    for name, path in stream_paths(target, export).items():
        blocks = stream_geojson(path, blocks) if name == "geojson" else stream_parquet(path, blocks)
    for _ in blocks:  # each is measured once and goes through all files
        pass


def _run_there(number: int, model: str, job: LargeJob, options: PredictOptions) -> Found:
    """What is found in one window, in a worker."""
    segmenter = once(load_segmenter, model)
    engine = computing_in(segmenter._engine, options.precision)
    ((_, found),) = run_here(job, engine, decoding_of(segmenter._settings, options), [number])
    return found


def load_segmenter(model: Segmenter | str | os.PathLike[str]) -> Segmenter:
    """The segmenter itself, of a file, or a shipped one."""
    if isinstance(model, Segmenter):
        return model
    path = os.fspath(model)
    return Segmenter.load(path) if Path(path).suffix else Segmenter.from_pretrained(path)


def name_for_workers(model: Any) -> str:
    """What a process that was started elsewhere loads the same model by.

    A shipped model is told by its name, since each installation has its file in another place.

    Raises
    ------
    InvalidInputError
        If it is no path or name.

    Examples
    --------
    >>> name_for_workers("nuclei"), name_for_workers("nuclei.keras") == str(Path("nuclei.keras").absolute())
    ('nuclei', True)
    """
    if not isinstance(model, (str, os.PathLike)):
        raise InvalidInputError(
            f"workers load the model themselves, got a {type(model).__name__}; save it and pass the path of the file"
        )
    path = os.fspath(model)
    return str(Path(path).absolute()) if Path(path).suffix else path


def the_same_everywhere(segmenter: Segmenter, options: PredictOptions) -> PredictOptions:
    """Options by which all workers see their parts in one precision, that which is fastest in this process.

    Examples
    --------
    >>> the_same_everywhere(load_segmenter("nuclei"), PredictOptions(precision="float32")).precision
    'float32'
    """
    return replace(options, precision=settle_precision(segmenter._engine, options.precision))


def facts_of(segmenter: Segmenter, options: PredictOptions) -> dict[str, str]:
    """What decides the labels, as short texts that can be compared."""
    reading = replace(options.reading, max_pixels=MAX_PIXELS)  # parts have no such limit
    # The windows are compared instead, and what "auto" is.
    neutral = replace(options, max_memory=1, precision="auto", reading=reading)
    return {
        "model": fingerprint_of(segmenter._engine),
        "settings": repr(segmenter._settings),
        **{each.name: repr(getattr(neutral, each.name)) for each in fields(neutral)},
        "precision": options.precision,
        "version of nucleiseg": __version__,
    }
