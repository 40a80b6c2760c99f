"""What a benchmark measured: printed as tables, and kept in ``benchmarks/results/`` for the documentation.

`docs/fill.py` turns the files into the tables of the documentation.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from nucleiseg._memory import total_memory
from nucleiseg._precision import Precision

FOLDER = Path(__file__).parent / "results"
_PACKAGES = ("nucleiseg", "keras", "tensorflow", "numpy", "scikit-image")
INSTRUCTIONS = {
    "AVX-512 and bfloat16": {"avx512_bf16", "amx_bf16"},
    "AVX-512": {"avx512f"},
    "AVX2": {"avx2"},
}

Rows = Sequence[Mapping[str, object]]


def add_machine(parser: argparse.ArgumentParser, name: str) -> None:
    """Flags that keep what another kind of machine takes beside what is there: speeds of one say little of another."""
    parser.add_argument("--precisions", nargs="+", choices=get_args(Precision), default=list(get_args(Precision)))
    parser.add_argument("--keep", default=name, metavar="NAME", help="of the file in benchmarks/results")


def of_machine(arguments: argparse.Namespace, name: str) -> str:
    """What a reader types to get the same, of the flags that `add_machine` added."""
    if arguments.keep == name:
        return ""
    return f" --precisions {' '.join(arguments.precisions)} --keep {arguments.keep}"


def keep(name: str, command: str, tables: Mapping[str, Rows]) -> None:
    """Print the tables and write them, with the command and the machine, to ``results/<name>.json``.

    Parameters
    ----------
    name : str
        Of the benchmark.
    command : str
        What a reader types to get the same.
    tables : mapping of str to sequence of mappings
        Rows by title; an empty title for the only table. Numbers stay numbers.
    """
    for title, rows in tables.items():
        print(as_text(rows, title), end="\n\n")
    record = {
        "command": command,
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory": _memory(),
            "python": platform.python_version(),
        },
        "versions": {package: importlib.metadata.version(package) for package in _PACKAGES},
        "tables": [{"title": title, "rows": [dict(row) for row in rows]} for title, rows in tables.items()],
    }
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def kept(name: str) -> dict[str, Rows]:
    """The tables that `keep` has written, by title."""
    stored = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["tables"]
    return {table["title"]: table["rows"] for table in stored}


def as_text(rows: Rows, title: str = "") -> str:
    """Aligned columns under their names."""
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([title, *lines] if title else lines)


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _memory() -> str:
    """How much memory the machine has; what firmware and kernel keep for themselves is rounded away."""
    total = total_memory()
    return f"{total / 2**30:.0f} GiB of memory" if total else "memory unknown"


def _processor() -> str:
    """The processor's name, where the system tells it, and the widest instructions that networks gain by.

    Speeds differ severalfold between processors of one name.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = set(told.get("flags", "").split())
    widest = next((name for name, any_of in INSTRUCTIONS.items() if flags & any_of), "")
    return told.get("model name", platform.machine()) + (f" with {widest}" if widest else "")
