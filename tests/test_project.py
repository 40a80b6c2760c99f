"""The project's own files: they can be read, agree with the package, and name what exists."""

from __future__ import annotations

import ast
import itertools
import re
import tomllib
from datetime import date
from pathlib import Path

import pytest

from nucleiseg._version import __version__

yaml = pytest.importorskip("yaml", reason="needs PyYAML, which dask brings along")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
ENTRY = re.compile(r"^## (\d+\.\d+\.\d+\S*) \((unreleased|\d{4}-\d{2}-\d{2})\)$", re.M)
# The types of GitHub's form schema.
FIELDS = {"checkboxes", "dropdown", "input", "markdown", "textarea"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def read_yaml(name):
    return yaml.safe_load(read(name))


def named_files(text):
    """What stands in backquotes or is linked to, and looks like a file of the repository."""
    code = re.findall(r"`([^`\s]+)`", text)
    links = re.findall(r"\]\(([^)#]+)", text)
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    top = {path.name for path in ROOT.iterdir() if path.is_file()}
    own = [name for name in code if name in top or ("/" in name and name.split("/")[0] in folders)]
    return {*own, *(link for link in links if not link.startswith("https://"))}


# ---- Citation and changelog. ----


def test_the_citation_agrees_with_the_package():
    citation = read_yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert str(citation["version"]) == __version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in PROJECT["project"]["authors"]
    ]


def test_the_changelog_begins_with_this_version_and_its_date_is_that_of_the_citation():
    version, released = ENTRY.search(read("CHANGELOG.md")).groups()
    assert version == __version__
    cited = read_yaml("CITATION.cff").get("date-released")
    assert cited == (None if released == "unreleased" else date.fromisoformat(released))


def test_the_licence_is_the_one_that_is_named():
    assert "Apache License" in read("LICENSE")
    assert PROJECT["project"]["license"] == "Apache-2.0"


# ---- Forms, hooks, workflows. ----


def test_there_are_forms():
    assert {form.stem for form in FORMS} == {"bug", "feature", "wrong_segmentation"}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_a_form_is_one_that_github_shows(form):
    content = read_yaml(form)
    assert all(content[key] for key in ("name", "description", "body"))
    assert {field["type"] for field in content["body"]} <= FIELDS
    asked = [field for field in content["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in asked]
    assert len(set(ids)) == len(ids) > 0
    assert all(re.fullmatch(r"[\w-]+", name) for name in ids)
    assert all(field["attributes"]["label"] for field in asked)
    assert all(field["attributes"]["value"] for field in content["body"] if field["type"] == "markdown")
    for field in asked:
        if field["type"] in ("dropdown", "checkboxes"):
            assert len(field["attributes"]["options"]) > 0


@pytest.mark.parametrize("stem", ["bug", "wrong_segmentation"])
def test_reports_ask_for_the_version_and_the_manifest(stem):
    fields = {field.get("id"): field for field in read_yaml(f".github/ISSUE_TEMPLATE/{stem}.yml")["body"]}
    assert "nucleiseg --version" in fields["version"]["attributes"]["description"]
    assert fields["version"]["validations"]["required"] is True
    assert fields["run"]["attributes"]["label"] == "run.json"


def test_hooks_are_pinned_and_named():
    hooks = [hook for repo in read_yaml(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert {"ruff", "ruff-format", "mypy"} <= {hook["id"] for hook in hooks}
    for hook in hooks:
        assert {"id", "name", "entry", "language"} <= set(hook)
        if hook["language"] == "python":
            assert all(re.fullmatch(r"[\w-]+==\d+(\.\d+)+", package) for package in hook["additional_dependencies"])


def test_the_workflow_calls_what_exists():
    workflow = read_yaml(".github/workflows/ci.yml")
    assert workflow[True]  # "on" is a boolean in YAML 1.1
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    assert {".ci/run", ".ci/run --weekly", ".ci/lowest"} == set(commands)
    assert all((ROOT / command.split()[0]).is_file() for command in commands)
    assert "  --weekly)" in read(".ci/run")
    assert workflow["permissions"] == {"contents": "read"}


def test_the_lowest_python_is_the_same_everywhere():
    required = PROJECT["project"]["requires-python"]
    lowest = required.removeprefix(">=")
    for name in ("packaging/onnx/pyproject.toml", "examples/plugin/pyproject.toml"):
        assert tomllib.loads(read(name))["project"]["requires-python"] == required
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{lowest.replace('.', '')}"
    assert PROJECT["tool"]["mypy"]["python_version"] == lowest
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    steps = [step.get("with", {}).get("python-version") for job in jobs.values() for step in job["steps"]]
    assert {step for step in steps if step} == {lowest}
    assert f"python{lowest}" in read(".ci/lowest")
    assert f"Python {lowest} or later" in read("CONTRIBUTING.md")
    for page in ("README.md", "docs/tutorial_first_image.md"):  # which name the latest that TensorFlow has, too
        assert re.search(rf"Python {lowest}, .*\s+or 3\.\d+ on Linux", read(page))


def test_lowest_versions_are_those_of_the_bounds():
    """Every package that is needed stands in .ci/lowest.txt with the version from which on it may be used."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    lines = [*PROJECT["project"]["dependencies"], *itertools.chain.from_iterable(extras)]
    bounds = dict(re.findall(r"^([\w-]+)>=([\w.]+)", "\n".join(lines), re.M))
    pinned = dict(re.findall(r"^([\w-]+)==([\w.]+)$", read(".ci/lowest.txt"), re.M))
    needed = {re.match(r"[\w-]+", line)[0] for line in PROJECT["project"]["dependencies"]}
    assert needed <= pinned.keys()

    def numbers(version):
        return [int(part) for part in re.sub(r"(\.0)+$", "", version).split(".")]

    assert {name: numbers(version) for name, version in pinned.items()} == {
        name: numbers(bounds[name]) for name in pinned
    }


# ---- What is named exists, and ships. ----


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md"])
def test_files_that_are_named_exist(name):
    lacking = [found for found in named_files(read(name)) if not (ROOT / found).exists()]
    assert not lacking, f"{name} names {lacking}, which do not exist"


def test_the_names_of_files_are_found():
    text = "`tests/test_project.py`, `docs/no_such.md`, `README.md`, `--flag`, `a/b`, [here](LICENSE), [there](https://x.org/y)"
    assert named_files(text) == {"tests/test_project.py", "docs/no_such.md", "README.md", "LICENSE"}
    assert {".ci/run", "tests/test_architecture.py", "docs/extending.md"} <= named_files(read("CONTRIBUTING.md"))


def test_the_source_distribution_has_what_the_tests_read():
    included = {name.lstrip("/") for name in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
    files = {
        path.name for path in ROOT.iterdir() if path.suffix in (".md", ".cff") or path.name.startswith(".pre-commit")
    }
    assert files | {".ci", ".github", "tests", "docs", "examples", "benchmarks", "packaging", "LICENSE"} <= included


def test_every_floor_is_explained():
    tree = ast.parse(read("tests/test_architecture.py"))
    floors = next(node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "FLOORS")
    text = read("CONTRIBUTING.md")
    rooms = [room for floor in ast.literal_eval(floors)[1:-1] for room in floor]  # the ground floor has examples only
    assert "segmenter" in rooms
    assert [room for room in rooms if f"`{room}`" not in text] == []
