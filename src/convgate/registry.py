"""Names to factories, with presets, strict options and a "did you mean"."""

import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from types import UnionType
from typing import Any, Generic, TypeVar

from convgate.errors import InputError, suggest, unknown

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Registry(Generic[T]):
    """Published names and what builds them; iterating gives the names in order."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, tuple[Callable[..., T], dict[str, Any]]] = {}

    def register(self, name: str, **preset: Any) -> Callable[[F], F]:
        """Enter a class or function under ``name``; ``preset`` changes its defaults."""

        def enter(factory: F) -> F:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = (factory, preset)
            return factory

        return enter

    def create(self, name: str, *args: Any, **options: Any) -> T:
        factory, preset = self._entry(name)
        valid = self.options(name)
        for option in options:
            if option not in valid:
                raise InputError(f"{name}: unknown option {option!r}{suggest(option, valid)}")
        _check_types(name, factory, options)
        return factory(*args, **{**preset, **options})

    def options(self, name: str) -> dict[str, Any]:
        """Return the keyword options of ``name`` with their defaults."""
        factory, preset = self._entry(name)
        parameters = inspect.signature(factory).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY} | preset

    def factory(self, name: str) -> Callable[..., T]:
        return self._entry(name)[0]

    def _entry(self, name: str) -> tuple[Callable[..., T], dict[str, Any]]:
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _check_types(name: str, factory: Callable[..., Any], options: dict[str, Any]) -> None:
    """Ask that options which the factory annotates as a number, text or truth value are one.

    Where None may stand in place of one, it may.
    """
    parameters = inspect.signature(factory).parameters
    for option, value in options.items():
        kind = parameters[option].annotation
        if isinstance(kind, UnionType):
            kind = next((one for one in _WORDS if kind == one | None), None)
            if value is None:
                continue
        taken = (int, float) if kind is float else kind
        if kind in _WORDS and (
            not isinstance(value, taken) or (isinstance(value, bool) and kind is not bool)
        ):
            raise InputError(f"{name}: {option}={value!r} must be {_WORDS[kind]}")


class OpenRegistry(Registry[T]):
    """A registry that other code adds to: installed packages, and classes named "module:Class".

    A package offers what it has as entry points of a group. A class of any module has the name
    "module:Class", and the module is imported only where a person names it: `load` does that for
    the command line and for calls in Python. A name in a file (a card, a hub folder, a recipe)
    finds a class of a module that is imported already, and never imports one.

    Args:
        kind: What is registered, for errors: "gate".
        base: The class that all derive from.
        group: The group of entry points.
    """

    def __init__(self, kind: str, base: type[T], group: str) -> None:
        super().__init__(kind)
        self.base = base
        self.group = group

    def load(self, name: str) -> None:
        """Import the class "module:Class" that a person has named; leave other names alone.

        Raises:
            InputError: if there is no such module or class, or the class is another kind of thing.
        """
        if ":" not in name or name in self._entries:
            return
        module, _, attribute = name.partition(":")
        if module.endswith(".py") or "/" in module:
            raise InputError(
                f"{self.kind} {name!r}: name a module as Python imports it, without a folder and "
                "'.py': 'my_gates:MyGate' for my_gates.py in this folder"
            )
        try:
            found = getattr(importlib.import_module(module), attribute, None)
        except Exception as error:  # any code may run in the module
            reason = f"{type(error).__name__}: {error}"
            raise InputError(
                f"{self.kind} {name!r}: {module} cannot be imported ({reason})"
            ) from error
        self._enter(name, found)

    def check(self, name: str, *also: str) -> None:
        """Ask that a name is known, or one of ``also``, without importing a module for it.

        Raises:
            InputError: for any other, saying the nearest name or how its module is imported.
        """
        if name not in also:
            self._find(name, also)

    def _entry(self, name: str) -> tuple[Any, dict[str, Any]]:
        self._find(name)
        return super()._entry(name)

    def _find(self, name: str, also: tuple[str, ...] = ()) -> None:
        """Enter what other code has under a name, unless the name is known."""
        if name in self._entries:
            return
        if ":" in name:
            self._find_imported(name)
        elif name in (offered := self._offered()):
            self._load_offered(name, offered[name])
        else:
            raise unknown(self.kind, name, [*self, *also])

    def _find_imported(self, name: str) -> None:
        module, _, attribute = name.partition(":")
        if module not in sys.modules:
            raise InputError(
                f"{self.kind} {name!r} is code from outside of convgate, which a file may not "
                f"import; if you trust it, run `convgate --gate-module {module} ...`, or import "
                f"{module} first in Python"
            )
        self._enter(name, vars(sys.modules[module]).get(attribute))

    def _load_offered(self, name: str, points: list[EntryPoint]) -> None:
        packages = " and ".join(_package(point) for point in points)
        if len(points) > 1:
            raise InputError(
                f"the packages {packages} both offer a {self.kind} {name!r}; remove one"
            )
        try:
            found = points[0].load()
        except Exception as error:  # any code may run in the package
            reason = f"{type(error).__name__}: {error}"
            raise InputError(
                f"{self.kind} {name!r} of the package {packages} cannot be imported ({reason}); "
                "mend or remove the package"
            ) from error
        self._enter(name, found)

    def _enter(self, name: str, found: object) -> None:
        if not isinstance(found, type) or not issubclass(found, self.base):
            module, _, attribute = name.partition(":")
            there = _classes(module, self.base)
            raise InputError(
                f"{self.kind} {name!r} is no class that derives from "
                f"convgate.{self.base.__name__}{suggest(attribute, there) if there else ''}"
            )
        self._entries.setdefault(name, (found, {}))  # importing may have registered it

    def _offered(self) -> dict[str, list[EntryPoint]]:
        """Return what installed packages offer by its name, each class once."""
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            points = found.setdefault(point.name, [])
            if point.value not in [other.value for other in points]:
                points.append(point)
        return found

    def __contains__(self, name: object) -> bool:
        try:
            self._find(str(name))
        except InputError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        offered = self._offered()
        for name in self._entries.keys() & offered.keys():
            if self._entries[name][0].__module__.startswith("convgate."):
                warnings.warn(
                    f"convgate's own {self.kind} {name!r} hides that of the package "
                    f"{_package(offered[name][0])}; name it {offered[name][0].value!r}",
                    stacklevel=2,
                )
        return iter(sorted(self._choices(offered)))

    def __len__(self) -> int:
        return len(self._choices(self._offered()))

    def _choices(self, offered: Iterable[str]) -> set[str]:
        """Return all names but those of the package's own parts that a file names by module."""
        return {n for n in {*self._entries, *offered} if not n.startswith("convgate.")}


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.module


def _classes(module: str, base: type) -> list[str]:
    """Return the names of the classes of an imported module that derive from ``base``."""
    here = vars(sys.modules[module]) if module in sys.modules else {}
    kinds = [value for value in here.values() if isinstance(value, type)]
    return [kind.__name__ for kind in kinds if issubclass(kind, base) and kind is not base]
