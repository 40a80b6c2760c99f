"""What ``predict`` says at its end about images that are not to be trusted as they are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nucleiseg.cli.terminal import warn

if TYPE_CHECKING:
    from nucleiseg.cli.journal import Entry
    from nucleiseg.inference.options import PredictOptions

__all__ = ["tell_flags", "tell_quality"]

_LOGGER = logging.getLogger(__name__)

_NAMED = 3  # images for each flag; all are in summary.csv


def tell_quality(entries: Sequence[Entry], options: PredictOptions) -> None:
    """One line, on standard error, if anything speaks against some of the images.

    Parameters
    ----------
    entries : sequence of Entry
        Of the images that are done.
    options : PredictOptions
        By which they were segmented.
    """
    flagged: dict[str, list[str]] = {}
    for entry in entries:
        for flag in filter(None, entry.quality.split("; ")):
            flagged.setdefault(flag, []).append(Path(entry.image).name)
    if not flagged:
        return
    count = sum(bool(entry.quality) for entry in entries)
    found = "; ".join(f"{flag}: {_listed(names)}{_remedy(flag, options)}" for flag, names in flagged.items())
    _tell(f"look at {count} of {len(entries)} images before you trust them ({found}); all are in summary.csv")


def tell_flags(flags: Sequence[str], options: PredictOptions) -> None:
    """The same of one image that has no summary.

    Parameters
    ----------
    flags : sequence of str
        What speaks against it.
    options : PredictOptions
        By which it was segmented.
    """
    if flags:
        _tell(f"look at the image before you trust it ({'; '.join(flag + _remedy(flag, options) for flag in flags)})")


def _tell(text: str) -> None:
    _LOGGER.warning("%s", text)
    warn(text)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _remedy(flag: str, options: PredictOptions) -> str:
    """Nuclei of an unusual size can be seen at another scale, where it was fixed, or where there is room for it."""
    if flag == "short of memory":
        return f" - their scale needs more than --max-memory {options.max_memory}"
    if flag != "unusual size":
        return ""
    for name in ("diameter", "diameter_um"):
        if getattr(options, name) is not None:
            return f" - try --scale auto without --{name.replace('_', '-')}"
    return "" if options.scale == "auto" else " - try --scale auto or --diameter PIXELS"
