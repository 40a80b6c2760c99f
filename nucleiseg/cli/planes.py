"""Which part of an image file was segmented: one run looks at a channel or a time, and the next one at another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nucleiseg.cli.terminal import warn

__all__ = ["changes", "plane_of", "tell_replaced"]

# Of `ReadOptions`; what its other fields say corrects what the file says.
_FIELDS = ("channel", "project", "select", "scene", "level")
_MOST_TOLD = 3


def plane_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a run takes of each file, as JSON has it."""
    reading = settings["options"]["reading"]
    chosen = {name: reading[name] for name in _FIELDS if reading[name] not in (None, {})}
    return dict(json.loads(json.dumps(chosen)))


def changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The flags of before that are others now; empty if there is none."""
    return ", ".join(_flag(name, was.get(name)) for name in _FIELDS if was.get(name) != now.get(name))


def tell_replaced(flags: Sequence[str]) -> None:
    """Warn of results of before that are lost, since they were of another part of their files.

    Parameters
    ----------
    flags : sequence of str
        For each image, what `changes` tells.
    """
    if not flags:
        return
    kinds = list(dict.fromkeys(flags))
    told = "; ".join(kinds[:_MOST_TOLD]) + ("; ..." if len(kinds) > _MOST_TOLD else "")
    results, them = ("result of 1 image", "it") if len(flags) == 1 else (f"results of {len(flags):,} images", "them")
    warn(
        f"replaced the earlier {results} made with other options ({told}); choose another output folder to keep {them}"
    )


def _flag(name: str, value: Any) -> str:
    if value is None:
        return f"no --{name}"
    if isinstance(value, dict):
        value = [f"{axis}={position}" for axis, position in value.items()]
    return f"--{name} {','.join(map(str, value)) if isinstance(value, list) else value}"
