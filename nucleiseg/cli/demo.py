"""``nucleiseg demo``: real tissue, offline, in under a minute."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nucleiseg.cli.arguments import check_folder, check_model, import_engine
from nucleiseg.cli.batch import OUTPUTS
from nucleiseg.cli.inputs import check_files
from nucleiseg.cli.terminal import say


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="segment a real image that is shipped with scikit-image",
        description="Segment scikit-image's immunohistochemistry picture (colon tissue) with the model in the box.",
    )
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", type=Path, default=Path("nucleiseg_demo"), help="[nucleiseg_demo]"
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Segment the picture and say what was found and where it is."""
    check_folder(arguments.output)
    names = ("tissue.png", *(f"tissue{ending}" for ending in OUTPUTS))
    check_files(arguments.output, names, {"tissue_measurements.csv": (b"label,area,",)})
    model = check_model("nuclei")
    import_engine(model)
    import skimage.data

    from nucleiseg.inference import PredictOptions
    from nucleiseg.instances import write_picture
    from nucleiseg.segmenter import Segmenter

    image = skimage.data.immunohistochemistry()
    result = Segmenter.load(model).predict(image, PredictOptions(scale=2, tta=True))
    picture = arguments.output / "tissue.png"
    write_picture(picture, image)
    paths = {"image": picture, **result.save(arguments.output, stem="tissue")}
    say(f"{result.count} nuclei in a piece of colon tissue (scikit-image's immunohistochemistry picture)")
    for name, path in paths.items():
        say(f"  {name:<13} {path}")
    return 0
