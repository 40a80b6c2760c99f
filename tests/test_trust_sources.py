"""Rules that every module keeps, read from its source: text has an encoding, and paths are no strings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "nucleiseg"
MODULES = sorted(HOUSE.rglob("*.py"))
# zarr.open takes a mode, too, and opens no text.
LIBRARIES = {"Image", "zarr", "h5py", "tifffile", "os", "webbrowser"}


def keywords(call):
    return {keyword.arg: keyword.value for keyword in call.keywords}


def mode(call):
    """The mode of a call of `open`, or of a path's or file's method; None if it opens no file by a mode."""
    function = call.func
    if isinstance(function, ast.Name) and function.id == "open":
        place = 1
    elif isinstance(function, ast.Attribute) and function.attr == "open":
        if isinstance(function.value, ast.Name) and function.value.id in LIBRARIES:
            return None
        place = 0
    else:
        return None
    given = keywords(call).get("mode", call.args[place] if len(call.args) > place else ast.Constant("r"))
    # A member of an archive, by its name, is opened as bytes.
    return given.value if isinstance(given, ast.Constant) and set(given.value) <= set("rwaxbt+") else None


def complaints(source):
    """Lines that leave the encoding or the ends of lines to the machine, or join paths as strings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "os.path.join":
            yield f"{node.lineno}: use pathlib"
        if not isinstance(node, ast.Call):
            continue
        opened, name = mode(node), getattr(node.func, "attr", "")
        text = (opened is not None and "b" not in opened) or name in ("read_text", "write_text")
        if text and "encoding" not in keywords(node):
            yield f"{node.lineno}: name the encoding"
        if (name == "write_text" or (text and set(opened or "") & set("wax"))) and "newline" not in keywords(node):
            yield f"{node.lineno}: name the newline"
        if name == "FileHandler" and "encoding" not in keywords(node):
            yield f"{node.lineno}: name the encoding"
        if (
            name == "run"
            and keywords(node).keys() & {"text", "universal_newlines"}
            and "encoding" not in keywords(node)
        ):
            yield f"{node.lineno}: name the encoding"


def test_text_has_an_encoding_and_ends_of_lines_and_paths_are_paths():
    found = [f"{path}:{line}" for path in MODULES for line in complaints(path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)
    assert len(MODULES) > 100


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("open(p)", 1),
        ("open(p, 'w')", 2),
        ("p.open()", 1),
        ("p.open('r+', encoding='utf-8')", 0),
        ("p.open('a', encoding='utf-8')", 1),
        ("p.open(mode='w', encoding='utf-8', newline='')", 0),
        ("p.open('rb'), open(p, 'wb'), Image.open(p), zarr.open(p, mode='r'), archive.open('labels.npy', 'w')", 0),
        ("p.read_text()", 1),
        ("p.write_text(t, encoding='utf-8')", 1),
        ("p.write_text(t, encoding='utf-8', newline='\\n')", 0),
        ("logging.FileHandler(p)", 1),
        ("subprocess.run(c, text=True)", 1),
        ("os.path.join(a, b)", 1),
    ],
)
def test_what_leaves_it_to_the_machine_is_found(source, count):
    assert len(list(complaints(source))) == count


def test_what_is_left_out_of_coverage_has_a_reason():
    lines = [line for path in MODULES for line in path.read_text(encoding="utf-8").splitlines()]
    bare = [line for line in lines if line.rstrip().endswith("pragma: no cover")]
    assert not bare
