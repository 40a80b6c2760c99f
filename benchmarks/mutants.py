"""How many small mistakes in `nucleiseg.instances` and `nucleiseg.images` their tests notice.

    python benchmarks/mutants.py        # needs mutmut: pip install "mutmut==3.8.1"

mutmut makes the mistakes: it changes comparisons, arithmetic, numbers, text, arguments and keywords of functions, one
at a time, in a copy of the package. Of all of them, a seeded sample is tried: a mistake is killed if one of the tests
that run the changed function fails, or needs 8 GiB. Tests are those of the two packages and of what reads and writes
large images; docstring examples don't count. Where tests take too long, which may be the fault of another program, all
are run again in a process of its own, and one must fail. Survivors are printed as differences.

With --folder, mistakes that were killed before are not tried again; tests may have been added in between.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import random
import re
import resource
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
TESTS = ("test_instances_*.py", "test_images_*.py", "test_inference_large.py", "test_datasets_annotations.py")
# What runs in a process of its own does not see the copy.
ELSEWHERE = "tests/test_inference_large.py::test_a_killed_prediction_goes_on"
SETTINGS = f"""
[tool.mutmut]
source_paths = ["nucleiseg"]
only_mutate = {[f"nucleiseg/{package}/*" for package in PACKAGES]}
also_copy = ["examples"]
track_dependencies = false
use_git_change_detection = false
pytest_add_cli_args = ["-q", "-p", "no:cacheprovider", "--deselect={ELSEWHERE}"]
pytest_add_cli_args_test_selection = """
SURVIVED = {0, 5, 33}  # no test failed, or there is none
TOO_LONG = {36, 24, -24, 152, 255}
UNTRIED = {None, 2, 34}
MEMORY = 8 * 2**30


def prepare(folder: Path) -> None:
    """Copy what is changed and what tests it, with mutmut's settings."""
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in ("nucleiseg", "tests", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted, dirs_exist_ok=True)
    tests = [f"tests/{path.name}" for pattern in TESTS for path in sorted((ROOT / "tests").glob(pattern))]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8") + SETTINGS + json.dumps(tests) + "\n"
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


def run(folder: Path, names: Sequence[str], processes: int) -> dict[str, int | None]:
    """Try mutants in the copy, with none of our paths before it; the exit status of all there are, by name."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes), *names]
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise SystemExit(f"mutmut failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    codes: dict[str, int | None] = {}
    for path in sorted((folder / "mutants").rglob("*.py.meta")):
        codes.update(json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"])
    return codes


def difference(folder: Path, name: str) -> str:
    """The lines that a mutant changes."""
    module, _, changed = name.rpartition(".")
    path = folder.joinpath("mutants", *module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = path.read_text(encoding="utf-8")
    found = {node.name: node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    original = re.sub(r"__mutmut_\d+$", "__mutmut_orig", changed)
    before, after = (text.splitlines()[found[n].lineno : found[n].end_lineno] for n in (original, changed))
    lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    return "\n".join([name, *(f"    {line}" for line in lines if not line.startswith("@@"))])


def fails(folder: Path, name: str) -> bool:
    """Whether a test fails with a mutant, in a process of its own."""
    place = folder / "mutants"
    variables = {**os.environ, "PYTHONPATH": str(place), "MUTANT_UNDER_TEST": name}
    tests = [f"tests/{path.name}" for pattern in TESTS for path in sorted((place / "tests").glob(pattern))]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=place, env=variables, capture_output=True, check=False).returncode == 1


def tried(folder: Path, sample: Sequence[str], processes: int) -> set[str]:
    """Those of a sample that are killed."""
    kept = folder / "killed.json"
    killed = set(json.loads(kept.read_text(encoding="utf-8"))) if kept.exists() else set()
    left = [name for name in sample if name not in killed]
    codes = run(folder, left, processes)
    if untried := [name for name in left if codes[name] in UNTRIED]:
        raise SystemExit(f"{len(untried)} mutants were not tried: {untried[:5]}")
    killed |= {
        name for name in left if (fails(folder, name) if codes[name] in TOO_LONG else codes[name] not in SURVIVED)
    }
    kept.write_text(json.dumps(sorted(killed)), encoding="utf-8")
    return killed & set(sample)


def keep_shares(names: Sequence[str], sample: Sequence[str], killed: set[str], arguments: argparse.Namespace) -> None:
    """Print and keep a row for each package."""
    there, number, ended = (Counter(name.split(".")[1] for name in group) for group in (names, sample, killed))
    rows = [
        {
            "package": package,
            "mutants there are": there[package],
            "tried": number[package],
            "killed": ended[package],
            "share": ended[package] / number[package],
        }
        for package in PACKAGES
    ]
    keep("mutants", f"python benchmarks/mutants.py --count {arguments.count} --seed {arguments.seed}", {"": rows})


def main() -> None:
    """Try a sample, print the survivors, and keep the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="mutants to try, of both packages together")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, help="for the copy, which then stays")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        prepare(folder)
        # A first run makes the mutants, and finds which tests run which function.
        names = sorted(run(folder, ["*find_touching__mutmut_1"], arguments.processes))
        sample = random.Random(arguments.seed).sample(names, min(arguments.count, len(names)))
        killed = tried(folder, sample, arguments.processes)
        for name in sorted(set(sample) - killed):
            print(difference(folder, name))
    keep_shares(names, sample, killed, arguments)


if __name__ == "__main__":
    main()
