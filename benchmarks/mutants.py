"""How many small mistakes in `nucleiseg.instances` and `nucleiseg.images` their own tests notice.

    python benchmarks/mutants.py        # needs mutmut: pip install "mutmut==3.8.1"

mutmut makes the mistakes: it changes comparisons, arithmetic, numbers, text, arguments and keywords of functions, one
at a time, in a copy of the package. Of all of them, a seeded sample is tried: a mistake is killed if one of the tests
that run the changed function fails, or takes many times as long. Tests are those of the two packages; docstring
examples don't count. Survivors are printed as differences and, with --folder, written to a file there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from results import keep

ROOT = Path(__file__).parents[1]
PACKAGES = ("instances", "images")
SETTINGS = f"""
[tool.mutmut]
source_paths = ["nucleiseg"]
only_mutate = {[f"nucleiseg/{package}/*" for package in PACKAGES]}
also_copy = ["examples"]
track_dependencies = false
use_git_change_detection = false
pytest_add_cli_args = ["-q", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = """
SURVIVED = {0, 5, 33}  # no test failed, or there is none
UNTRIED = {None, 2, 34}


def prepare(folder: Path) -> None:
    """Copy what is changed and what tests it, with mutmut's settings."""
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in ("nucleiseg", "tests", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    tests = [
        f"tests/{path.name}" for package in PACKAGES for path in sorted((ROOT / "tests").glob(f"test_{package}_*.py"))
    ]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8") + SETTINGS + json.dumps(tests) + "\n"
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


def mutmut(folder: Path, *arguments: str) -> str:
    """Run mutmut in the copy, with none of our paths before it; gives what it printed."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise SystemExit(f"mutmut {arguments[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def outcomes(folder: Path) -> dict[str, int | None]:
    """Every mutant's exit status by its name; None where it was not tried."""
    found: dict[str, int | None] = {}
    for path in sorted((folder / "mutants").rglob("*.py.meta")):
        found.update(json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"])
    return found


def tried(folder: Path, names: Sequence[str], processes: int) -> dict[str, int]:
    """The exit status of each of these mutants."""
    mutmut(folder, "run", "--max-children", str(processes), *names)
    found = outcomes(folder)
    left = [name for name in names if found[name] in UNTRIED]
    if left:
        raise SystemExit(f"{len(left)} mutants were not tried: {left[:5]}")
    return {name: code for name in names if (code := found[name]) is not None}


def main() -> None:
    """Print and keep a row for each package, and print the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400, help="mutants to try, of both packages together")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, help="for the copy, which is then not deleted")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "pyproject.toml").exists():
            prepare(folder)
        # A first run makes the mutants, and finds which tests run which function.
        mutmut(folder, "run", "*find_touching__mutmut_1")
        names = sorted(outcomes(folder))
        sample = random.Random(arguments.seed).sample(names, min(arguments.count, len(names)))
        codes = tried(folder, sample, arguments.processes)
        survivors = [name for name in sorted(codes) if codes[name] in SURVIVED]
        differences = "\n".join(mutmut(folder, "show", name) for name in survivors)
        print(differences)
        if arguments.folder:
            (folder / "survivors.txt").write_text(differences, encoding="utf-8")
    total, lived = (Counter(name.split(".")[1] for name in group) for group in (codes, survivors))
    rows = [
        {
            "package": package,
            "mutants there are": sum(name.split(".")[1] == package for name in names),
            "tried": total[package],
            "killed": total[package] - lived[package],
            "share": 1 - lived[package] / total[package],
        }
        for package in PACKAGES
    ]
    command = f"python benchmarks/mutants.py --count {arguments.count} --seed {arguments.seed}"
    keep("mutants", command, {"": rows})


if __name__ == "__main__":
    main()
