"""``nucleiseg encoders``: what a U-Net can stand on."""

from __future__ import annotations

import argparse
from typing import Any

from nucleiseg.cli.terminal import say


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser("encoders", help="list the encoders for 'train --encoder'")
    return parser


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """List the encoders, installed plugins included."""
    from nucleiseg.networks import list_encoders

    say("\n".join(list_encoders()))
    return 0
