"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nucleiseg._files import check_reachable, check_suffix
from nucleiseg.errors import DatasetError, InvalidInputError

if TYPE_CHECKING:
    from nucleiseg.datasets import Dataset
    from nucleiseg.images.read_options import ReadOptions
    from nucleiseg.inference.options import PredictOptions

DATA_HELP = (
    "labelled images: the Kaggle layout as folder or zip, a folder with images/ and labels/ (or masks/), "
    "Kaggle's run-length CSV or a COCO JSON file beside its images, or an .npz file"
)

_OTHER_FILES = (".csv", ".json", ".geojson", ".npy", ".npz", ".zip", ".keras", ".onnx")


def add_model(parser: argparse.ArgumentParser) -> None:
    """``--model``: a shipped model or a file."""
    parser.add_argument("--model", default="nuclei", metavar="NAME|PATH", help="shipped model or file [nuclei]")


def check_model(model: str) -> Path:
    """The file of ``--model``; raises before TensorFlow is imported."""
    from nucleiseg.engines import find_format
    from nucleiseg.pretrained import pretrained_path

    path = Path(model) if Path(model).suffix else pretrained_path(model)
    find_format(path).read_settings(path)
    return path


def check_new_model(output: Path) -> None:
    """``--output`` where it is a model to be trained."""
    if output.suffix != ".keras":
        raise InvalidInputError(
            f"the model's file name must end in .keras, got {output.name!r}; use {output.stem}.keras"
        )
    check_reachable(output, InvalidInputError)
    if output.is_dir():
        raise InvalidInputError(f"the model must be a file, but {output} is a folder; choose another name")
    check_writable(output.parent)


def is_model_file(start: str) -> bool:
    """Whether ``--start`` is a file and no shipped model; whatever the case of its ending, as `find_format` has it."""
    return start.lower().endswith(".keras")


def check_start(start: str) -> None:
    """``--start``: a shipped model or a ``.keras`` file."""
    from nucleiseg._checks import check_choice
    from nucleiseg.pretrained import list_pretrained

    if not is_model_file(start):
        check_choice(start, "shipped model to start from", list_pretrained())
    elif not Path(start).is_file():
        raise InvalidInputError(f"the model to start from must be a file, got {start}, which is none; check the path")


def check_splits(table: str | None) -> None:
    """``--splits``, or that of a recipe, before any image is looked for."""
    if table is None:
        return
    check_reachable(table, DatasetError)
    if not Path(table).is_file():
        raise DatasetError(f"the table of splits must be a file, got {table}, which is none; check the path")


def import_engine(model: Path) -> None:
    """Import what runs a model, without a word from it, if that is TensorFlow."""
    import importlib.util

    from nucleiseg.cli.terminal import import_tensorflow_quietly
    from nucleiseg.engines import find_format

    if find_format(model).framework and importlib.util.find_spec("tensorflow") is not None:
        import_tensorflow_quietly()


def add_predict_options(parser: argparse.ArgumentParser) -> None:
    """A flag for each field of `PredictOptions`."""
    group = parser.add_argument_group("prediction")
    group.add_argument("--threshold", type=float, help="probability above which a pixel is nucleus [the model's own]")
    group.add_argument("--min-area", type=int, metavar="PIXELS", help="leave smaller nuclei out [the model's own]")
    group.add_argument(
        "--min-confidence", type=float, metavar="SHARE", help="leave out nuclei that are less sure [the model's own]"
    )
    group.add_argument(
        "--scale", type=_scale, default="auto", metavar="FACTOR", help="resize the image for the network [auto]"
    )
    group.add_argument("--diameter", type=float, metavar="PIXELS", help="usual diameter of the nuclei [estimated]")
    group.add_argument("--diameter-um", type=float, metavar="UM", help="the same in µm, where --pixel-size is known")
    group.add_argument(
        "--remove-edge",
        action="store_true",
        help="leave nuclei at the edge of the image out; evaluate: true ones too",
    )
    group.add_argument("--fill-holes", action="store_true", help="fill holes in nuclei")
    group.add_argument(
        "--tile", type=int, metavar="PIXELS", help="cut images into tiles of this size [chosen by --max-memory]"
    )
    group.add_argument("--overlap", type=int, metavar="PIXELS", help="overlap of the tiles [a quarter of --tile]")
    group.add_argument("--max-memory", default="2GB", metavar="BYTES", help="for one image, such as 600MiB [2GB]")
    group.add_argument("--tta", action="store_true", help="average over flips and turns: better, eight times as slow")
    group.add_argument(
        "--precision",
        default="auto",
        metavar="NAME",
        help="float32 or mixed_bfloat16 [mixed_bfloat16 where the processor knows it, which is faster]",
    )
    add_read_options(parser)


def add_read_options(parser: argparse.ArgumentParser) -> None:
    """A flag for each field of `ReadOptions`."""
    group = parser.add_argument_group("microscopy files")
    group.add_argument("--channel", metavar="N|NAME", help="that shows the nuclei; two or three with commas: DAPI,2")
    group.add_argument("--axes", metavar="LETTERS", help="what the axes are, e.g. ZCYX [what the file says]")
    group.add_argument("--project", metavar="max|mean", help="how the planes along Z become one")
    group.add_argument("--select", metavar="AXIS=N", help="one position along an axis, e.g. T=0 or T=0,Z=4")
    group.add_argument("--scene", metavar="N|NAME", help="one of several images in a file")
    group.add_argument("--level", type=int, default=0, metavar="N", help="of a pyramid: 0 is the full size [0]")
    group.add_argument("--pixel-size", type=float, metavar="UM", help="of the full size, in µm [what the file says]")
    add_max_pixels(group)


def add_max_pixels(group: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """``--max-pixels``: the largest image that is read at once."""
    group.add_argument(
        "--max-pixels", type=int, default=2**28, metavar="N", help="refuse larger images, height times width [2^28]"
    )


def read_options(arguments: argparse.Namespace) -> ReadOptions:
    """`ReadOptions` from the flags."""
    from nucleiseg.images.read_options import ReadOptions

    channels = tuple(map(_index_or_name, arguments.channel.split(","))) if arguments.channel else ()
    select = {}
    for item in arguments.select.split(",") if arguments.select else ():
        axis, sign, position = item.partition("=")
        if not sign or not position.isdecimal():
            raise InvalidInputError(f"--select must be an axis and a position, got {item!r}; for example --select T=0")
        select[axis] = int(position)
    return ReadOptions(
        channel=channels[0] if len(channels) == 1 else channels or None,
        axes=arguments.axes,
        project=arguments.project,
        select=select,
        scene=None if arguments.scene is None else _index_or_name(arguments.scene),
        level=arguments.level,
        pixel_size=arguments.pixel_size,
        max_pixels=arguments.max_pixels,
    )


def _scale(text: str) -> float | Literal["auto"]:
    try:
        return "auto" if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or auto, got {text!r}; for example 0.5") from None


def _index_or_name(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def predict_options(arguments: argparse.Namespace) -> PredictOptions:
    """`PredictOptions` from the flags."""
    from nucleiseg.images.tiling import Tiling
    from nucleiseg.inference.options import PredictOptions

    tiling: Tiling | Literal["auto"] = "auto"
    if arguments.tile is not None:
        tiling = Tiling(arguments.tile, arguments.tile // 4 if arguments.overlap is None else arguments.overlap)
    elif arguments.overlap is not None:
        raise InvalidInputError("--overlap needs --tile, the size of the tiles; for example --tile 512")
    return PredictOptions(
        threshold=arguments.threshold,
        min_area=arguments.min_area,
        min_confidence=arguments.min_confidence,
        scale=arguments.scale,
        diameter=arguments.diameter,
        diameter_um=arguments.diameter_um,
        remove_edge=arguments.remove_edge,
        fill_holes=arguments.fill_holes,
        tiling=tiling,
        max_memory=arguments.max_memory,
        tta=arguments.tta,
        precision=arguments.precision,
        reading=read_options(arguments),
    )


def add_score_output(parser: argparse.ArgumentParser) -> None:
    """``--json`` and ``--per-image``: where scores go besides the table."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--per-image", metavar="CSV", type=Path, help="also write the scores of each image here")


def check_score_output(arguments: argparse.Namespace) -> None:
    """Raises before the work is done if its outcome could not be written."""
    if arguments.per_image is None:
        return
    check_reachable(arguments.per_image, InvalidInputError)
    if arguments.per_image.is_dir():
        raise InvalidInputError(f"--per-image must be a file, but {arguments.per_image} is a folder; add a file name")
    check_suffix(arguments.per_image, ".csv")
    check_writable(arguments.per_image.parent)


def check_folder(folder: Path, files: str = "") -> None:
    """``--output`` where it is a folder, which need not exist yet; ``files`` tells what may be named instead."""
    from nucleiseg.images.reading import IMAGE_SUFFIXES, MICROSCOPE_SUFFIXES

    check_reachable(folder, InvalidInputError)
    if folder.suffix.lower() in (*IMAGE_SUFFIXES, *MICROSCOPE_SUFFIXES, *_OTHER_FILES) and not folder.exists():
        raise InvalidInputError(
            f"the output must be a folder, which holds several files, but {folder} ends like a file{files}; "
            f"use a name such as {folder.with_suffix('')}"
        )
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"the output must be a folder, but {folder} is a file; choose another name")


def check_writable(folder: Path) -> None:
    """Raises before the work is done if a folder could not be made or written into; leaves nothing there."""
    folder = folder.absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        tempfile.NamedTemporaryFile(prefix=".tmp-", dir=there).close()  # a try, as permissions do not tell all
    except OSError as error:
        raise InvalidInputError(
            f"results cannot be written into {folder} ({error.strerror}); choose another output folder"
        ) from error


def read_data(data: str, with_labels: str | None, reading: ReadOptions) -> Dataset:
    """The labelled images at a path; none is decoded yet."""
    from nucleiseg import datasets

    return datasets.read(data, labels=with_labels, reading=reading)
