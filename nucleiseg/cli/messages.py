"""What a command says beside its results, and where: ``--debug``, ``--quiet`` and ``--log-file``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shlex
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from nucleiseg._progress import VARIABLE, aside
from nucleiseg._version import __version__
from nucleiseg.cli.terminal import complain, quiet, warn
from nucleiseg.errors import InvalidInputError

__all__ = ["add_messages", "messages"]

_LOGGER = logging.getLogger(__name__)
_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S%z"


def add_messages(parser: argparse.ArgumentParser) -> None:
    """Flags that every command has."""
    group = parser.add_argument_group("messages")
    group.add_argument("--quiet", action="store_true", help="no progress and no lines of result; errors are still told")
    group.add_argument(
        "--log-file", metavar="FILE", type=Path, help="append what happens, with times, errors and warnings"
    )
    group.add_argument("--debug", action="store_true", help="show where an error comes from")


@contextlib.contextmanager
def messages(options: argparse.Namespace, arguments: Sequence[str]) -> Iterator[None]:
    """Have everything said as the flags ask for, while a command runs.

    Raises
    ------
    InvalidInputError
        If the log file can't be written, before anything is done.
    """
    with contextlib.ExitStack() as stack:
        if options.log_file is not None:
            stack.enter_context(_logged(options.log_file))
            _LOGGER.info("nucleiseg %s: %s", __version__, shlex.join(["nucleiseg", *arguments]))
        stack.enter_context(_on_terminal())
        if options.quiet:
            stack.enter_context(_without_progress())
            stack.enter_context(quiet())
        yield


class _LogFile(logging.FileHandler):
    """Goes on without a log, and says so once, when the disk is full."""

    _failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002
        if not self._failed:
            self._failed = True
            complain(f"{self.baseFilename} takes no more lines ({sys.exc_info()[1]}); the command goes on")

    def close(self) -> None:
        with contextlib.suppress(OSError):  # of what could not be written before
            super().close()


class _Warnings(logging.Handler):
    """The package's own warnings, as one line each; what the commands log they have said themselves."""

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("nucleiseg.cli."):
            warn(record.getMessage())


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Everything that the package logs goes to a file, too."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InvalidInputError(
            f"--log-file must be a file that can be written, but {path} can't ({error.strerror}); choose another"
        ) from error
    handler.setFormatter(logging.Formatter(_LINE, _TIME))
    with _handler(handler, logging.INFO):
        yield


@contextlib.contextmanager
def _on_terminal() -> Iterator[None]:
    """Warnings do not run into a bar, and are logged; those of the package are said once, whatever led to them."""
    plain = warnings.showwarning
    said, saying = set(), threading.Lock()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if file is None:
            _LOGGER.warning("%s: %s", category.__name__, message)
        if file is None and category.__module__.startswith("nucleiseg."):
            with saying:  # threads that read files warn at the same time
                known = str(message) in said
                said.add(str(message))
            if not known:
                warn(str(message))  # whoever runs a command has no use for the line of code
            return
        with aside():
            plain(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        with _handler(_Warnings(logging.WARNING)):
            yield
    finally:
        warnings.showwarning = plain


@contextlib.contextmanager
def _handler(handler: logging.Handler, level: int | None = None) -> Iterator[None]:
    """A handler of all that the package logs."""
    logger = logging.getLogger("nucleiseg")
    before = logger.level
    logger.addHandler(handler)
    if level is not None:
        logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def _without_progress() -> Iterator[None]:
    """Not even in processes that this one starts."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "0"
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before
