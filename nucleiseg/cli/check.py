"""``nucleiseg check``: what is wrong with labelled images?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from nucleiseg.cli.arguments import DATA_HELP, add_read_options, check_splits, read_options
from nucleiseg.cli.terminal import say
from nucleiseg.errors import InvalidInputError


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "check",
        help="find out what is wrong with labelled images",
        description="Look for mistakes in labels and images before training: what, where, and what to do. "
        "Exits with 1 if there are errors; warnings and notes do not count.",
    )
    parser.add_argument("data", help=DATA_HELP)
    parser.add_argument("--labels", metavar="FOLDER", help="label images, where DATA is a folder of images")
    parser.add_argument("--splits", metavar="CSV", help="columns image_id and split: finds copies across splits")
    parser.add_argument(
        "--crop", type=int, default=256, metavar="PIXELS", help="height and width of the training crops [256]"
    )
    parser.add_argument("--report", metavar="HTML", type=Path, help="write a report with pictures, one file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--fix", metavar="FOLDER", type=Path, help="write a copy with mended labels: pieces, holes, specks, gaps"
    )
    add_read_options(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Check, and report in the ways that were asked for."""
    from nucleiseg.datasets.doctor import CheckSettings, check, open_for_check, repair

    settings, reading = CheckSettings(crop=arguments.crop), read_options(arguments)
    _check_outputs(arguments.report, arguments.fix)
    check_splits(arguments.splits)
    data, unpaired = open_for_check(arguments.data, arguments.labels, arguments.splits, reading)
    report = check(data, settings, unpaired=unpaired)
    fixed = repair(data, arguments.fix, settings, unpaired) if arguments.fix is not None else None
    if arguments.json:
        say(
            json.dumps({**report.to_dict(), **({} if fixed is None else {"fixed": fixed.to_dict()})}, indent=2),
            asked=True,
        )
    else:
        say(str(report) + ("" if fixed is None else f"\n\n{fixed}"))
    if arguments.report is not None:
        from nucleiseg.plotting.check_report import write_check_report

        path = write_check_report(report, data, arguments.report, Path(arguments.data).name)
        if not arguments.json:
            say(f"\n{path}")
    return 0 if report.ok else 1


def _check_outputs(report: Path | None, fix: Path | None) -> None:
    """Before minutes of work, not after."""
    if report is not None and report.suffix.lower() != ".html":
        raise InvalidInputError(f"--report must end in .html, got {report.name!r}; use {report.stem}.html")
    if fix is not None and fix.exists() and (not fix.is_dir() or any(fix.iterdir())):
        raise InvalidInputError(f"--fix needs a new or empty folder, got {fix}; choose another name")
