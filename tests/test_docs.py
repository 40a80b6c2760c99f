"""README and documentation: their code runs, their names exist, their figures are those of the model's card."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nucleiseg.cli.main import _parser
from nucleiseg.pretrained import list_pretrained, model_card
from nucleiseg.training.recipe import read_recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Tutorials are run from the built site, as readers copy them, by docs/check_site.py.
RUN = [page for page in PAGES if not page.name.startswith("tutorial_")]


def code_blocks(page, language):
    """The fenced blocks of a language, without the indent that tabs and lists give them."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", page.read_text(encoding="utf-8"), re.M | re.S)
    return [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in found]


def test_the_first_two_sh_blocks_of_the_readme_install_and_run_and_test():
    first, second = code_blocks(ROOT / "README.md", "sh")[:2]
    assert first == "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/nucleiseg demo\n"
    assert second == (
        'python3 -m venv .venv-test && .venv-test/bin/pip install -e ".[test]" && .venv-test/bin/python -m pytest\n'
    )


@pytest.mark.parametrize("page", [page for page in RUN if code_blocks(page, "python")], ids=lambda page: page.name)
@pytest.mark.usefixtures("own_registries", "eager_steps")
def test_python_blocks_run_one_after_the_other(page, request, disc_dataset, tmp_path, monkeypatch):
    """In this process, which has loaded TensorFlow already."""
    code = "\n".join(code_blocks(page, "python")).replace("epochs=30", "epochs=1")
    if 'weights="imagenet"' in code:
        request.getfixturevalue("keras_home")
    shutil.copytree(disc_dataset, tmp_path / "my_images")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, page.name, "exec"), {"__name__": "__main__"})


def commands(page):
    """Every call of ``nucleiseg`` in a fenced block, without comments, continued lines joined."""
    blocks = re.findall(r"^ *```(?:sh|text)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    calls = [re.search(r"(?:^|&& )((?:KERAS_BACKEND=\w+ )?nucleiseg .*)$", line.strip()) for line in lines]
    return [shlex.split(found[1].split(" || ")[0].replace("…", ""), comments=True) for found in calls if found]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_commands_have_only_flags_that_there_are(page, capsys):
    for words in commands(page):
        arguments = words[words.index("nucleiseg") + 1 :]
        if {"--help", "--version"} & {*arguments}:
            continue
        try:
            _parser().parse_args(arguments)
        except SystemExit:
            pytest.fail(f"{' '.join(words)}: {capsys.readouterr().err}")


def test_recipes_can_be_read(tmp_path):
    recipes = [block for page in PAGES for block in code_blocks(page, "toml") if "[network]" in block]
    assert recipes
    for recipe in recipes:
        (tmp_path / "recipe.toml").write_text(recipe, encoding="utf-8")
        assert read_recipe(tmp_path / "recipe.toml").network


def test_links_and_pictures_lead_to_files():
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not target.startswith("https://") and not (page.parent / target).is_file()
    ]
    assert not broken


def test_the_files_that_contributors_are_sent_to_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:benchmarks|docs|examples|nucleiseg|tests)/[\w/.-]+)`", text)
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_reference_has_every_public_name():
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^::: (nucleiseg\.\S+)$", text, re.M))
    packages = re.findall(r"^## (nucleiseg\S*)$", text, re.M)
    exported = {f"{package}.{name}" for package in packages for name in importlib.import_module(package).__all__}
    elsewhere = {"nucleiseg.__version__", "nucleiseg.training.losses", "nucleiseg.training.metrics"}
    short = {name.rsplit(".", 1)[1] for name in documented}
    lacking = {name for name in exported - elsewhere - {*packages} if name.rsplit(".", 1)[1] not in short}
    assert not lacking
    unknown = {name for name in documented if name not in exported}
    assert not unknown


def test_tables_are_those_of_the_result_files_and_cards():
    done = subprocess.run([sys.executable, ROOT / "docs" / "fill.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_benchmark_and_every_model_in_the_box_has_its_table():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        assert f"<!-- fill: benchmark {path.stem} -->" in text
    for name in list_pretrained():
        page = (ROOT / "docs" / f"model_{name}.md").read_text(encoding="utf-8")
        assert f"<!-- fill: card {name} -->" in page
        assert f"<!-- fill: use {name} -->" in page


def test_the_readme_has_the_figures_of_the_card():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    scores = model_card("nuclei")["test"]["all"]
    ap50, dice = f"{scores['ap50']:.3f}", f"{scores['mean_dice']:.3f}"
    claim = f"average precision of {ap50} at an IoU of .5 and a mean Dice coefficient of {dice}"
    assert f"{claim} on the {scores['images']} `test` images" in text
