"""A table from names to plain functions, which other packages can add to."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from typing import Generic, TypeVar

from nucleiseg._checks import check_choice
from nucleiseg.errors import InvalidInputError, PluginError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names and what they stand for; installed packages add to it through an entry-point group.

    Plugins are listed by name without importing them, and imported when first asked for. A package may both announce a
    part and register it by the decorator: that is one part, whichever is seen first.

    Parameters
    ----------
    kind : str
        What is registered, for error messages: ``"encoder"``.
    group : str, optional
        Entry-point group in which other packages announce theirs: ``"nucleiseg.encoders"``.
    places : mapping of str to str, optional
        Where parts of our own are, as ``"module:function"``: imported when first asked for, as those of plugins are.

    Examples
    --------
    >>> colours = Registry("colour")
    >>> @colours.register("red")
    ... def red():
    ...     return "#f00"
    >>> colours.names(), colours.get("red")()
    (['red'], '#f00')
    """

    def __init__(self, kind: str, group: str | None = None, places: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self.group = group
        self._own = {name: EntryPoint(name, place, group or "") for name, place in (places or {}).items()}
        self._items: dict[str, T] = {}
        self._plugins: dict[str, EntryPoint] | None = None
        self._lock = threading.RLock()

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds an item under a name.

        Raises
        ------
        InvalidInputError
            If the name is taken, or no identifier.

        Examples
        --------
        >>> colours = Registry("colour")  # so does register_encoder for encoders, register_loss for losses …
        >>> @colours.register("red")
        ... def red():
        ...     return "#f00"
        >>> colours.names()
        ['red']
        """
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidInputError(f"{self.kind} names must be identifiers such as 'my_one', got {name!r}")

        def add(item: T) -> T:
            with self._lock:
                # Plugins are looked for at the first use, not while modules are imported; `_found` checks their names.
                point = (self._own if self._plugins is None else self._plugins).get(name)
                # An announced part takes its own place, and that of itself after an import that failed.
                if name in self._items if point is None else not _may_name(point, item):
                    raise InvalidInputError(f"{self.kind} {name!r} is registered already; choose another name")
                self._items[name] = item
            return item

        return add

    def unregister(self, name: str) -> None:
        """Remove an item that was registered in this process."""
        check_choice(name, self.kind, self._items)
        del self._items[name]

    def names(self) -> list[str]:
        """All names, sorted; plugins are not imported."""
        return sorted({*self._items, *self._found()})

    def get(self, name: str) -> T:
        """The item of that name.

        An unknown name raises `InvalidInputError`, which lists what there is; a plugin that cannot be imported raises
        `PluginError`.
        """
        check_choice(name, self.kind, self.names())
        point = self._found().get(name)
        if point is not None:
            # Without our lock: another thread may be importing the same module, whose decorator waits for it.
            self._settle(point, self._load(point))
        return self._items[name]

    def load_plugin(self, name: object) -> None:
        """Import the package that has announced that name, if one has: its classes are registered with Keras then.

        Raises
        ------
        PluginError
            If it can't be imported.
        """
        if isinstance(name, str) and name in self._found():
            self.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._items or name in self._found()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _load(self, point: EntryPoint) -> T:
        try:
            item: T = point.load()
        except Exception as error:  # whatever the plugin's own code raises
            raise PluginError(
                f"{self.kind} {point.name!r} cannot be imported from {_origin(point)} "
                f"({type(error).__name__}: {error}); update or uninstall that package"
            ) from error
        return item

    def _settle(self, point: EntryPoint, loaded: T) -> None:
        """Keep a plugin that is imported; from now on, it is an item like others."""
        with self._lock:
            registered = self._items.setdefault(point.name, loaded)
            if registered is not loaded and not _is_named_by(point, registered):
                raise self._taken(point)
            self._found().pop(point.name, None)

    def _found(self) -> dict[str, EntryPoint]:
        if self._plugins is None:
            plugins: dict[str, EntryPoint] = {}
            announced = entry_points(group=self.group) if self.group else ()
            for point in (*self._own.values(), *announced):
                earlier = plugins.get(point.name)
                if point.name in self._items and not _may_name(point, self._items[point.name]):
                    raise self._taken(point)
                if earlier is not None and earlier.value != point.value:
                    raise self._taken(point, earlier)
                plugins[point.name] = point
            self._plugins = plugins
        return self._plugins

    def _taken(self, point: EntryPoint, earlier: EntryPoint | None = None) -> InvalidInputError:
        return InvalidInputError(
            f"{self.kind} {point.name!r} of the plugin {_origin(point)} is registered already"
            f"{f' by {_origin(earlier)}' if earlier else ''}; rename one of the two, or uninstall that package"
        )


def _is_named_by(point: EntryPoint, item: object) -> bool:
    """Whether a function or class is what an entry point's ``module:qualname`` names."""
    return _place(point) == (getattr(item, "__module__", None), getattr(item, "__qualname__", None))


def _may_name(point: EntryPoint, item: object) -> bool:
    """Whether an item may be what an entry point names, as far as that can be told without importing anything.

    An object without a name of its own, such as a head, and a function that its module has from another one are known
    by what the module holds under that name; while it is being imported, that may be nothing yet.
    """
    module, name = _place(point)
    if _is_named_by(point, item):
        return True
    if module not in sys.modules:
        return False
    try:
        return attrgetter(name)(sys.modules[module]) is item
    except AttributeError:
        return True  # `Registry.get` looks again


def _place(point: EntryPoint) -> tuple[str, str]:
    module, _, name = point.value.partition("[")[0].partition(":")
    return module.strip(), name.strip()


def _origin(point: EntryPoint) -> str:
    """Where a plugin comes from: what it points at, and the installed package if that is known."""
    return repr(point.value) + (f" of the package {point.dist.name!r}" if point.dist else "")
