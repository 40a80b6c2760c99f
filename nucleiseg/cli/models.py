"""``nucleiseg models``: what is in the box."""

from __future__ import annotations

import argparse
from typing import Any

from nucleiseg.cli.terminal import say


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser("models", help="list the shipped models for '--model'")
    return parser


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """One line a model: its name, its size, how good it is on images that it was not trained on, and its purpose."""
    from nucleiseg.pretrained import list_pretrained, model_card

    for name in list_pretrained():
        card = model_card(name)
        ap50, megabytes = card["test"]["all"]["ap50"], card["file"]["bytes"] / 1e6
        say(f"{name}  {megabytes:.1f} MB  AP at IoU .5 {ap50:.3f}  {card['purpose']}")
    return 0
