"""Imports go down the floors only. Read from the source of every module, without importing any.

Counted are all imports: those inside functions, those for type checkers, and those of the ``.pyi`` stubs. Cycles are
looked for among the imports that really happen: stubs and ``if TYPE_CHECKING`` are left out, and a name taken from a
package with a stub counts as an import of the module that the stub takes it from.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

# From the ground up. A module may import from its own package and from the floors below. The ground floor counts as one
# package: its modules are too small to have floors of their own. The last is ``nucleiseg/__init__`` itself, which shows
# what there is in the whole house; nobody inside looks through that window.
FLOORS = (
    (
        "errors",
        "_checks",
        "_registry",
        "_files",
        "_forking",
        "_manifest",
        "_memory",
        "_optional",
        "_png",
        "_allocator",
        "_precision",
        "_processor",
        "_progress",
        "_seeding",
        "_settings",
        "_smoothing",
        "_weights",
        "_threads",
        "_warnings",
        "_units",
        "_version",
        "modelchecks",
    ),
    ("images", "instances", "networks", "modelfile"),
    ("datasets",),
    ("training", "engines"),
    ("heads",),
    ("pretrained", "inference"),
    ("learning",),
    ("plotting",),
    ("segmenter",),
    ("adopting",),
    ("fine_tuning", "growing", "teaching"),
    ("large",),
    ("clusters",),
    ("cli", "napari"),
    ("__main__",),
    ("__init__",),
)
GROUND = FLOORS[0]
WITHOUT_KERAS = ("images", "instances", "datasets")
MOST_LINES = 400

HOUSE = Path(__file__).parents[1] / "nucleiseg"


@dataclass(frozen=True)
class Import:
    """One imported thing: ``module`` is as precise as can be told without running anything."""

    module: str
    name: str | None
    line: int
    for_types: bool


@dataclass(frozen=True)
class Source:
    """One file, its module's full name, and what it imports."""

    path: Path
    module: str
    imports: tuple[Import, ...]

    @property
    def is_stub(self) -> bool:
        return self.path.suffix == ".pyi"


class House:
    """All modules of a package, read but not imported."""

    def __init__(self, root):
        self.name = root.name
        self.root = root
        files = sorted(path for path in root.rglob("*.py*") if path.suffix in (".py", ".pyi"))
        self.modules = {self._module(path) for path in files}
        self.packages = {self._module(path) for path in files if path.stem == "__init__"}
        self.sources = [Source(path, self._module(path), tuple(self._imports(path))) for path in files]
        # For lazy packages: where the stub says that a name comes from.
        self.origins = {
            (source.module, found.name): found.module
            for source in self.sources
            if source.is_stub
            for found in source.imports
        }

    def room(self, module):
        """The package or top-level module below the root that a module belongs to."""
        parts = module.split(".")
        return parts[1] if len(parts) > 1 else "__init__"

    def _module(self, path):
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join((self.name, *(part for part in parts if part != "__init__")))

    def _imports(self, path):
        yield from self._walk(ast.parse(path.read_text(encoding="utf-8")), path, for_types=False)

    def _walk(self, node, path, for_types) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, node.lineno, for_types)
        elif isinstance(node, ast.ImportFrom):
            base = self._absolute(node, path)
            for alias in node.names:
                if f"{base}.{alias.name}" in self.modules:
                    yield Import(f"{base}.{alias.name}", alias.name, node.lineno, for_types)
                else:
                    yield Import(base, alias.name, node.lineno, for_types)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                yield from self._walk(child, path, for_types=True)
            for child in node.orelse:
                yield from self._walk(child, path, for_types)
        else:
            for child in ast.iter_child_nodes(node):
                yield from self._walk(child, path, for_types)

    def _absolute(self, node, path):
        if not node.level:
            return node.module or ""
        folder = path.relative_to(self.root.parent).with_suffix("").parts[: -node.level]
        return ".".join((*folder, *([node.module] if node.module else [])))


def unassigned(house, floors):
    """Rooms that stand on no floor, and floors' rooms that do not exist."""
    known = {room for floor in floors for room in floor}
    rooms = {house.room(source.module) for source in house.sources}
    for room in sorted(rooms - known):
        remedy = f"add it to FLOORS in {Path(__file__).name}, as low as its imports allow"
        yield f"{house.name}/{room} stands on no floor: {remedy}"
    for room in sorted(known - rooms):
        yield f"{house.name}/{room} does not exist: remove it from FLOORS in {Path(__file__).name}"


def upward(house, floors):
    """Imports from the same floor's other packages or from above."""
    level = {room: number for number, floor in enumerate(floors) for room in floor}
    for source in house.sources:
        own = house.room(source.module)
        for found in source.imports:
            if found.module.split(".")[0] != house.name:
                continue
            other = house.room(found.module)
            if other == own or {other, own} <= set(floors[0]) or not {own, other} <= level.keys():
                continue
            if level[other] >= level[own]:
                where = "the floor above" if level[other] > level[own] else "the same floor"
                yield (
                    f"{source.path.relative_to(house.root.parent)}:{found.line} imports {found.module}, but {other!r} "
                    f"stands on {where} (floor {level[other]}, {own!r} on {level[own]}): move what is shared to a "
                    "lower floor, or pass it in as an argument"
                )


def cycles(house):
    """Modules that import each other while the program runs."""
    graph = {}
    for source in house.sources:
        if source.is_stub:
            continue
        runtime = [found for found in source.imports if not found.for_types]
        targets = {house.origins.get((found.module, found.name), found.module) for found in runtime}
        graph[source.module] = (targets & house.modules) - {source.module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        # graphlib goes from what is needed to what needs it
        yield f"import cycle: {' → '.join(reversed(error.args[1]))}: move what both need into a module of its own"


def keras_users(house, rooms):
    """Imports of Keras or TensorFlow where NumPy must do."""
    for source in house.sources:
        if house.room(source.module) not in rooms:
            continue
        for found in source.imports:
            if found.module.split(".")[0] in ("keras", "tensorflow", "tf_keras"):
                yield (
                    f"{source.path.relative_to(house.root.parent)}:{found.line} imports {found.module}, but "
                    f"{', '.join(rooms)} know NumPy only: do it in 'training' or 'engines'"
                )


def long_files(house, most):
    """Files that hold more than one concept, by the look of them."""
    for source in house.sources:
        lines = len(source.path.read_text(encoding="utf-8").splitlines())
        if lines > most:
            yield f"{source.path.relative_to(house.root.parent)} has {lines} lines, {most} are allowed: split it in two"


@pytest.fixture(scope="module")
def house():
    return House(HOUSE)


def complaints(found):
    return "\n".join(["", *found])


def test_every_module_stands_on_a_floor(house):
    found = list(unassigned(house, FLOORS))
    assert not found, complaints(found)


def test_imports_go_down_only(house):
    found = list(upward(house, FLOORS))
    assert not found, complaints(found)


def test_there_are_no_import_cycles(house):
    found = list(cycles(house))
    assert not found, complaints(found)


def test_images_instances_and_datasets_know_no_keras(house):
    found = list(keras_users(house, WITHOUT_KERAS))
    assert not found, complaints(found)


def test_no_file_is_too_long(house):
    found = list(long_files(house, MOST_LINES))
    assert not found, complaints(found)


def test_the_whole_house_is_read(house):
    assert len(house.sources) > 60
    assert {"nucleiseg", "nucleiseg.cli.main", "nucleiseg.training"} <= house.modules
    assert any(found.module == "keras" for source in house.sources for found in source.imports)


# ---- The tests above can fail: a house that is built wrong. ----

SMALL_FLOORS = (("errors", "_files"), ("images", "networks"), ("training",), ("__init__",))


@pytest.fixture
def build(tmp_path):
    """A function that builds a small, sound package and then adds or replaces files."""

    def build(**files):
        sound = {
            "__init__.py": "",
            "errors.py": "",
            "_files.py": "from small.errors import X",  # within the ground floor
            "images/__init__.py": "from small.images.scaling import rescale",
            "images/scaling.py": "import numpy\nfrom small.errors import X",
            "networks/__init__.py": "import lazy_loader",
            "networks/__init__.pyi": "from .unets import unet\nfrom .blocks import block",
            "networks/blocks.py": "import keras",
            "networks/unets.py": "from small.networks import block",
            "training/__init__.py": "",
            "training/fitting.py": "from small.networks import unet\nfrom small import errors",
        }
        for name, text in {**sound, **files}.items():
            path = tmp_path / "small" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return House(tmp_path / "small")

    return build


def test_a_sound_house_passes(build):
    house = build()
    assert [*unassigned(house, SMALL_FLOORS), *upward(house, SMALL_FLOORS), *cycles(house)] == []
    assert [*keras_users(house, ("images",)), *long_files(house, 2)] == []


@pytest.mark.parametrize(
    ("module", "text", "line", "imported"),
    [
        ("images/scaling.py", "from small.training import fitting", 1, "small.training.fitting"),
        ("images/scaling.py", "import small.training.fitting", 1, "small.training.fitting"),
        ("images/scaling.py", "def f():\n    from small.training.fitting import fit", 2, "small.training.fitting"),
        ("images/scaling.py", "if TYPE_CHECKING:\n    from small.training import Fit", 2, "small.training"),
        ("images/scaling.py", "try:\n    import small.training\nexcept ImportError:\n    pass", 2, "small.training"),
        ("images/scaling.py", "from ..training import fitting", 1, "small.training.fitting"),
        ("images/__init__.pyi", "from ..training.fitting import fit", 1, "small.training.fitting"),
        ("images/scaling.py", "from small.networks import unet", 1, "small.networks"),  # the same floor
        ("networks/unets.py", "from small import images", 1, "small.images"),
        ("training/fitting.py", "from small import Window", 1, "small"),  # through the window
        ("errors.py", "def f():\n    import small.images", 2, "small.images"),
    ],
)
def test_an_import_from_above_or_beside_is_found(build, module, text, line, imported):
    (found,) = upward(build(**{module: text}), SMALL_FLOORS)
    assert found.startswith(f"{Path('small', module)}:{line} imports {imported}, but ")
    assert "lower floor" in found


def test_a_new_module_without_a_floor_is_found(build):
    found = list(unassigned(build(**{"attic.py": "", "cellar/__init__.py": ""}), SMALL_FLOORS))
    assert len(found) == 2
    assert "small/attic stands on no floor: add it to FLOORS" in found[0]
    assert "small/cellar" in found[1]


def test_a_floor_for_a_module_that_is_gone_is_found(build):
    assert list(unassigned(build(), (*SMALL_FLOORS, ("attic",)))) == [
        f"small/attic does not exist: remove it from FLOORS in {Path(__file__).name}"
    ]


@pytest.mark.parametrize(
    "files",
    [
        {"images/scaling.py": "import small.images.a", "images/a.py": "import small.images.scaling"},
        {"images/scaling.py": "from small.images import rescale"},  # through the package's own __init__
        {
            "images/scaling.py": "def f():\n    from small.images.a import b",
            "images/a.py": "import small.images.scaling",
        },
        {"networks/blocks.py": "from small.networks import unet"},  # through a stub
        {"errors.py": "from small import _files"},
    ],
)
def test_a_cycle_is_found(build, files):
    found = list(cycles(build(**files)))
    assert len(found) == 1
    assert "import cycle: small." in found[0]


def test_the_cycle_is_told_in_the_order_of_the_imports(build):
    files = {
        "images/a.py": "import small.images.b",
        "images/b.py": "import small.images.c",
        "images/c.py": "import small.images.a",
    }
    (found,) = cycles(build(**files))
    steps = found.removeprefix("import cycle: ").split(":")[0].split(" → ")
    imports = {
        "small.images.a": "small.images.b",
        "small.images.b": "small.images.c",
        "small.images.c": "small.images.a",
    }
    assert all(imports[one] == next_one for one, next_one in itertools.pairwise(steps))


def test_types_alone_make_no_cycle(build):
    files = {
        "images/scaling.py": "import small.images.a",
        "images/a.py": "if TYPE_CHECKING:\n    import small.images.scaling",
    }
    assert list(cycles(build(**files))) == []


@pytest.mark.parametrize(
    "text",
    ["import keras", "def f():\n    import tensorflow as tf", "if TYPE_CHECKING:\n    from keras.layers import Layer"],
)
def test_keras_where_numpy_must_do_is_found(build, text):
    (found,) = keras_users(build(**{"images/scaling.py": text}), ("images",))
    assert str(Path("small", "images", "scaling.py")) in found


def test_a_long_file_is_found(build):
    (found,) = long_files(build(**{"errors.py": "x = 1\n" * 11}), 10)
    assert found.startswith(str(Path("small", "errors.py")) + " has 11 lines, 10 are allowed")
