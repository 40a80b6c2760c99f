"""``nucleiseg``: reads the arguments, runs a command, turns errors into one line.

Exit status: 0 all well, 1 something failed (the rest was done), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

from nucleiseg._progress import close_all
from nucleiseg._version import __version__
from nucleiseg.cli import check, demo, encoders, evaluate, export, fine_tune, models, predict, score, train
from nucleiseg.cli.messages import add_messages, messages
from nucleiseg.cli.terminal import complain, report
from nucleiseg.errors import InvalidInputError

_LOGGER = logging.getLogger(__name__)
_COMMANDS = (predict, train, fine_tune, evaluate, score, check, export, demo, models, encoders)


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and where the usage is explained."""

    def error(self, message: str) -> NoReturn:
        complain(f"{message}; see '{self.prog} --help'")
        raise SystemExit(2)


class _Columns(argparse.HelpFormatter):
    """Leaves room for the longest command, whose indent argparse forgets."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 13


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(messages(options, arguments))
        except InvalidInputError as error:
            report(error, options.debug)
            return 2
        status = _run(options)
        _LOGGER.info("exit status %d", status)
    return status


def _run(options: argparse.Namespace) -> int:
    try:
        status: int = options.run(options)
    except KeyboardInterrupt as interrupt:
        close_all()
        complain(str(interrupt) or "interrupted")
        return 130
    except Exception as error:  # one line for users, everything for those who ask
        close_all()
        report(error, options.debug)
        return 2 if isinstance(error, InvalidInputError) else 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="nucleiseg", description="Segment cell nuclei in microscopy images.", formatter_class=_Columns
    )
    parser.add_argument("--version", action="version", version=f"nucleiseg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        added = command.add_parser(commands)
        add_messages(added)
        added.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
