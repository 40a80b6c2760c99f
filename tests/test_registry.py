"""A registry on its own, with plugins as they are on disk: a module and a dist-info folder on the import path."""

from __future__ import annotations

import importlib
import itertools
import sys
import types

import pytest

from nucleiseg._registry import Registry
from nucleiseg.errors import InvalidInputError, NucleisegError, PluginError

GROUP = "nucleiseg_tests.colours"
_NUMBERS = itertools.count()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with one module and its entry points on the import path; gives the module's name."""

    def add(points, text="red = '#f00'\ngreen = '#0f0'\n"):
        module = f"colour_plugin_{next(_NUMBERS)}"
        folder = tmp_path / module
        information = folder / f"{module}-1.0.dist-info"
        information.mkdir(parents=True)
        (folder / f"{module}.py").write_text(text)
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"{name} = {target.format(module=module)}" for name, target in points.items()]
        (information / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
        monkeypatch.syspath_prepend(folder)
        return module

    return add


@pytest.fixture
def colours():
    """A registry with the group of the plugins, and one item."""
    registry = Registry("colour", group=GROUP)
    registry.register("blue")("#00f")
    return registry


def test_the_decorator_gives_the_item_back_and_names_are_sorted():
    registry = Registry("colour")

    @registry.register("red")
    def red():
        return "#f00"

    registry.register("blue")("#00f")
    assert red() == "#f00"
    assert registry.get("red") is red
    assert registry.names() == list(registry) == ["blue", "red"]
    assert "red" in registry
    assert "green" not in registry
    assert None not in registry


def test_two_registries_know_nothing_of_each_other():
    first, second = Registry("colour"), Registry("colour")
    first.register("red")(1)
    second.register("red")(2)
    assert (first.get("red"), second.get("red")) == (1, 2)


def test_a_name_is_taken_until_it_is_given_up():
    registry = Registry("colour")
    registry.register("red")(1)
    with pytest.raises(InvalidInputError, match="colour 'red' is registered already; choose another name"):
        registry.register("red")(2)
    assert registry.get("red") == 1
    registry.unregister("red")
    registry.register("red")(2)
    assert registry.get("red") == 2


@pytest.mark.parametrize("name", ["", "my-red", "1red", "a b", None, 3])
def test_names_are_identifiers(name):
    with pytest.raises(InvalidInputError, match=r"colour names must be identifiers such as 'my_one', got"):
        Registry("colour").register(name)


@pytest.mark.parametrize("action", ["get", "unregister"])
def test_an_unknown_name_lists_what_there_is(action, colours):
    with pytest.raises(InvalidInputError, match=r"unknown colour 'blu'; did you mean 'blue'\? choose one of blue"):
        getattr(colours, action)("blu")
    with pytest.raises(InvalidInputError, match=r"choose one of \(none\)"):
        getattr(Registry("colour"), action)("blu")


def test_plugins_are_listed_without_importing_them(install, colours):
    module = install({"red": "{module}:red", "broken": "no_such_module:red"})
    assert colours.names() == ["blue", "broken", "red"]
    assert "red" in colours
    assert module not in sys.modules
    assert colours.get("blue") == "#00f"
    assert module not in sys.modules
    assert colours.get("red") == "#f00"
    assert module in sys.modules


def test_a_plugin_is_imported_once(install, colours):
    install({"counter": "{module}:Counter"}, "class Counter:\n    pass\n")
    assert colours.get("counter") is colours.get("counter")


def test_only_its_own_group_counts(install):
    install({"red": "{module}:red"})
    assert Registry("colour").names() == []
    assert Registry("colour", group="nucleiseg_tests.shapes").names() == []


def test_a_name_of_a_plugin_is_taken(install, colours):
    install({"red": "{module}:red"})
    assert "red" in colours
    with pytest.raises(InvalidInputError, match="colour 'red' is registered already; choose another name"):
        colours.register("red")("#900")
    assert colours.get("red") == "#f00"


def test_a_plugin_is_not_there_to_be_removed(install, colours):
    install({"red": "{module}:red"})
    with pytest.raises(InvalidInputError, match="unknown colour 'red'"):
        colours.unregister("red")


@pytest.mark.parametrize("action", [Registry.names, lambda registry: registry.get("blue"), lambda r: "red" in r])
def test_a_plugin_with_a_name_of_ours_raises(install, colours, action):
    module = install({"blue": "{module}:red"})
    message = f"colour 'blue' of the plugin '{module}:red' of the package '{module}' is registered already; rename one"
    with pytest.raises(InvalidInputError, match=message):
        action(colours)


def test_two_plugins_with_one_name_raise(install, colours):
    modules = [install({"red": "{module}:red"}), install({"red": "{module}:green"})]
    with pytest.raises(
        InvalidInputError, match=r"'red' of the plugin .* is registered already by .* uninstall"
    ) as caught:
        colours.names()
    assert all(f"of the package '{module}'" in str(caught.value) for module in modules)


def test_parts_of_our_own_may_wait_to_be_imported_too(install):
    module = install({}, "red = '#f00'\n")
    colours = Registry("colour", places={"red": f"{module}:red"})
    with pytest.raises(InvalidInputError, match="colour 'red' is registered already; choose another name"):
        colours.register("red")("#900")
    assert colours.names() == ["red"]
    assert module not in sys.modules
    assert colours.get("red") == "#f00"
    assert module in sys.modules


def test_a_plugin_with_the_name_of_a_part_that_waits_raises(install):
    module = install({"red": "{module}:red"})
    colours = Registry("colour", group=GROUP, places={"red": "elsewhere:red"})
    with pytest.raises(InvalidInputError, match=rf"'{module}:red' .* is registered already by 'elsewhere:red'; rename"):
        colours.names()


def test_the_same_plugin_found_twice_is_one(install, colours):
    # As when a package is on the path twice: once installed, once as a checkout.
    install({"red": "elsewhere:red"})
    install({"red": "elsewhere:red"})
    assert colours.names() == ["blue", "red"]


@pytest.mark.parametrize(
    ("target", "text", "reason"),
    [
        ("no_such_module:red", "", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("{module}:violet", "", "AttributeError: module .* has no attribute 'violet'"),
        ("{module}:red", "import no_such_dependency", "ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("{module}:red", "raise RuntimeError('no licence')", "RuntimeError: no licence"),
    ],
)
def test_a_broken_plugin_is_named_with_its_package(install, colours, target, text, reason):
    module = install({"red": target}, text)
    message = (
        rf"colour 'red' cannot be imported from '{target.format(module=module)}' of the package '{module}' "
        rf"\({reason}\); update or uninstall that package"
    )
    with pytest.raises(PluginError, match=message) as caught:
        colours.get("red")
    assert isinstance(caught.value, NucleisegError)
    assert caught.value.__cause__ is not None
    assert colours.get("blue") == "#00f"


REGISTERED = {
    "a function": "@colours.register('red')\ndef red():\n    return '#f00'\n",
    "an object": "red = colours.register('red')(object())\n",
    "a function that another one wraps": (
        "import functools\n"
        "def loud(paint):\n    return functools.wraps(paint)(lambda: paint().upper())\n"
        "@loud\n@colours.register('red')\ndef red():\n    return '#f00'\n"
    ),
}


@pytest.fixture
def shared(colours, monkeypatch):
    """The same registry, where modules of plugins can import it."""
    module = types.ModuleType("shared_colours")
    module.colours = colours
    monkeypatch.setitem(sys.modules, "shared_colours", module)
    return colours


@pytest.mark.parametrize("kind", REGISTERED)
@pytest.mark.parametrize("order", ["loaded by the entry point", "imported, then listed", "listed, then imported"])
def test_a_part_that_is_both_announced_and_registered_is_one(kind, order, install, shared):
    module = install({"red": "{module}:red"}, "from shared_colours import colours\n" + REGISTERED[kind])
    if order == "listed, then imported":
        assert shared.names() == ["blue", "red"]
    if order != "loaded by the entry point":
        importlib.import_module(module)
    assert shared.names() == ["blue", "red"]
    red = shared.get("red")
    assert shared.get("red") is red
    if kind != "a function that another one wraps":
        assert red is sys.modules[module].red
    assert shared.names() == ["blue", "red"]
    with pytest.raises(InvalidInputError, match="colour 'red' is registered already; choose another name"):
        shared.register("red")(red)


def test_a_part_may_be_announced_where_its_package_shows_it(install, shared):
    inner = install({}, "from shared_colours import colours\n" + REGISTERED["a function"])
    install({"red": "{module}:red"}, f"from {inner} import red\n")
    assert shared.names() == ["blue", "red"]
    assert shared.get("red") is sys.modules[inner].red


@pytest.mark.parametrize("announced", ["red", "missing"])
@pytest.mark.parametrize("first", ["listed", "registered"])
def test_another_part_of_the_name_of_a_plugin_is_refused(announced, first, install, shared):
    module = install({"red": f"{{module}}:{announced}"}, "def red():\n    return '#f00'\n")

    def red():
        return "#900"

    if first == "listed":
        assert "red" in shared
        with pytest.raises(InvalidInputError, match="colour 'red' is registered already; choose another name"):
            shared.register("red")(red)
        assert module not in sys.modules
    else:
        shared.register("red")(red)
        with pytest.raises(
            InvalidInputError, match=f"colour 'red' of the plugin '{module}:{announced}' of the package"
        ):
            shared.names()


def test_another_part_that_the_plugin_itself_registers_is_refused(install, shared):
    text = "from shared_colours import colours\n@colours.register('red')\ndef dark():\n    return '#900'\n"
    module = install({"red": "{module}:red"}, text + "def red():\n    return '#f00'\n")
    for _ in range(2):
        with pytest.raises(
            InvalidInputError, match=f"colour 'red' of the plugin '{module}:red' .* registered already; re"
        ):
            shared.get("red")


def test_a_plugin_whose_import_failed_is_told_the_same_again(install, shared):
    text = "from shared_colours import colours\n" + REGISTERED["a function"] + "raise RuntimeError('no licence')\n"
    install({"red": "{module}:red"}, text)
    for _ in range(2):
        with pytest.raises(PluginError, match="RuntimeError: no licence"):
            shared.get("red")
