"""Writing files so that a half-written one never looks complete."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nucleiseg.errors import InvalidInputError, NucleisegError

__all__ = [
    "SOFTWARE",
    "atomic_path",
    "check_reachable",
    "check_stem",
    "check_suffix",
    "cut_stem",
    "escaped",
    "file_sha256",
    "flush",
    "locked",
    "state_of",
    "text_sha256",
    "write_json",
    "write_text",
]

_LONGEST_STEM = 200  # bytes

SOFTWARE = "nucleiseg"
"""What files say they were written by, so that they can be told from others of the same name."""


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str], lasting: bool = False) -> Iterator[Path]:
    """A temporary path beside ``path``, moved onto it when the block ends without an error.

    The temporary name keeps the suffix, since many writers choose the format by it. The block makes the file; folders
    are made as needed.

    What is ``lasting`` is on the disk before it is moved, so that a power cut leaves no empty file, which takes some
    milliseconds; and its temporary name is always the same, so that the next try replaces what a killed one has left.
    No two processes may write it at once.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".tmp-{target.name if lasting else secrets.token_hex(8) + target.suffix}")
    try:
        yield temporary
        if lasting:
            flush(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def flush(path: str | os.PathLike[str]) -> None:
    """Wait until a file, or all files of a folder, are on the disk and not only on the way there."""
    path = Path(path)
    for file in filter(Path.is_file, path.rglob("*")) if path.is_dir() else [path]:
        handle = os.open(file, os.O_RDWR)  # Windows wants one for writing
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_reachable(path: str | os.PathLike[str], error: type[NucleisegError]) -> None:
    """Raise where the system won't even look: a name that is too long, a folder that may not be entered.

    That nothing is there is no such fault.
    """
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as fault:  # ValueError: characters that no path has
        reason = getattr(fault, "strerror", None) or fault
        raise error(
            f"{path}: cannot be looked at ({reason}); check the path and the permissions of its folders"
        ) from None


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text as UTF-8 with Unix line ends, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def check_stem(stem: str) -> None:
    """How file names in a folder begin: by no other folder, since the files would lie there."""
    if Path(stem).name != str(stem):
        raise InvalidInputError(
            f"stem must be the beginning of a file name, without folders, got {str(stem)!r}; use Path(path).stem"
        )


def cut_stem(stem: str) -> str:
    """The stem, or as much of it as leaves room for endings in the 255 bytes that file systems allow a name.

    Examples
    --------
    >>> len(cut_stem("x" * 300)), len(cut_stem("核" * 300)), cut_stem("well_A01")
    (200, 66, 'well_A01')
    """
    name = os.fsencode(stem)
    return stem if len(name) <= _LONGEST_STEM else name[:_LONGEST_STEM].decode(errors="ignore")


def check_suffix(path: str | os.PathLike[str], *suffixes: str) -> None:
    """A path must end in one of these, in capitals or not."""
    if not os.fspath(path).lower().endswith(suffixes):
        raise InvalidInputError(
            f"path must end in {' or '.join(suffixes)}, got {str(path)!r}; use a name such as 'well_A01{suffixes[0]}'"
        )


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], wait: bool = True) -> Iterator[bool]:
    """A block that no other process is in with the same file; a process that is killed leaves it.

    It waits for its turn; without ``wait`` it goes on at once, and gets whether it is alone in the block.
    """
    with Path(path).open("ab") as file:
        release = _lock(file.fileno(), wait)
        try:
            yield release is not None
        finally:
            if release is not None:
                release()


def _lock(handle: int, wait: bool) -> Callable[[], None] | None:
    """What lets go of it; None where another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return _lock_on_windows(handle, wait)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError:  # a file system without locks; all that is lost is the order in which processes write
        return lambda: None
    return lambda: fcntl.flock(handle, fcntl.LOCK_UN)


def _lock_on_windows(handle: int, wait: bool) -> Callable[[], None] | None:
    import msvcrt

    def unlock() -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]

    way = msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK  # type: ignore[attr-defined,unused-ignore]
    for _ in range(60 if wait else 1):  # each try that waits does so for ten seconds
        os.lseek(handle, 0, os.SEEK_SET)
        with contextlib.suppress(OSError):
            msvcrt.locking(handle, way, 1)  # type: ignore[attr-defined,unused-ignore]
            return unlock
    return (lambda: None) if wait else None


def file_sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of what is in a file."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def state_of(path: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    """What tells that a file has changed: its size, and when its content and its entry in the file system did (ns).

    The last is no help on Windows, where it is the time of creation. None where the file can't be looked at.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 (of either kind of path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def escaped(text: str) -> str:
    r"""The text, with escapes for bytes of file names that are no text, as they may be on Linux.

    Examples
    --------
    >>> print(escaped("m\udcfcll"))
    m\udcfcll
    """
    return text.encode(errors="backslashreplace").decode()


def text_sha256(text: str) -> str:
    """The SHA-256 of a text, which may hold file names that are no text."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
