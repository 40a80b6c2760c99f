"""What is public: every promised name is there, listed, documented, and the stubs of lazy packages tell the truth."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
from functools import cached_property
from pathlib import Path

import pytest

import nucleiseg

# Names that users rely on.
PROMISED = {
    "nucleiseg": [
        "PredictOptions",
        "Segmenter",
        "Tiling",
        "datasets",
        "get_encoder",
        "list_encoders",
        "list_pretrained",
        "register_encoder",
    ],
    "nucleiseg.datasets": ["Dataset", "Sample", "read", "from_arrays", "clear_cache"],
    "nucleiseg.images": ["Tiling", "binarize", "find_images", "overlay", "read_image", "rescale"],
    "nucleiseg.instances": ["match", "measure", "split_components", "write_labels", "write_mask", "write_picture"],
    "nucleiseg.networks": ["get_encoder", "list_encoders", "register_encoder", "unet", "upsample"],
    "nucleiseg.training": ["Augmentation", "FitOptions", "as_tf_dataset", "losses", "metrics"],
    "nucleiseg.training.losses": ["get"],
    "nucleiseg.training.metrics": ["Dice", "IoU", "PixelAccuracy"],
    "nucleiseg.inference": ["Evaluation", "PredictOptions", "Prediction"],
    "nucleiseg.plotting": ["History", "plot_architecture"],
    "nucleiseg.segmenter": ["Segmenter"],
}
METHODS = {
    "Segmenter": ["from_pretrained", "load", "save", "fit", "predict", "evaluate", "plot_architecture", "model"],
    "inference.Prediction": ["mask", "count", "table", "overlay", "save"],
    "datasets.Dataset": ["split", "split_by", "with_metadata", "select", "prepare", "load", "to_arrays"],
    "plotting.History": ["plot", "to_csv", "from_csv", "table"],
    "inference.Evaluation": ["to_dict", "table", "per_image"],
    "instances.InstanceCounts": ["average_precision", "at", "aji", "aji_plus"],
}

PACKAGES = [
    "nucleiseg",
    *(f"nucleiseg.{found.name}" for found in pkgutil.iter_modules(nucleiseg.__path__) if found.ispkg),
]
LAZY = [name for name in PACKAGES if Path(importlib.import_module(name).__file__).with_suffix(".pyi").exists()]
OPEN = [name for name in PACKAGES if name != "nucleiseg.cli"]  # a program, not a library
DOCUMENTED = [*OPEN, "nucleiseg.errors", "nucleiseg.training.losses", "nucleiseg.training.metrics"]


def explicit_names(path):
    """Names that a package's file takes from its modules or defines, and its ``__all__``."""
    names, listed = [], None
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("nucleiseg.")):
            names += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed = ast.literal_eval(node.value)
    return names, listed


def functions_and_classes(module):
    """What a package exports, or what a module without a list defines."""
    listed = getattr(module, "__all__", None)
    for name in listed or vars(module):
        thing = getattr(module, name)
        own = listed is not None or (not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__)
        if own and (inspect.isroutine(thing) or inspect.isclass(thing)):
            yield thing


def public_members(owner):
    """Names of the methods and properties that a class defines itself, and their docstrings."""
    for name, member in vars(owner).items():
        plain = getattr(member, "__func__", member)  # of class methods and static methods
        if not name.startswith("_") and (inspect.isroutine(plain) or isinstance(plain, (property, cached_property))):
            yield name, (plain.__doc__ or "").strip()


@pytest.mark.parametrize("module", PROMISED)
def test_promised_names_are_there(module):
    missing = [name for name in PROMISED[module] if not hasattr(importlib.import_module(module), name)]
    assert not missing


@pytest.mark.parametrize("path", METHODS)
def test_promised_methods_are_there(path):
    owner = nucleiseg
    for name in path.split("."):
        owner = getattr(owner, name)
    assert [name for name in METHODS[path] if not hasattr(owner, name)] == []


@pytest.mark.parametrize("package", OPEN)
def test_exports_are_listed_sorted_and_there(package):
    module = importlib.import_module(package)
    assert list(module.__all__) == sorted(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("package", OPEN)
def test_the_list_of_exports_is_complete(package):
    path = Path(importlib.import_module(package).__file__)
    names, listed = explicit_names(path.with_suffix(".pyi") if package in LAZY else path)
    public = [name for name in names if not name.startswith("_") or name == "__version__"]
    needed = ["check_choice"] if package == "nucleiseg.pretrained" else []  # that package is a module too
    assert sorted(public) == sorted([*listed, *needed])


@pytest.mark.parametrize("package", LAZY)
def test_lazy_packages_export_what_their_stub_says(package):
    module = importlib.import_module(package)
    path = Path(module.__file__).with_suffix(".pyi")
    names, listed = explicit_names(path)
    assert list(module.__all__) == listed
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            origin = importlib.import_module(f"{package}.{node.module}")
            for alias in node.names:
                assert getattr(module, alias.name) is getattr(origin, alias.name)
    assert names


def test_packages_that_load_keras_are_lazy():
    assert {"nucleiseg", "nucleiseg.networks", "nucleiseg.training", "nucleiseg.engines"} <= set(LAZY)


@pytest.mark.parametrize("package", ["nucleiseg", "nucleiseg.networks"])
def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="no_such_name"):
        importlib.import_module(package).no_such_name  # noqa: B018


@pytest.mark.parametrize("module", DOCUMENTED)
def test_what_is_exported_is_documented_with_an_example(module):
    for thing in functions_and_classes(importlib.import_module(module)):
        where = f"{thing.__module__}.{thing.__qualname__}"
        text = inspect.getdoc(thing) or ""
        assert text.strip(), f"{where} needs a docstring"
        assert "\nExamples\n--------\n" in f"\n{text}", f"the docstring of {where} needs a section 'Examples'"
        assert doctest.DocTestParser().get_examples(text), f"the examples of {where} need a line that starts with >>>"


@pytest.mark.parametrize("module", DOCUMENTED)
def test_methods_and_properties_of_exported_classes_are_documented(module):
    classes = [thing for thing in functions_and_classes(importlib.import_module(module)) if inspect.isclass(thing)]
    silent = [f"{owner.__qualname__}.{name}" for owner in classes for name, text in public_members(owner) if not text]
    assert not silent, f"these need a docstring: {', '.join(silent)}"


def test_a_method_without_a_docstring_is_found():
    class Owner:
        """Has members of every kind."""

        said = 1

        def method(self): ...
        @classmethod
        def class_method(cls): ...
        @property
        def value(self): ...
        @property
        def told(self):
            """A value."""

        def _own(self): ...

    assert [name for name, text in public_members(Owner) if not text] == ["method", "class_method", "value"]


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_say_what_they_are_for(package):
    assert (importlib.import_module(package).__doc__ or "").strip()


def test_the_version_is_in_one_place():
    from importlib.metadata import version

    from nucleiseg._version import __version__

    assert nucleiseg.__version__ == __version__ == version("nucleiseg")
