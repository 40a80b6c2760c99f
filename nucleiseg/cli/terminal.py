"""What the commands say, and what they keep other libraries from saying."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextvars import ContextVar

from nucleiseg._files import escaped
from nucleiseg._optional import import_framework
from nucleiseg._progress import aside
from nucleiseg.errors import MissingPackageError, NucleisegError

_LOGGER = logging.getLogger(__name__)
_LOGGER.addHandler(logging.NullHandler())  # what is said here is on the terminal already
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what comes of a damaged file is told anyway

_QUIET: ContextVar[bool] = ContextVar("_QUIET", default=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing is said meanwhile but what is asked for, and what goes wrong."""
    token = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(token)


def say(text: str, asked: bool = False) -> None:
    """Lines of result, on standard output. What is ``asked`` for by a flag of its own is said with ``--quiet`` too."""
    _LOGGER.info("%s", escaped(text))
    if _QUIET.get() and not asked:
        return
    encoding = sys.stdout.encoding or "utf-8"
    try:
        # A file name that the terminal cannot show must not end a command whose work is done.
        sys.stdout.write(f"{text}\n".encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as `head` has; Python would try again at exit, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(text: str) -> None:
    """One line, on standard error."""
    with aside():
        sys.stderr.write(f"nucleiseg: {' '.join(text.split())}\n")


def complain(text: str, error: Exception | None = None) -> None:
    """One line about what went wrong, on standard error; an ``error`` goes into the log with its traceback."""
    _LOGGER.error("%s", escaped(text), exc_info=error)
    warn(text)


def report(error: Exception, debug: bool, about: str = "") -> str:
    """One line about an error; with ``debug`` the traceback before it. Returns the line, less what it is about."""
    if debug:
        with aside():
            traceback.print_exception(error)
    text = str(error)
    ours = isinstance(error, NucleisegError)
    if not ours:  # a bug, or a machine that fails; TensorFlow adds pages to its messages
        first_line = next(iter(text.strip().splitlines()), "")
        text = f"{type(error).__name__}: {first_line}" + ("" if debug else " (run again with --debug to see where)")
    complain(text if text.startswith(about) else f"{about}: {text}", None if ours else error)
    return text.removeprefix(f"{about}: ")


def import_tensorflow_quietly() -> None:
    """Import TensorFlow without the dozen lines it writes about the machine.

    Its environment variable silences only what is logged after its logging has started; the rest comes from compiled
    code straight to file descriptor 2, which is diverted meanwhile. If the import fails, all of it is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as diverted:
        os.dup2(diverted.fileno(), 2)
        try:
            tf = import_framework("tensorflow", "this command")
            tf.config.list_physical_devices("GPU")  # looks for drivers, and complains where there are none
        except MissingPackageError:
            raise
        except BaseException:
            os.dup2(kept, 2)
            diverted.seek(0)
            sys.stderr.write(diverted.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    tf.get_logger().setLevel("ERROR")
