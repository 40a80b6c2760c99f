"""``nucleiseg``: reads the arguments, runs a command, turns errors into one line.

Exit status: 0 all well, 1 something failed (the rest was done), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence

from nucleiseg._version import __version__
from nucleiseg.cli import demo, encoders, evaluate, predict, train
from nucleiseg.cli.terminal import complain
from nucleiseg.errors import InvalidInputError, NucleisegError

_COMMANDS = (predict, train, evaluate, demo, encoders)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except NucleisegError as error:
        if options.debug:
            traceback.print_exc(file=sys.stderr)
        complain(str(error))
        return 2 if isinstance(error, InvalidInputError) else 1
    except Exception as error:  # a bug, or a machine that fails: one line for users, everything for those who ask
        if options.debug:
            raise
        complain(f"{type(error).__name__}: {error} (run again with --debug to see where)")
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nucleiseg", description="Segment cell nuclei in microscopy images.")
    parser.add_argument("--version", action="version", version=f"nucleiseg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        added = command.add_parser(commands)
        added.add_argument("--debug", action="store_true", help="show where an error comes from")
        added.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
