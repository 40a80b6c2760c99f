"""``nucleiseg predict`` of one image that is larger than memory, into one file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nucleiseg.cli.arguments import check_model, import_engine
from nucleiseg.cli.quality import tell_flags
from nucleiseg.cli.terminal import say
from nucleiseg.errors import InvalidInputError

if TYPE_CHECKING:
    from nucleiseg.inference.options import PredictOptions

_STORES = (".zarr", ".tif", ".tiff")


def is_large(arguments: argparse.Namespace) -> bool:
    """Whether one file of labels is asked for instead of a folder."""
    output: Path = arguments.output
    return output.suffix.lower() in _STORES


def run_large(arguments: argparse.Namespace, options: PredictOptions) -> int:
    """Label one image part by part; goes on where an earlier run was interrupted."""
    from nucleiseg._checks import check_choice
    from nucleiseg.images.lazy import open_lazy
    from nucleiseg.instances.label_stores import check_label_store
    from nucleiseg.instances.streaming import STREAMED, stream_paths

    if len(arguments.input) != 1:
        raise InvalidInputError(
            f"{arguments.output} is one file and takes the labels of one image, got {len(arguments.input)} inputs; "
            "give a folder as --output for several"
        )
    if arguments.pictures:
        raise InvalidInputError(f"--pictures needs a folder as --output, got {arguments.output}; leave it out")
    export = [name.strip() for name in (arguments.export or "").split(",") if name.strip()]
    for name in export:
        check_choice(name, "format of --export beside one file of labels", STREAMED)
    file = check_model(arguments.model)
    stream_paths(check_label_store(arguments.output), export)
    image = open_lazy(arguments.input[0], options.reading)

    import_engine(file)
    from nucleiseg.large import label_large

    # By its name, which means the same on the workers of a cluster.
    count, flags = label_large(
        arguments.model, image, arguments.output, options, scheduler=arguments.scheduler, export=export
    )
    tell_flags(flags, options)
    say(f"{count} nuclei; labels in {arguments.output}")
    return 0
