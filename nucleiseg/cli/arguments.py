"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    from nucleiseg.datasets import Dataset
    from nucleiseg.inference.options import PredictOptions

DATA_HELP = (
    "labelled images: the Kaggle layout as folder or zip, a folder with images/ and labels/ (or masks/), "
    "Kaggle's run-length CSV or a COCO JSON file beside its images, or an .npz file"
)


def add_model(parser: argparse.ArgumentParser) -> None:
    """``--model``: a shipped model or a file."""
    parser.add_argument("--model", default="nuclei", metavar="NAME|PATH", help="shipped model or .keras file [nuclei]")


def check_model(model: str) -> Path:
    """The file of ``--model``; raises before TensorFlow is imported."""
    from nucleiseg.modelfile import read_settings
    from nucleiseg.pretrained import pretrained_path

    path = Path(model) if model.endswith(".keras") else pretrained_path(model)
    read_settings(path)
    return path


def add_predict_options(parser: argparse.ArgumentParser) -> None:
    """A flag for each field of `PredictOptions`."""
    group = parser.add_argument_group("prediction")
    group.add_argument("--threshold", type=float, help="probability above which a pixel is nucleus [the model's own]")
    group.add_argument("--min-area", type=int, default=0, metavar="PIXELS", help="leave smaller nuclei out [0]")
    group.add_argument(
        "--tile", type=int, metavar="PIXELS", help="cut large images into tiles of this size [whole images]"
    )
    group.add_argument("--overlap", type=int, metavar="PIXELS", help="overlap of the tiles [a quarter of --tile]")
    group.add_argument("--tta", action="store_true", help="average over flips and turns: better, eight times as slow")


def predict_options(arguments: argparse.Namespace) -> PredictOptions:
    """`PredictOptions` from the flags."""
    from nucleiseg.images.tiling import Tiling
    from nucleiseg.inference.options import PredictOptions

    tiling = None
    if arguments.tile is not None:
        tiling = Tiling(arguments.tile, arguments.tile // 4 if arguments.overlap is None else arguments.overlap)
    elif arguments.overlap is not None:
        raise InvalidInputError("--overlap needs --tile, the size of the tiles; for example --tile 512")
    return PredictOptions(arguments.threshold, arguments.min_area, tiling, arguments.tta)


def add_score_output(parser: argparse.ArgumentParser) -> None:
    """``--json`` and ``--per-image``: where scores go besides the table."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--per-image", metavar="CSV", type=Path, help="also write the scores of each image here")


def check_score_output(arguments: argparse.Namespace) -> None:
    """Raises before the work is done if its outcome could not be written."""
    if arguments.per_image is not None and arguments.per_image.is_dir():
        raise InvalidInputError(f"--per-image must be a file, but {arguments.per_image} is a folder; add a file name")


def check_folder(folder: Path) -> None:
    """``--output`` where it is a folder, which need not exist yet."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"the output must be a folder, but {folder} is a file; choose another name")


def read_data(data: str, with_labels: str | None) -> Dataset:
    """The labelled images at a path; none is decoded yet."""
    from nucleiseg import datasets

    return datasets.read(data, labels=with_labels)
