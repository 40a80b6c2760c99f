"""``nucleiseg export``: a model for runtimes without TensorFlow."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nucleiseg.cli.arguments import check_model, import_engine
from nucleiseg.cli.terminal import say
from nucleiseg.errors import InvalidInputError


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="write a model for other runtimes",
        description="Write a model as an ONNX file, with its settings inside, or as a package for the BioImage Model "
        "Zoo. It runs without TensorFlow: here with 'nucleiseg predict --model FILE', and in whatever runs ONNX.",
    )
    parser.add_argument("model", metavar="MODEL", help="shipped model or .keras file")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", type=Path, help=".onnx, .bioimage.zip, or .keras for a copy"
    )
    parser.add_argument("--licence", metavar="NAME", help="of the weights, such as CC-BY-4.0 [the model's own]")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Load, export, and say where it is."""
    from nucleiseg.engines import find_format
    from nucleiseg.pretrained import list_pretrained

    model, output = check_model(arguments.model), arguments.output
    find_format(output)
    if output.is_dir():
        raise InvalidInputError(f"the output must be a file, but {output} is a folder; choose another name")
    import_engine(model)
    from nucleiseg.segmenter import Segmenter

    shipped = arguments.model in list_pretrained()
    segmenter = Segmenter.from_pretrained(arguments.model) if shipped else Segmenter.load(model)
    say(str(segmenter.export(output, arguments.licence)))
    return 0
